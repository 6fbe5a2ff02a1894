"""Silent units can be removed, units added and divided, in every structure that networks are made of."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

from keras_struct import StructuralModel, prune
from keras_struct.core.backend import current
from keras_struct.core.backend.keras_internals import LAYER_SCALE
from keras_struct.core.model.parts import parts_of
from keras_struct.core.surgery.trace import trace
from keras_struct.testing.preservation import outputs, relative_change, silence

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

IMAGE, SEQUENCE = (6, 6, 3), (2, 3)


def conv(filters, x, size=1, **options):
    return L.Conv2D(filters, size, padding="same", **options)(x)


def shuffled(x, groups=2):
    height, width, channels = x.shape[1:]
    x = ops.reshape(x, (-1, height, width, groups, channels // groups))
    return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, height, width, channels))


def unit_of_shuffle_net(x):
    left, right = ops.split(conv(6, x), 2, axis=-1)
    right = conv(3, L.DepthwiseConv2D(3, padding="same")(conv(3, right, activation="relu")), activation="relu")
    return shuffled(L.Concatenate()([left, right]))


def grouped(x):
    """Two in a row, and one with a group for each channel."""
    row = conv(4, conv(8, conv(4, x), 3, groups=2, activation="relu"), groups=2)
    return L.Concatenate()([row, conv(4, conv(4, x), 3, groups=4, activation="relu")])


def squeeze_and_excite(x):
    x = conv(6, x)
    weights = L.Dense(2, activation="relu")(L.GlobalAveragePooling2D()(x))
    return L.Multiply()([x, L.Reshape((1, 1, 6))(L.Dense(6, activation="sigmoid")(weights))])


def attended(x, layer):
    x = L.Dense(6)(x)
    return layer(x, x)


def cross_attended(x):
    query, value = L.Dense(6)(x), L.Dense(4)(x)
    return L.MultiHeadAttention(2, 3)(query=query, value=value, key=L.Dense(5)(x))


def vision_transformer(x):
    x = ops.reshape(L.Conv2D(8, 2, 2)(x), (-1, 9, 8))
    y = L.LayerNormalization()(x)
    x = x + L.MultiHeadAttention(2, 3)(y, y)
    y = L.Dense(8)(L.Dense(12, activation="gelu")(L.LayerNormalization()(x)))
    return ops.mean(L.Add()([x, y]), axis=1)


def handed_over_state(x):
    _, *state = L.LSTM(4, return_state=True)(x)
    return L.LSTM(4)(x, initial_state=state)


def both_directions(x):
    """Side by side, and added."""
    return L.Bidirectional(L.GRU(4), merge_mode="sum")(L.Bidirectional(L.LSTM(4, return_sequences=True))(x))


STRUCTURES = {
    "concatenate and flatten": (
        IMAGE,
        lambda x: L.Flatten()(L.Concatenate()([conv(4, x, activation="relu"), conv(5, x)])),
    ),
    "residual": (IMAGE, lambda x: L.Add()([conv(4, x), conv(4, x, 3)])),
    "grouped convolutions": (IMAGE, grouped),
    "depthwise and separable convolution": (
        IMAGE,
        lambda x: L.SeparableConv2D(5, 3, activation="relu")(L.DepthwiseConv2D(3, depth_multiplier=2)(conv(4, x))),
    ),
    "split and concatenate": (IMAGE, unit_of_shuffle_net),
    "channel shuffle": (IMAGE, lambda x: shuffled(L.Concatenate()([conv(3, x), conv(3, x)]))),
    "channel shuffle between groups": (IMAGE, lambda x: conv(8, shuffled(conv(8, x)), 3, groups=2)),
    "squeeze and excite": (IMAGE, squeeze_and_excite),
    "stack and mean": (IMAGE, lambda x: ops.mean(ops.stack([conv(4, x), conv(4, x)], axis=1), axis=1)),
    "LSTM": (SEQUENCE, lambda x: L.LSTM(4)(L.LSTM(4, return_sequences=True)(x))),
    "LSTM that takes over a state": (SEQUENCE, handed_over_state),
    "GRU": (SEQUENCE, lambda x: L.GRU(4)(L.GRU(4, return_sequences=True, reset_after=False)(x))),
    "both directions": (SEQUENCE, both_directions),
    "attention": (SEQUENCE, lambda x: attended(x, L.MultiHeadAttention(3, 4, value_dim=5))),
    "attention to something else": (SEQUENCE, cross_attended),
    "grouped-query attention": (SEQUENCE, lambda x: attended(x, L.GroupQueryAttention(4, 6, 2))),
    "vision transformer": (IMAGE, vision_transformer),
    "each step and spectral normalization": (
        SEQUENCE,
        lambda x: L.SpectralNormalization(L.Dense(4))(L.TimeDistributed(L.Dense(4, activation="relu"))(L.Dense(5)(x))),
    ),
    "einsum, also with an ellipsis": (
        SEQUENCE,
        lambda x: L.EinsumDense("...x,xy->...y", 6)(L.EinsumDense("abc,cd->abd", (2, 7), bias_axes="d")(L.Dense(5)(x))),
    ),
    "one step of several": (SEQUENCE, lambda x: L.Dense(5, activation="relu")(x)[:, 0]),
    "axes in another order that come and go": (
        SEQUENCE,
        lambda x: ops.squeeze(ops.expand_dims(ops.swapaxes(ops.swapaxes(L.Dense(4)(x), 1, 2), -1, 1), 1), 1),
    ),
    "reshape over steps": (SEQUENCE, lambda x: ops.reshape(L.Dense(6)(x), (-1, 12))),
    "reshape with axes of extent 1": (
        SEQUENCE,
        lambda x: ops.reshape(ops.reshape(L.Dense(6)(x)[:, 0], (-1, 6, 1)), (-1, 1, 6, 1)),
    ),
    "mean over steps that stay an axis": (SEQUENCE, lambda x: ops.mean(L.Dense(6)(x), axis=1, keepdims=True)),
    "dot with a vector over steps": (
        SEQUENCE,
        lambda x: ops.dot(L.Permute((2, 1))(L.Dense(6)(x)), np.array([1.0, 2.0], "float32")),
    ),
    "softmax": (SEQUENCE, lambda x: ops.softmax(L.Dense(6)(x))),
    "embedding and simple recurrence": (None, lambda x: L.SimpleRNN(4)(L.Embedding(10, 6)(x))),
}
GROUPED = {"grouped convolutions", "channel shuffle between groups"}


def built(name, seed=0):
    keras.utils.set_random_seed(seed)
    shape, make = STRUCTURES[name]
    inputs = keras.Input(shape) if shape else keras.Input((2,), dtype="int32")
    y = make(inputs)
    model = StructuralModel.from_model(keras.Model(inputs, L.Dense(3)(L.Flatten()(y))))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4, *shape)).astype("float32") if shape else rng.integers(0, 10, (4, 2))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    for slot in parts_of(model).editor.optimizer.slots:  # state of the optimizer as after a step, without taking one
        current().write(slot.variable, 0.1 * current().read(slot.reference))
    return model, x


@pytest.mark.parametrize("name", STRUCTURES)
def test_edits_keep_the_function_wherever_nothing_mixes_units_and_the_model_trains_on_and_is_saved(
    name, tmp_path, request
):
    if name in GROUPED:
        request.getfixturevalue("compiled")  # not every processor differentiates convolutions in groups otherwise
    model, x = built(name)
    y = np.zeros((4, 3), "float32")
    axes = dict(model.structure.axes)
    assert axes, model.structure.locked
    mixed = [axis for axis in axes if model.structure.units[axis].mixes]
    for axis in mixed:
        model.apply(prune(axis, axes[axis], [1]), preserve=False)
    check_edits(model, x, [axis for axis in axes if axis not in mixed])
    assert set(model.structure.axes) == set(axes)
    for axis, width in dict(model.structure.axes).items():
        if width > 1:
            model.apply(prune(axis, width, [0]), preserve=False)
    assert all(width != axes[axis] for axis, width in model.structure.axes.items())
    check_saved_cloned_and_trained_on(model, x, y, tmp_path / "model.keras")


def check_edits(model, x, axes):
    for axis in axes:
        silence(model, axis, [1])
    before = outputs(model, x)
    for edit in (lambda a: model.prune(a, [1]), lambda a: model.grow(a, 2), lambda a: model.split(a, [0])):
        for axis in axes:
            edit(axis)
        after = outputs(model, x)
        assert relative_change(before, after) < 1e-5, axes
        before = after


def check_saved_cloned_and_trained_on(model, x, y, path):
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(outputs(loaded, x)[0], outputs(model, x)[0])
    assert shapes_of(loaded) == shapes_of(model), "what Keras knows of shapes is what it finds when it builds the model"
    assert loaded.train_on_batch(x, y) == pytest.approx(model.train_on_batch(x, y), rel=1e-5)
    copy = keras.models.clone_model(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]


def shapes_of(model):
    return [[tensor.shape for tensor in keras.tree.flatten(each.output)] for each in model.operations]


def test_names_of_the_parts_of_attention_say_what_they_are():
    model, _ = built("attention")
    name = next(layer.name for layer in model.layers if isinstance(layer, L.MultiHeadAttention))
    widths = {part: model.structure.axes[f"{name}/{part}"] for part in ("heads", "key_dim", "value_dim")}
    assert widths == {"heads": 3, "key_dim": 4, "value_dim": 5}
    model.prune(f"{name}/heads", [0])
    assert model.get_layer(name).num_heads == 2


def test_a_shuffle_ties_the_channels_at_the_same_place_of_its_groups():
    model, _ = built("channel shuffle")
    assert list(model.structure.axes.values()) == [3]


def test_gates_of_recurrent_units_go_together():
    model, _ = built("LSTM")
    axis = list(model.structure.axes)[-1]
    model.prune(axis, [2])
    cell = model.get_layer(axis).cell
    assert cell.kernel.shape[1] == cell.recurrent_kernel.shape[1] == 4 * cell.recurrent_kernel.shape[0] == 12


def taken_by_number(x):
    return ops.concatenate([x[..., 3:], x[..., :3]], axis=-1)


@pytest.mark.parametrize(
    "operation",
    [
        taken_by_number,
        lambda x: ops.roll(x, 1, axis=-1),
        lambda x: ops.split(x, [2], axis=-1)[0],
        lambda x: ops.flip(x, axis=-1),
    ],
)
def test_what_cannot_be_followed_is_locked_with_the_reason(operation):
    inputs = keras.Input(SEQUENCE)
    outputs = L.Dense(3)(L.Flatten()(operation(L.Dense(6, name="hidden")(inputs))))
    model = StructuralModel.from_model(keras.Model(inputs, outputs))
    assert not model.structure.axes
    with pytest.raises(ValueError, match="Cannot edit axis 'hidden'"):
        model.grow("hidden")


@pytest.mark.parametrize(
    "layer",
    [
        L.Normalization(mean=[0.0, 1.0, 2.0, 3.0], variance=[1.0] * 4, name="first"),
        L.CategoryEncoding(9, "multi_hot", name="first"),
        L.RandomSharpness(0.1, name="first"),
    ],
    ids=["statistics", "categories", "colours"],
)
def test_what_takes_inputs_for_something_fixed_is_no_reason_to_fix_units_behind_it(layer):
    inputs = keras.Input((8, 8, 3)) if "Sharpness" in type(layer).__name__ else keras.Input((4,))
    model = StructuralModel(inputs, L.Dense(2)(L.Dense(5, name="h")(L.Flatten()(layer(inputs)))))
    assert dict(model.structure.axes) == {"h": 5}
    assert "first" not in model.structure.locked


def test_the_places_of_units_in_a_layer_of_several_axes_follow_edits():
    inputs = keras.Input((3,))
    a, b, c = (L.Dense(units, name=name)(inputs) for name, units in (("a", 4), ("b", 6), ("c", 10)))
    model = StructuralModel(inputs, L.Dense(2)(L.Add()([L.Concatenate()([a, b]), c])))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    for edit in (lambda: model.grow("a", 2), lambda: model.prune("b", [0]), lambda: model.split("a", [1])):
        edit()
        assert dict(model.structure.units) == dict(trace(model).graph.units)
    before = outputs(model, x)
    model.grow("b", 2)
    assert relative_change(outputs(model, x), before) < 1e-6


def test_a_layer_that_scales_each_channel_follows_them():
    inputs = keras.Input((4,))
    scaled = LAYER_SCALE(init_values=0.5, projection_dim=6, name="scale")(L.Dense(6, name="h")(inputs))
    model = StructuralModel(inputs, L.Dense(2)(scaled))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    before = outputs(model, x)
    model.grow("h", 2)
    assert relative_change(outputs(model, x), before) < 1e-6
    scale = model.get_layer("scale")
    assert current().read(scale.gamma).tolist() == [0.5] * 8
    assert scale.projection_dim == 8
    model.prune("h", [0])
    assert scale.gamma.shape == (7,)


def test_activations_are_measured_behind_a_layer_that_scales_each_channel():
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    inputs = keras.Input((4,))
    hidden = L.ReLU()(LAYER_SCALE(init_values=0.5, projection_dim=6)(L.Dense(6, name="h")(inputs)))
    model = StructuralModel(inputs, L.Dense(2)(hidden))
    model.compile("sgd", "mse", probe=x)
    seen = outputs(keras.Model(inputs, hidden), x)[0]
    np.testing.assert_allclose(model.measure("h").activity().mean, seen.mean(axis=0), rtol=1e-5)


def test_layers_check_extents_of_inputs_unless_units_lie_along_them():
    model = StructuralModel([keras.Input((6,)), L.Dense(4, name="a"), L.Dense(3, name="b"), L.Dense(2, name="c")])
    model.grow("a", 2)
    model.prune("b", [0])
    assert [model.get_layer(name).input_spec.axes for name in "abc"] == [{-1: 6}, {}, {}]
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 6"):
        model.get_layer("a")(np.zeros((2, 5)))
