"""What policies see of a running network, against plain NumPy."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, grow
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableConv2D, GrowableDense
from keras_struct.probes import InputBuffer

RNG = np.random.default_rng(0)


def relu(x):
    return np.maximum(x, 0)


def dense_model():
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [
            keras.Input((5,)),
            GrowableDense(4, activation="relu", name="h1"),
            GrowableDense(3, name="h2"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("tanh"),
            keras.layers.Dense(2, name="out"),
        ]
    )
    for variable in model.layers[3].weights:
        variable.assign(RNG.uniform(0.5, 1.5, variable.shape))
    return model


def measure(model, x, axis):
    return parts_of(model).observation.probe.measure(x, list(model.structure.axes), {})[axis]


def test_the_gram_matrix_is_that_of_the_post_activations():
    model, x = dense_model(), RNG.standard_normal((40, 5)).astype("float32")
    first = relu(x @ model.get_layer("h1").kernel.numpy() + model.get_layer("h1").bias.numpy())
    measured = measure(model, x, "h1")
    np.testing.assert_allclose(measured.gram(), first.T @ first / 40, rtol=1e-5)
    assert measured.gram().dtype == np.float64
    assert measured.samples() == 40
    normalised = keras.Model(model.input, model.layers[-2].output)(x).numpy()
    np.testing.assert_allclose(measure(model, x, "h2").gram(), normalised.T @ normalised / 40, rtol=1e-5)


def test_positions_of_a_convolution_count_as_samples():
    model = StructuralModel(
        [
            keras.Input((6, 6, 2)),
            GrowableConv2D(3, 3, name="c"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    x = RNG.standard_normal((10, 6, 6, 2)).astype("float32")
    rows = keras.Model(model.input, model.layers[2].output)(x).numpy().reshape(-1, 3)
    measured = measure(model, x, "c")
    assert measured.samples() == len(rows) == 160
    assert measured.kind == "conv"
    np.testing.assert_allclose(measured.gram(), rows.T @ rows / 160, rtol=1e-5, atol=1e-8)


def test_candidates_respond_as_units_of_the_layer_would():
    model, x = dense_model(), RNG.standard_normal((40, 5)).astype("float32")
    kernels = RNG.standard_normal((5, 7)).astype("float32")
    existing = relu(x @ model.get_layer("h1").kernel.numpy() + model.get_layer("h1").bias.numpy())
    fresh = relu(x @ kernels)
    cross, energy = measure(model, x, "h1").candidates(kernels)
    np.testing.assert_allclose(cross, existing.T @ fresh / 40, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(energy, (fresh**2).mean(axis=0), rtol=1e-5)


def test_candidates_go_through_normalisation_with_the_values_that_new_units_get():
    model, x = dense_model(), RNG.standard_normal((40, 5)).astype("float32")
    kernels = RNG.standard_normal((4, 6)).astype("float32")
    hidden = relu(x @ model.get_layer("h1").kernel.numpy() + model.get_layer("h1").bias.numpy())
    fresh = np.tanh(hidden @ kernels / np.sqrt(1 + 1e-3))
    cross, energy = measure(model, x, "h2").candidates(kernels)
    existing = keras.Model(model.input, model.layers[-2].output)(x).numpy()
    np.testing.assert_allclose(energy, (fresh**2).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(cross, existing.T @ fresh / 40, rtol=1e-4, atol=1e-6)


def test_candidates_of_a_convolution_agree_with_really_adding_them():
    model = StructuralModel(
        [
            keras.Input((6, 6, 2)),
            GrowableConv2D(3, 3, padding="same", activation="relu", name="c"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    x = RNG.standard_normal((10, 6, 6, 2)).astype("float32")
    kernels = RNG.standard_normal((3, 3, 2, 4)).astype("float32")
    cross, energy = measure(model, x, "c").candidates(kernels)
    model.apply(grow("c", 3, 4, {"c/kernel": kernels}))
    gram = measure(model, x, "c").gram()
    np.testing.assert_allclose(gram[:3, 3:], cross, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(np.diag(gram)[3:], energy, rtol=1e-4)


def test_measuring_leaves_weights_and_batch_statistics_alone():
    model, x = dense_model(), RNG.standard_normal((40, 5)).astype("float32")
    before = [w.copy() for w in model.get_weights()]
    measured = measure(model, x, "h2")
    measured.gram(), measured.candidates(RNG.standard_normal((4, 2)).astype("float32"))
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_weights_are_seen_by_unit():
    model = dense_model()
    measured = measure(model, None, "h1")
    kernel = model.get_layer("h1").kernel.numpy()
    np.testing.assert_array_equal(measured.fan_in[0].weights, kernel)
    np.testing.assert_allclose(measured.fan_in[0].norms, np.linalg.norm(kernel, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(measured.fan_out()[0].weights.reshape(4, 3), model.get_layer("h2").kernel.numpy())
    with pytest.raises(ValueError, match="no inputs to measure on"):
        measured.gram()


def test_a_buffer_keeps_the_newest_samples_first():
    buffer = InputBuffer(5)
    assert buffer.inputs() is None
    for start in (0, 10, 20):
        buffer.add(np.arange(start, start + 2))
        assert not buffer.full or start == 20
    buffer.add(np.arange(30, 32))
    assert buffer.full
    assert keras.ops.convert_to_numpy(buffer.inputs()).tolist() == [30, 31, 20, 21, 10]
    buffer.add(np.arange(40, 48))
    assert keras.ops.convert_to_numpy(buffer.inputs()).tolist() == [40, 41, 42, 43, 44]
    with pytest.raises(ValueError, match="samples=0"):
        InputBuffer(0)


def test_a_buffer_keeps_structures_together():
    buffer = InputBuffer(3)
    buffer.add({"a": np.array([1, 2]), "b": np.array([5, 6])})
    buffer.add({"a": np.array([3, 4]), "b": np.array([7, 8])})
    inputs = buffer.inputs()
    assert keras.ops.convert_to_numpy(inputs["a"]).tolist() == [3, 4, 1]
    assert keras.ops.convert_to_numpy(inputs["b"]).tolist() == [7, 8, 5]
