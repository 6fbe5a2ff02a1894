"""NORTH* strategies grow real networks during `fit`."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableConv2D, GrowableDense
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import NorthRandom, NorthSelect
from keras_struct.triggers import EffectiveDimension

RNG = np.random.default_rng(0)
X = RNG.standard_normal((256, 20)).astype("float32")
Y = (X[:, :4].sum(axis=1) > 0).astype("int32")
IMAGES = RNG.standard_normal((64, 8, 8, 2)).astype("float32")


def dense_model(strategy, **compile_options):
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [
            keras.Input((20,)),
            GrowableDense(40, activation="relu", name="h1"),
            GrowableDense(40, activation="relu", name="h2"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", strategy=strategy, **compile_options)
    return model


def residual_model(strategy):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    x = GrowableConv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    y = GrowableConv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([x, y]))
    model = StructuralModel(inputs, keras.layers.Dense(1)(x))
    model.compile("adam", "mse", strategy=strategy)
    return model


@pytest.mark.parametrize("strategy", [NorthSelect, NorthRandom])
def test_a_dense_network_grows_while_it_trains_and_never_passes_its_limit(strategy):
    model = dense_model(strategy(max_units=48, schedule=EveryNSteps(2)))
    model.fit(X, Y, batch_size=32, epochs=3, verbose=0)
    assert model.structure_log
    assert all(40 <= event.before < event.after <= 48 for event in model.structure_log)
    assert all(event.change < 1e-6 for event in model.structure_log)
    assert not any(event.retraced for event in model.structure_log)


@pytest.mark.parametrize("strategy", [NorthSelect, NorthRandom])
def test_tied_convolutions_of_a_residual_network_grow_together(strategy):
    model = residual_model(strategy(EffectiveDimension(gamma=0.5), max_units=8))
    assert dict(model.structure.axes) == {"stem": 4}
    model.fit(IMAGES, IMAGES.mean(axis=(1, 2, 3)), batch_size=16, epochs=2, verbose=0)
    width = model.structure.axes["stem"]
    assert 4 < width <= 8
    assert model.get_layer("stem").filters == model.get_layer("branch").filters == width
    assert all(event.change < 1e-6 for event in model.structure_log)


def test_select_leaves_the_layer_more_independent_than_random_growth():
    x = X[:, :3] @ RNG.standard_normal((3, 20)).astype("float32")
    ranks = {}
    for strategy in (NorthSelect, NorthRandom):
        model = dense_model(strategy(EffectiveDimension(gamma=0.5), max_units=60), probe=x)
        model.structural_step()
        from keras_struct.measure.statistics.effective_dimension import rank_of_gram

        found = parts_of(model).observation.probe.measure(x, ["h1"], {})["h1"]
        ranks[strategy] = (rank_of_gram(found.gram(), 0.01), np.sqrt(np.linalg.eigvalsh(found.gram()).clip(0)).sum())
    assert ranks[NorthSelect] > ranks[NorthRandom]


def test_the_baseline_is_measured_before_the_first_gradient_step():
    model = dense_model(NorthRandom(schedule=EveryNSteps(1000)))
    before = parts_of(model).runner
    model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
    assert before.policy_state["axes"].keys() == {"h1", "h2"}
    assert all(0 < value <= 1 for value in before.policy_state["axes"].values())


def test_several_axes_can_grow_after_the_same_step():
    model = dense_model(NorthRandom(EffectiveDimension(gamma=0.9), max_units=60), probe=X)
    events = model.structural_step()
    assert [event.axis for event in events] == ["h1", "h2"]
    assert model.get_layer("h2").kernel.shape == (model.structure.axes["h1"], model.structure.axes["h2"])


def test_the_same_seed_grows_the_same_network():
    logs = []
    for _ in range(2):
        model = dense_model(NorthSelect(max_units=48, schedule=EveryNSteps(2)))
        model.fit(X, Y, batch_size=32, epochs=2, verbose=0, shuffle=False)
        logs.append([(e.step, e.axis, e.after) for e in model.structure_log])
    assert logs[0] == logs[1]
