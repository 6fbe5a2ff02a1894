"""What was edited last can be taken back."""

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import StructuralModel, sparsify, to_equivariant
from tests.depth.networks import assert_same_state, chain, output, residual, state_of, trained

layers = keras.layers
pytestmark = pytest.mark.usefixtures("eager_module")


def sparse():
    return sparsify(chain(), 0.5)


def symmetric():
    x = inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(32, 3, padding="same", name="c")(x)
    return to_equivariant(StructuralModel(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))), group="C4")


EDITS = {
    "grow": (chain, lambda m: m.grow("a", 3)),
    "prune": (chain, lambda m: m.prune("a", [0, 5])),
    "split": (residual, lambda m: m.split("up_1", [2])),
    "move": (chain, lambda m: m.apply(keras_struct.Resize("b", (3, 0, 0, -1, 7)), {"b/kernel": np.ones((8, 1))})),
    "connections": (sparse, lambda m: m.prune_connections(0.8)),
    "symmetry": (symmetric, lambda m: m.relax("c", "C2")),
    "insert": (chain, lambda m: m.insert(layers.Dense(8, activation="relu"), after="a")),
    "remove": (residual, lambda m: m.remove("add_1")),
    "stack": (residual, lambda m: m.stack(2)),
    "several": (
        chain,
        lambda m: m.apply(
            [
                keras_struct.prune("a", 8, [3]),
                keras_struct.insert(layers.Dense(7, activation="relu", name="new"), after="a"),
                keras_struct.prune("b", 8, [0]),
            ]
        ),
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_right_after_an_edit_everything_is_what_it_was_bit_by_bit(case):
    network, edit = EDITS[case]
    model, x, y = trained(network())
    before, value = state_of(model), output(model, x)
    edit(model)
    count = len(model.structure_log)
    events = model.undo()
    assert_same_state(state_of(model), before)
    np.testing.assert_array_equal(output(model, x), value)
    assert len(model.structure_log) == 2 * count
    assert [(e.before, e.after) for e in events[::-1]] == [(e.after, e.before) for e in model.structure_log[:count]]
    model.train_on_batch(x, y)
    with pytest.raises(ValueError, match="There is no edit to undo"):
        model.undo()


def test_after_training_units_come_back_with_weights_and_slots_and_the_others_keep_what_they_learned():
    model, x, y = trained(chain(), steps=3)
    kernel, after = model.get_layer("a").kernel, model.get_layer("b").kernel
    slots = {v.path.split("/")[-1]: v for v in model.optimizer.variables}
    old = [v.numpy() for v in (kernel, after, slots["a_kernel_momentum"], slots["b_kernel_velocity"])]
    model.prune("a", [1, 6])
    for _ in range(2):
        model.train_on_batch(x, y)
    stays = [i for i in range(8) if i not in (1, 6)]
    learned = kernel.numpy(), after.numpy()
    model.undo()
    assert model.structure.axes["a"] == 8
    np.testing.assert_array_equal(kernel.numpy()[:, [1, 6]], old[0][:, [1, 6]])
    np.testing.assert_array_equal(kernel.numpy()[:, stays], learned[0])
    np.testing.assert_array_equal(after.numpy()[[1, 6]], old[1][[1, 6]])
    np.testing.assert_array_equal(after.numpy()[stays], learned[1])
    now = {v.path.split("/")[-1]: v.numpy() for v in model.optimizer.variables}
    np.testing.assert_array_equal(now["a_kernel_momentum"][:, [1, 6]], old[2][:, [1, 6]])
    np.testing.assert_array_equal(now["b_kernel_velocity"][[1, 6]], old[3][[1, 6]])
    model.train_on_batch(x, y)


def test_after_training_layers_go_or_come_back_and_the_others_keep_what_they_learned():
    model, x, y = trained(residual())
    gone = [v.numpy() for v in model.get_layer("down_1").weights]
    layer = model.get_layer("down_1")
    model.remove("add_1")
    model.train_on_batch(x, y)
    learned = model.get_layer("down_0").kernel.numpy()
    model.undo()
    assert model.get_layer("down_1") is layer
    for variable, value in zip(layer.weights, gone, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(model.get_layer("down_0").kernel.numpy(), learned)
    kernel = layer.kernel.numpy()
    model.train_on_batch(x, y)
    assert not np.array_equal(layer.kernel.numpy(), kernel)


def test_what_cannot_be_undone_any_more_is_refused():
    model, x, y = trained(chain())
    model.insert(layers.Dense(8, activation="relu", name="new"), after="a")
    extractor = keras.Model(model.input, model.get_layer("new").output)
    before = state_of(model)
    with pytest.raises(ValueError, match=f"its layers were connected to other models since: {extractor.name}"):
        model.undo()
    assert_same_state(state_of(model), before)
    del extractor
    model.compile("adam", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match="There is no edit to undo: only what was edited last"):
        model.undo()
    masked, x, y = trained(sparse())
    masked.prune_connections(0.8)
    masked.train_on_batch(x, y)
    with pytest.raises(ValueError, match="Cannot undo an edit of kind Rewire after the weights have changed"):
        masked.undo()


def test_compiled_steps_follow_an_edit_that_is_undone(compiled):
    model = chain()
    x = np.ones((4, 6), "float32")
    model.compile("adam", "mse")
    model.fit(x, np.ones((4, 3)), verbose=0)
    for edit in (lambda: model.insert(layers.Dense(8, activation="relu"), after="a"), lambda: model.grow("b", 2)):
        value = model.predict(x, verbose=0)
        edit()
        model.undo()
        np.testing.assert_array_equal(model.predict(x, verbose=0), value)
        model.fit(x, np.ones((4, 3)), verbose=0)
