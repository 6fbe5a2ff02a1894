"""Recurrent layers: states that are carried along, cells on top of each other, convolutions, cells called by themselves."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.testing.preservation import outputs, relative_change

layers = keras.layers
X = np.random.default_rng(0).standard_normal((4, 2, 3)).astype("float32")
FRAMES = np.random.default_rng(1).standard_normal((2, 2, 5, 5, 2)).astype("float32")

STATEFUL = {
    "SimpleRNN": lambda: layers.SimpleRNN(4, stateful=True, name="r"),
    "GRU": lambda: layers.GRU(4, stateful=True, name="r"),
    "LSTM": lambda: layers.LSTM(4, stateful=True, name="r"),
    "RNN": lambda: layers.RNN(layers.GRUCell(4), stateful=True, name="r"),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4, stateful=True), name="r"),
}


def carried(model):
    layer = model.get_layer("r")
    return [np.array(keras.ops.convert_to_numpy(s.value)) for s in keras.tree.flatten(layer.states)]


@pytest.mark.parametrize("kind", STATEFUL)
def test_states_follow_their_units(kind):
    keras.utils.set_random_seed(0)
    x = keras.Input(batch_shape=(4, 2, 3))
    model = StructuralModel(x, layers.Dense(2)(STATEFUL[kind]()(x)))
    model.compile("sgd", "mse", run_eagerly=True)
    parameters = model.count_params()
    model.train_on_batch(X, X[:, 0, :2])
    before = carried(model)
    twin = StructuralModel(x, layers.Dense(2)(STATEFUL[kind]()(x)))
    twin.set_weights(model.get_weights())
    for own, other in zip(carried(model), keras.tree.flatten(twin.get_layer("r").states), strict=True):
        other.assign(own)
    expected = outputs(twin, X)
    model.grow("r", 2)
    after = carried(model)
    grown = [a.shape[-1] - b.shape[-1] for a, b in zip(after, before, strict=True)]
    assert set(grown) <= {0, 2}
    assert 2 in grown
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a[:, : b.shape[-1]], b)
        assert not a[:, b.shape[-1] :].any()
    assert relative_change(expected, outputs(model, X)) < 1e-6
    assert parts_of(model).editor.parameters == model.count_params() != parameters
    state = carried(model)
    model.split("r", [1])
    np.testing.assert_array_equal(carried(model)[0][:, 6], state[0][:, 1])
    model.prune("r", [0, 2])
    np.testing.assert_array_equal(carried(model)[0][:, 0], state[0][:, 1])
    model.train_on_batch(X, X[:, 0, :2])


def check(model, axes, x, y):
    assert dict(model.structure.axes) == axes
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", run_eagerly=True)
    model.train_on_batch(x, y)
    before = outputs(model, x)
    for edit in (lambda axis: model.grow(axis, 2), lambda axis: model.split(axis, [0])):
        for axis in axes:
            edit(axis)
        after = outputs(model, x)
        assert relative_change(before, after) < 1e-6
        before = after
    for axis in axes:
        model.prune(axis, [1])
    model.train_on_batch(x, y)
    copy = keras.models.clone_model(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    copy.set_weights(model.get_weights())
    assert relative_change(outputs(model, x), outputs(copy, x)) < 1e-6


@pytest.mark.parametrize("sequences", [False, True])
def test_each_of_several_cells_has_units_of_its_own(sequences):
    keras.utils.set_random_seed(0)
    cells = [layers.LSTMCell(4, name="low"), layers.GRUCell(5, name="middle"), layers.SimpleRNNCell(3, name="high")]
    x = keras.Input((2, 3))
    h = layers.Dense(6, name="h")(x)
    y, *states = layers.RNN(cells, return_sequences=sequences, return_state=True, name="r")(h)
    y = layers.Flatten()(y)
    model = StructuralModel(x, layers.Dense(2)(layers.Concatenate()([y, *keras.tree.flatten(states)])))
    check(model, {"h": 6, "r/low": 4, "r/middle": 5, "r": 3}, X, X[:, 0, :2])


def test_both_directions_of_several_cells():
    keras.utils.set_random_seed(0)
    x = keras.Input((2, 3))
    inner = layers.RNN([layers.GRUCell(4, name="low"), layers.GRUCell(3, name="high")])
    y = layers.Bidirectional(inner, merge_mode="sum", name="r")(x)
    check(StructuralModel(x, layers.Dense(2)(y)), {"r/low": 4, "r": 3, "r/backward/low": 4}, X, X[:, 0, :2])


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "padding": "same", "use_bias": False}])
def test_convolutional_recurrence(options):
    keras.utils.set_random_seed(0)
    x = keras.Input((2, 5, 5, 2))
    h = layers.TimeDistributed(layers.Conv2D(3, 1, name="each"), name="h")(x)
    y = layers.ConvLSTM2D(4, 3, name="r", **options)(h)
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(layers.BatchNormalization()(y))))
    check(model, {"h": 3, "r": 4}, FRAMES, X[:2, 0, :2])


def test_a_stateful_convolutional_recurrence_keeps_its_maps():
    x = keras.Input(batch_shape=(2, 2, 5, 5, 2))
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(layers.ConvLSTM2D(4, 3, stateful=True, name="r")(x))))
    model(FRAMES)
    before = carried(model)
    model.grow("r", 1)
    for a, b in zip(carried(model), before, strict=True):
        assert a.shape == (2, 3, 3, 5)
        np.testing.assert_array_equal(a[..., :4], b)
    model(FRAMES)


def test_a_cell_that_is_called_by_itself():
    keras.utils.set_random_seed(0)
    x, h0 = keras.Input((3,)), keras.Input((3,))
    h = layers.Dense(4, name="start")(h0)
    y, state = layers.GRUCell(4, name="cell")(x, h)
    y, _ = layers.SimpleRNNCell(5, name="next")(y, layers.Dense(5, name="other")(state))
    model = StructuralModel([x, h0], layers.Dense(2)(y))
    check(model, {"start": 4, "other": 5}, [X[:, 0], X[:, 1]], X[:, 0, :2])


def test_cells_of_ones_own_and_of_equal_names_are_fixed_with_the_reason():
    class Own(layers.SimpleRNNCell):
        pass

    x = keras.Input((2, 3))
    model = StructuralModel(x, layers.Dense(2)(layers.RNN(Own(4), name="r")(layers.Dense(4, name="h")(x))))
    assert "runs 'Own'" in model.structure.locked["h"]
    cells = [layers.GRUCell(4, name="same"), layers.GRUCell(4, name="same")]
    model = StructuralModel(x, layers.Dense(2)(layers.RNN(cells, name="r")(x)))
    assert "a `name` of its own" in model.structure.locked["r"]
