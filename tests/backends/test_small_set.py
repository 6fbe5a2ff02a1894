"""The same small set on TensorFlow, JAX and PyTorch: `KERAS_BACKEND=jax python -m pytest tests/backends`."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.layers import GrowableConv2D, GrowableDense
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import NorthRandom, NorthSelect
from keras_struct.testing import check_edit
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.triggers import EffectiveDimension

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype("float32")
Y = X[:, :1] * 0.5
IMAGES = RNG.standard_normal((8, 6, 6, 2)).astype("float32")


def mlp():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), GrowableDense(4, activation="relu", name="h1")]
    return StructuralModel([*layers, GrowableDense(4, activation="tanh", name="h2"), keras.layers.Dense(1)])


def residual():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same", name="branch")(x)])
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("edit", "preserves"),
    [
        (lambda m: m.grow("h1", 2), True),
        (lambda m: m.split("h2", [1]), True),
        (lambda m: m.prune("h1", count=1), False),
    ],
)
def test_edits_keep_function_optimizer_and_saved_file(edit, preserves, optimizer):
    check_edit(mlp, edit, X, Y, optimizer=optimizer, preserves=preserves)


def test_a_residual_convolution_from_any_model_follows():
    model = check_edit(residual, lambda m: m.grow("stem", 2), IMAGES, Y[:8])
    assert isinstance(model.get_layer("branch"), GrowableConv2D)
    assert model.get_layer("branch").filters == 6
    assert relative_change(outputs(model, IMAGES), outputs(model.to_plain(), IMAGES)) < 1e-6


@pytest.mark.parametrize("strategy", [NorthRandom, NorthSelect])
def test_the_structure_changes_while_fit_runs(strategy):
    model = mlp()
    model.compile(
        "adam", "mse", strategy=strategy(EffectiveDimension(gamma=0.5), schedule=EveryNSteps(3), max_units=9), probe=32
    )
    history = model.fit(X, Y, batch_size=16, epochs=5, verbose=0)
    assert model.structure_log
    assert all(event.change < 1e-5 for event in model.structure_log)
    assert model.get_layer("h2").kernel.shape == (model.structure.axes["h1"], model.structure.axes["h2"])
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model._structural.step == 20
    predicted = model.predict(X, verbose=0)
    assert np.isfinite(predicted).all()


def test_the_effective_dimension_is_the_same_on_every_backend():
    model = mlp()
    kernel = np.linspace(-1, 1, 24).reshape(6, 4).astype("float32")
    model.get_layer("h1").kernel.assign(kernel)
    found = model._structural.probe.measure(X, ["h1"], {})["h1"]
    hidden = np.maximum(X @ kernel, 0).astype("float64")
    np.testing.assert_allclose(found.gram(), hidden.T @ hidden / 64, rtol=1e-5, atol=1e-7)
    assert found.gram().dtype == np.float64
    cross, energy = found.candidates(kernel[:, :2])
    np.testing.assert_allclose(cross, found.gram()[:, :2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(energy, np.diag(found.gram())[:2], rtol=1e-5)
