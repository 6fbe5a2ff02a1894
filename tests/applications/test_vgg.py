"""VGG-11: as large as it should be, and every layer of it can grow."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.activations import relu1
from keras_struct.applications import VGG11
from keras_struct.testing.preservation import outputs, relative_change

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

FILTERS = [64, 128, 256, 256, 512, 512, 512, 512]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 32, 32, 3)).astype("float32")
Y = RNG.integers(0, 10, 2)


def small(**options):
    keras.utils.set_random_seed(0)
    model = VGG11(width=1 / 16, **options)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def parameters(filters, units, channels=3, classes=10, places=1):
    """Kernels and biases, counted layer by layer."""
    convolutions = sum(9 * i * o + o for i, o in zip([channels, *filters], filters, strict=False))
    sizes = [filters[-1] * places, *units, classes]
    return convolutions + sum(i * o + o for i, o in pairwise(sizes))


def test_standard_widths_have_the_known_number_of_parameters():
    model = VGG11()
    convolutions = sum(model.get_layer(f"conv{i}").count_params() for i in range(1, 9))
    assert convolutions == 9_220_480  # the published convolutions of VGG-11
    assert model.count_params() == parameters(FILTERS, [4096, 4096]) == 28_144_010


@pytest.mark.parametrize("width", [1 / 16, 0.1, 0.3])
def test_width_scales_every_hidden_layer(width):
    model = VGG11(width=width)
    filters, units = ([max(1, round(n * width)) for n in widths] for widths in (FILTERS, [4096, 4096]))
    names = [*(f"conv{i}" for i in range(1, 9)), "dense1", "dense2"]
    assert isinstance(model, StructuralModel)
    assert model.structure.axes == dict(zip(names, filters + units, strict=True))
    assert model.count_params() == parameters(filters, units)


def test_at_least_one_unit_is_left():
    assert set(VGG11(width=1e-6).structure.axes.values()) == {1}


def test_other_images_and_classes():
    model = VGG11((64, 40, 1), num_classes=3, width=1 / 16, classifier_activation=None, name="other")
    assert (model.name, model.output_shape) == ("other", (None, 3))
    filters = [n // 16 for n in FILTERS]
    assert model.count_params() == parameters(filters, [256, 256], channels=1, classes=3, places=2)


def test_layers_are_as_documented():
    model = small()
    for name in model.structure.axes:
        layer = model.get_layer(name)
        assert layer.activation is relu1
        assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
        assert not layer.bias.numpy().any()
    np.testing.assert_allclose(outputs(model, X)[0].sum(axis=1), 1, rtol=1e-5)


def test_batch_normalization_replaces_the_biases():
    model = small(batch_normalization=True)
    assert model.count_params() == parameters([n // 16 for n in FILTERS], [256, 256]) + 3 * sum(FILTERS) // 16
    kinds = [type(layer).__name__ for layer in model.layers[1:5]]
    assert kinds == ["GrowableConv2D", "BatchNormalization", "Activation", "MaxPooling2D"]
    assert model.get_layer("activation1").activation is relu1


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_it_trains_grows_without_changing_its_function_and_is_saved(batch_normalization, tmp_path):
    model = small(batch_normalization=batch_normalization)
    kernel = model.get_layer("conv1").kernel.numpy()
    assert np.isfinite(model.train_on_batch(X, Y))
    assert (model.get_layer("conv1").kernel.numpy() != kernel).any()
    before = outputs(model, X)
    for axis in ("conv1", "conv8", "dense1"):
        width = model.structure.axes[axis]
        model.grow(axis, 2)
        assert model.structure.axes[axis] == width + 2
    assert relative_change(before, outputs(model, X)) <= 1e-5
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.structure.axes == model.structure.axes
    np.testing.assert_array_equal(outputs(loaded, X)[0], outputs(model, X)[0])
    assert np.isfinite(loaded.train_on_batch(X, Y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"must be positive.*Received: width=0"),
        ({"width": -0.5}, r"Received: width=-0\.5"),
        ({"width": float("nan")}, "Received: width=nan"),
        ({"width": float("inf")}, "Received: width=inf"),
        ({"num_classes": 0}, "at least 1. Received: num_classes=0"),
        ({"input_shape": (28, 32, 1)}, r"at least 32 x 32.*Received: input_shape=\(28, 32, 1\).*pad"),
        ({"input_shape": (32, 32)}, r"height, width and number of channels.*Received: input_shape=\(32, 32\)"),
        ({"input_shape": (None, None, 3)}, "whole numbers"),
        ({"input_shape": (32, 32, 0)}, "number of channels"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        VGG11(**arguments)
