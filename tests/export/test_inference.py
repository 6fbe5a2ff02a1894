"""Plain models for inference, and what may stay in them."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.activations import relu1
from keras_struct.export import to_plain
from keras_struct.layers import GrowableDense, MaskedDense
from keras_struct.testing.preservation import outputs, relative_change

L = keras.layers
IMAGES = np.random.default_rng(0).random((3, 6, 6, 2)).astype("float32")


def noisy(augmentation=True):
    block = keras.Sequential([L.GaussianNoise(0.1), L.Dense(4), L.AlphaDropout(0.2)], name="block")
    inputs = [keras.Input((6, 6, 2)), L.RandomFlip()] if augmentation else [keras.Input((6, 6, 2))]
    layers = [*inputs, L.Conv2D(3, 3), L.SpatialDropout2D(0.1), L.Flatten(), block]
    return keras.Sequential([*layers, L.Dropout(0.5), L.Dense(2)])


@pytest.mark.parametrize("convert", [lambda model: model, StructuralModel.from_model])
def test_augmentation_noise_and_dropout_are_left_out(convert):
    model = convert(noisy())
    plain = to_plain(model, inference=True)
    kinds = {type(layer).__name__ for layer in plain._flatten_layers()}
    assert not kinds & {"RandomFlip", "SpatialDropout2D", "Dropout", "GaussianNoise", "AlphaDropout"}
    assert relative_change(outputs(model, IMAGES), outputs(plain, IMAGES)) < 1e-6
    assert "RandomFlip" in {type(layer).__name__ for layer in to_plain(model).layers}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exported from TensorFlow")
@pytest.mark.parametrize("inference", [False, True])
def test_sequential_models_export_without_having_been_called(inference, tmp_path):
    import tensorflow as tf

    model = noisy(augmentation=inference)  # Keras exports augmentation as in training
    to_plain(model, inference).export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert relative_change(outputs(model, IMAGES), [np.asarray(loaded.serve(IMAGES), "float64")]) < 1e-5


class Mine(GrowableDense):
    def call(self, x):
        return super().call(x) * 2.0


class Doubled(L.Layer):
    def call(self, x):
        return x * 2.0


def test_subclasses_of_the_librarys_layers_are_refused():
    with pytest.raises(ValueError, match="'m' is a Mine, your own subclass"):
        StructuralModel([keras.Input((3,)), Mine(2, name="m"), L.Dense(1)]).to_plain()
    wrapped = L.TimeDistributed(MaskedDense(2), name="each")
    with pytest.raises(ValueError, match=r"'each' \(TimeDistributed\) wraps"):
        to_plain(keras.Sequential([keras.Input((3, 2)), wrapped]))


def test_growable_layers_in_wrappers_become_stock_layers_in_them():
    wrapped = L.TimeDistributed(GrowableDense(4, activation=relu1), name="each")
    model = StructuralModel([keras.Input((3, 2)), wrapped, L.GlobalAveragePooling1D(), L.Dense(1)])
    model.grow("each", 1)
    plain, x = model.to_plain(), np.ones((2, 3, 2), "float32")
    assert type(plain.get_layer("each").layer) is L.Dense
    assert relative_change(outputs(model, x), outputs(plain, x)) < 1e-6


@pytest.mark.filterwarnings("ignore:__array__")
def test_layers_of_ones_own_are_reported():
    model = keras.Sequential([keras.Input((3,)), Doubled(name="two"), L.Dense(1)])
    with pytest.warns(UserWarning, match=r"layers of your own: 'two' \(Doubled\)"):
        plain = to_plain(model)
    x = np.ones((2, 3), "float32")
    assert relative_change(outputs(model, x), outputs(plain, x)) == 0
