"""Plain models on several devices are refused by the callback, as structural ones are when they are compiled."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructuralTraining
from keras_struct.strategies import NorthRandom

X = np.zeros((64, 4), "float32")


def stack():
    return [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_a_model_under_tf_distribute_is_refused_as_a_structural_one_is():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras.Sequential(stack())
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"cannot be trained under a tf\.distribute strategy") as expected:
            StructuralModel(stack()).compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"cannot be trained under a tf\.distribute strategy") as found:
        model.fit(X, X[:, :1], verbose=0, callbacks=[StructuralTraining(NorthRandom(max_units=9), probe=X)])
    assert str(found.value) == str(expected.value)


def test_a_model_under_keras_distribution_is_refused(monkeypatch):
    model = keras.Sequential(stack())
    model.compile("sgd", "mse", run_eagerly=True)
    callback = StructuralTraining(NorthRandom(max_units=9), probe=X)
    callback.set_model(model)
    monkeypatch.setattr(keras.distribution, "distribution", lambda: object())
    with pytest.raises(ValueError, match=r"keras\.distribution"):
        callback.on_train_begin()
