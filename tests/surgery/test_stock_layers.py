"""What each stock layer does to units: kept function, no re-trace where Keras allows it, a reason where it cannot be."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, grow
from keras_struct.core.model.parts import parts_of
from keras_struct.testing import check_edit
from keras_struct.testing.preservation import outputs, relative_change

pytestmark = pytest.mark.usefixtures("eager_module")  # where steps are to be compiled, the test says so

layers = keras.layers
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 6, 6, 2)).astype("float32")
X = RNG.standard_normal((8, 5)).astype("float32")
Y = RNG.standard_normal((8, 2)).astype("float32")


def between(*middle):
    """A convolution, some layers, and one that reads what they give."""
    keras.utils.set_random_seed(0)
    copies = [type(layer).from_config(layer.get_config()) for layer in middle]
    first = layers.Conv2D(4, 3, padding="same", activation="tanh", name="stem")
    return keras.Sequential([keras.Input((6, 6, 2)), first, *copies, layers.Flatten(), layers.Dense(2, name="out")])


def around(operation):
    """A dense layer, an operation on its units, and a layer that reads what it gives."""
    keras.utils.set_random_seed(0)
    x = keras.Input((5,))
    return keras.Model(x, layers.Dense(2)(operation(layers.Dense(4, name="hidden")(x))))


PASSED_WITHOUT_RETRACE = {
    "filters of their own": [
        layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal"),
        layers.DepthwiseConv2D(3, use_bias=False),
        layers.DepthwiseConv2D(3, use_bias=False, depth_multiplier=2, padding="same"),
        layers.BatchNormalization(),
        layers.SeparableConv2D(3, 3, depth_multiplier=2),
    ],
    "Conv2DTranspose": [layers.Conv2DTranspose(3, 3)],
    "places": [
        layers.PReLU(),
        layers.SpatialDropout2D(0.1),
        layers.UpSampling2D(2),
        layers.Permute((2, 1, 3)),
        layers.Reshape((144, 4)),
    ],
    "GlobalMaxPooling2D": [layers.GlobalMaxPooling2D(keepdims=True)],
}
PASSED_WITH_RETRACE = {"DepthwiseConv2D with new biases": [layers.DepthwiseConv2D(3, depth_multiplier=2)]}


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", [*PASSED_WITHOUT_RETRACE, *PASSED_WITH_RETRACE])
def test_units_pass_through_and_new_ones_begin_to_matter(name):
    listed = (PASSED_WITHOUT_RETRACE | PASSED_WITH_RETRACE)[name]
    model = StructuralModel.from_model(between(*listed))
    model.compile("sgd", "mse")
    traces, step = [], model.train_step
    model.train_step = lambda data: (traces.append(1), step(data))[1]
    model.train_on_batch(IMAGES, Y[:4])
    before = outputs(model, IMAGES)
    for edit in (lambda: model.grow("stem", 2), lambda: model.split("stem", [1])):
        edit()
        assert relative_change(before, outputs(model, IMAGES)) < 1e-6
    model.train_on_batch(IMAGES, Y[:4])
    model.train_on_batch(IMAGES, Y[:4])
    assert relative_change(before, outputs(model, IMAGES)) > 1e-6
    assert len(traces) == (1 if name in PASSED_WITHOUT_RETRACE else 2)


@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D(3), layers.SeparableConv2D(3, 3)], ids=lambda la: la.name)
def test_a_new_unit_is_not_cut_off_behind_a_depthwise_filter(layer):
    model = check_edit(lambda: between(layer), lambda m: m.grow("stem", 2), IMAGES, Y[:4])
    name = "pointwise_kernel" if isinstance(layer, layers.SeparableConv2D) else "kernel"
    reader = model.layers[2] if name == "pointwise_kernel" else model.get_layer("out")
    kernel = np.asarray(getattr(reader, name)).reshape(-1, 6, getattr(reader, name).shape[-1])
    assert (np.abs(kernel[:, 4:]).max(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize("layer", [layers.Conv2DTranspose, layers.SeparableConv2D, layers.Conv1DTranspose])
def test_layers_that_make_units_otherwise_than_conv_can_grow_split_and_lose_them(layer):
    def build():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 2) if "1D" in layer.__name__ else (6, 6, 2))
        x = layer(4, 2, activation="tanh", name="stem")(inputs)
        return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))

    x = IMAGES[:, 0] if "1D" in layer.__name__ else IMAGES
    momentum = keras.optimizers.SGD(0.01, momentum=0.9)
    check_edit(build, lambda m: (m.split("stem", [0]), m.grow("stem", 2))[1], x, Y[:4])
    check_edit(build, lambda m: m.prune("stem", [1, 3]), x, Y[:4], momentum, preserves=False)


@pytest.mark.usefixtures("compiled")
def test_a_convolution_of_keras_retraces_when_its_own_filters_change_and_that_is_counted():
    inputs = keras.Input((6, 6, 2))
    x = layers.Flatten()(layers.Conv2D(3, 3, name="stem")(inputs))
    model = StructuralModel(inputs, layers.Dense(2)(x))
    model.compile("sgd", "mse")
    model.train_on_batch(IMAGES, Y[:4])
    assert model.grow("stem", 1).retraced
    assert parts_of(model).editor.retraces == 1
    model.train_on_batch(IMAGES, Y[:4])


def test_scalar_operations_of_keras_pass_units_and_tie_them():
    def operation(h):
        other = layers.Dense(4, name="other")(h)
        return keras.ops.relu(h * 2 + keras.ops.tanh(other)) - keras.ops.maximum(h, other) / 3

    model = check_edit(lambda: around(operation), lambda m: m.grow("hidden", 2), X, Y)
    assert model.structure.units["hidden"].producers == (("hidden", 0), ("other", 0))


@pytest.mark.parametrize(
    "operation",
    [
        lambda h: h * np.ones(4, "float32"),
        lambda h: 2 / h,
        lambda h: keras.ops.flip(h, axis=-1),
        lambda h: layers.Lambda(lambda z: z[:, ::-1], output_shape=(4,))(h),
        lambda h: layers.Concatenate(axis=0)([h, h]),
    ],
)
def test_operations_without_unit_rules_fix_their_units(operation):
    model = around(operation)
    found = StructuralModel(model.inputs, model.outputs).structure
    assert dict(found.axes) == {}
    assert any(
        word in found.locked["hidden"]
        for word in ("no unit rule is registered", "runs Python code", "concatenates samples")
    )


def test_a_normalisation_of_data_fixes_nothing_in_front_and_only_its_units_behind():
    def model(place):
        norm = layers.Normalization(name="norm")
        norm.adapt(X if place == "front" else RNG.standard_normal((9, 4)))
        listed = [layers.Dense(4, name="hidden"), layers.Dense(3, name="next"), layers.Dense(2)]
        listed.insert(0 if place == "front" else 1, norm)
        return StructuralModel([keras.Input((5,)), *listed])

    front = model("front")
    assert dict(front.structure.axes) == {"hidden": 4, "next": 3}
    assert "norm" not in front.structure.locked
    before = outputs(front, X)
    front.grow("hidden", 2)
    assert relative_change(before, outputs(front, X)) < 1e-6
    middle = model("middle")
    assert dict(middle.structure.axes) == {"next": 3}
    with pytest.raises(ValueError, match=r"mean and variance of data that it was adapted to.*BatchNormalization"):
        middle.grow("hidden")


def test_rescaling_with_a_number_for_each_unit_fixes_them():
    found = StructuralModel.from_model(around(layers.Rescaling([1.0, 2.0, 3.0, 4.0]))).structure
    assert "scales each unit by a number of its own" in found.locked["hidden"]
    assert StructuralModel.from_model(around(layers.Rescaling(2.0))).structure.axes == {"hidden": 4}


def test_activations_of_ones_own_are_tried_and_those_that_mix_are_fixed():
    def swish2(z):
        return z * keras.ops.sigmoid(2 * z)

    def normed(z):
        return z / keras.ops.sum(keras.ops.abs(z), axis=-1, keepdims=True)

    for function, free in ((swish2, True), (normed, False)):
        dense = layers.Dense(4, activation=function, name="hidden")
        found = StructuralModel([keras.Input((5,)), dense, layers.Dense(2)]).structure
        assert ("hidden" in found.axes) == free
    soft = layers.Dense(4, activation=layers.Softmax(), name="hidden")
    assert "does not treat" in StructuralModel([keras.Input((5,)), soft, layers.Dense(2)]).structure.locked["hidden"]


def test_every_activation_of_keras_is_known():
    every = [n for n in dir(keras.activations) if n[0] != "_" and n not in ("get", "serialize", "deserialize", "glu")]

    def tops(h):
        return layers.Concatenate()([layers.Dense(4, activation=name, name=f"top_{name}")(h) for name in every])

    structure = StructuralModel.from_model(around(tops)).structure
    assert set(structure.axes) == {"hidden", *(f"top_{name}" for name in every)}
    mixing = {name for name in every if structure.units[f"top_{name}"].mixes is not None}
    assert mixing == {"softmax", "log_softmax", "sparsemax"}


def test_softmax_over_positions_keeps_units_apart_and_over_units_does_not():
    def mixes(axis):
        x = keras.Input((6, 5))
        y = layers.Softmax(axis=axis)(layers.Dense(4, name="hidden")(x))
        return StructuralModel(x, layers.Dense(2)(y)).structure.units["hidden"].mixes

    assert mixes(1) is None
    assert "(Softmax) mixes its units" in mixes(-1)
    assert "(Softmax) mixes its units" in mixes([1, 2])


def test_a_layer_that_two_models_share_is_one_layer():
    shared = layers.Dense(4, activation="tanh", name="shared")
    inside = keras.Input((5,))
    inner = keras.Model(inside, layers.Dense(3, name="small")(shared(inside)), name="inner")
    x = keras.Input((5,))
    both = layers.Concatenate()([inner(x), layers.Dense(3, name="top")(shared(x))])
    model = StructuralModel(x, layers.Dense(2)(both))
    assert {axis: width for axis, width in model.structure.axes.items() if "shared" in axis} in (
        {"shared": 4},
        {"inner/shared": 4},
    )
    before = outputs(model, X)
    model.grow(next(axis for axis in model.structure.axes if "shared" in axis), 2)
    assert relative_change(before, outputs(model, X)) < 1e-6
    assert model.get_layer("top").kernel.shape == (6, 3)
    assert inner.get_layer("small").kernel.shape == (6, 3)


def test_channels_first_lies_along_the_first_axis():
    x = keras.Input((2, 6, 6))
    options = {"data_format": "channels_first"}
    y = layers.ReLU()(layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3, name="stem", **options)(x)))
    y = layers.Flatten(**options)(layers.ZeroPadding2D(1, **options)(layers.MaxPooling2D(2, **options)(y)))
    model = StructuralModel(x, layers.Dense(2, name="out")(y))
    model.apply(grow("stem", 4, 1, {"stem/kernel": np.ones((3, 3, 2, 1), "float32")}))
    kernel = model.get_layer("out").kernel.numpy().reshape(-1, 5, 2)
    assert (kernel[:, 4] == 0).all()
    assert (kernel[:, :4] != 0).all()
    assert model.get_layer("stem").output.shape == (None, 5, 4, 4)
