"""A plain Keras model grows through a callback."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralTraining
from keras_struct.schedules import EveryNSteps, Linear
from keras_struct.strategies import Grow, NorthSelect
from keras_struct.triggers import EffectiveDimension

X = np.random.default_rng(0).standard_normal((128, 8, 8, 1)).astype("float32")
Y = X.mean(axis=(1, 2))


def plain_model(conv=False):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((8, 8, 1))]
    if conv:
        layers += [keras.layers.Conv2D(4, 3, activation="relu", name="conv")]
    layers += [keras.layers.Flatten(), keras.layers.Dense(6, activation="relu", name="hidden"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    return model


def test_a_plain_model_grows_through_the_callback():
    model = plain_model()
    strategy = NorthSelect(EffectiveDimension(gamma=0.6), schedule=EveryNSteps(2), max_units=16)
    training = StructuralTraining(strategy, probe=X)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[training])
    assert model.get_layer("hidden").units > 6
    assert model.get_layer("hidden").kernel.shape[1] == model.get_layer("hidden").units
    assert training.structure_log[-1].after == training.structure.axes["hidden"]
    assert training.retraces == 0


def test_a_stock_convolution_grows_too_with_counted_retraces():
    model = plain_model(conv=True)
    training = StructuralTraining(Grow(schedule=Linear(3, 3), axes=["conv"]))
    history = model.fit(X, Y, epochs=1, batch_size=16, verbose=0, callbacks=[training])
    assert model.get_layer("conv").filters == 7
    assert training.retraces == 3
    assert np.isfinite(history.history["loss"][0])


def test_the_callback_says_what_it_needs():
    with pytest.raises(ValueError, match="probe=x"):
        StructuralTraining(NorthSelect())
    with pytest.raises(ValueError, match="too few to measure axis 'hidden'"):
        plain_model().fit(X, Y, verbose=0, callbacks=[StructuralTraining(NorthSelect(max_units=500), probe=X[:100])])
    with pytest.raises(ValueError, match="there is no such axis"):
        plain_model().fit(X, Y, verbose=0, callbacks=[StructuralTraining(NorthSelect(axes=["nothing"]), probe=X)])
    still = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    still.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no layer to act on"):
        still.fit(X, Y, verbose=0, callbacks=[StructuralTraining(NorthSelect(), probe=X)])
