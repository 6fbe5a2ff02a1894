"""WRN-28: as large as it should be, with channels tied where they are added up."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.activations import relu1
from keras_struct.applications import WideResNet28
from keras_struct.testing.preservation import outputs, relative_change

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

TIED = ("stem", "group2_block1_shortcut", "group3_block1_shortcut")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 8, 8, 3)).astype("float32")
Y = RNG.integers(0, 10, 2)


@pytest.fixture(scope="module")
def small(eager_module):
    keras.utils.set_random_seed(0)
    model = WideResNet28((8, 8, 3), width=1 / 4)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def trainable(channels, colours=3, classes=10):
    """Kernels, scales and shifts of normalizations, and the classifier, counted group by group."""
    total, before = 9 * colours * channels[0], channels[0]
    for group, c in enumerate(channels):
        first = 9 * before * c + 9 * c * c + 2 * before + 2 * c + (before * c if group else 0)
        total, before = total + first + 3 * (2 * 9 * c * c + 4 * c), c
    return total + 2 * before + before * classes + classes


def trainable_of(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_width_1_has_the_known_number_of_parameters():
    model = WideResNet28()
    assert trainable_of(model) == trainable([16, 32, 64]) == 369_498  # the paper says 0.4 million
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 3 * 4 * 2 + 2


@pytest.mark.parametrize("width", [1e-6, 0.3, 2])
def test_width_scales_every_group(width):
    model = WideResNet28(width=width)
    channels = [max(1, round(n * width)) for n in (16, 32, 64)]
    assert isinstance(model, StructuralModel)
    assert trainable_of(model) == trainable(channels)
    inner = {f"group{g}_block{b}_conv1": channels[g - 1] for g in (1, 2, 3) for b in (1, 2, 3, 4)}
    assert model.structure.axes == inner | dict(zip(TIED, channels, strict=True))


def test_other_images_and_classes():
    model = WideResNet28((9, 4, 1), num_classes=3, classifier_activation=None, name="other")
    assert (model.name, model.output_shape) == ("other", (None, 3))
    assert trainable_of(model) == trainable([16, 32, 64], colours=1, classes=3)
    assert model.get_layer("group3_block4_add").output.shape == (None, 3, 1, 64)


def test_layers_are_as_documented(small):
    model = small
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert not layer.use_bias
            assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
        if isinstance(layer, keras.layers.Activation):
            assert layer.activation is relu1
    strides = [model.get_layer(f"group{g}_block{b}_conv1").strides[0] for g in (1, 2, 3) for b in (1, 2)]
    assert strides == [1, 1, 2, 1, 2, 1]
    shortcut = model.get_layer("group2_block1_shortcut")
    assert (shortcut.kernel_size, shortcut.strides) == ((1, 1), (2, 2))
    assert shortcut.input is model.get_layer("group2_block1_activation1").output
    np.testing.assert_allclose(outputs(model, X)[0].sum(axis=1), 1, rtol=1e-5)


def test_it_trains_grows_without_changing_its_function_and_is_saved(tmp_path, small):
    model = small
    kernel = model.get_layer("stem").kernel.numpy()
    assert np.isfinite(model.train_on_batch(X, Y))
    assert (model.get_layer("stem").kernel.numpy() != kernel).any()
    before = outputs(model, X)
    for axis in (*TIED, "group1_block1_conv1", "group3_block1_conv1"):
        width = model.structure.axes[axis]
        model.grow(axis, 2)
        assert model.structure.axes[axis] == width + 2
    assert relative_change(before, outputs(model, X)) <= 1e-5
    assert {model.get_layer(name).filters for name in ("stem", *(f"group1_block{b}_conv2" for b in range(1, 5)))} == {6}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.structure.axes == model.structure.axes
    np.testing.assert_array_equal(outputs(loaded, X)[0], outputs(model, X)[0])
    assert np.isfinite(loaded.train_on_batch(X, Y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"must be positive.*Received: width=0"),
        ({"num_classes": 0}, "at least 1. Received: num_classes=0"),
        ({"input_shape": (32, 3, 3)}, r"at least 4 x 4.*Received: input_shape=\(32, 3, 3\)"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WideResNet28(**arguments)
