"""Layers that are changed after the network was read are read again before an edit."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.strategies import NorthRandom
from keras_struct.testing.preservation import outputs, relative_change

layers = keras.layers


def normed(z):
    return z / keras.ops.sum(z, -1, keepdims=True)


X = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")


def network():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    h = layers.Dense(7, activation="relu", name="b")(layers.Dense(8, activation="relu", name="a")(x))
    return StructuralModel(x, layers.Dense(2, name="out")(h))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.get_layer("b").enable_lora(2), r"layer 'b' has LoRA weights; merge them.*load_weights"),
        (lambda m: m.get_layer("b").quantize("int8"), r"quantised \(int8\); quantise after"),
        (
            lambda m: setattr(m.get_layer("a"), "activation", normed),
            "does not treat each of its units",
        ),
        (lambda m: setattr(m.get_layer("a"), "activation", keras.activations.softmax), "softmax.*mixes its units"),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_change_that_forbids_an_edit_is_noticed_and_the_model_stays_as_it_is(change, words, compiled):
    model = network()
    if compiled:
        model.compile("adam", "mse", run_eagerly=True)
        model.train_on_batch(X, X[:, :2])
    change(model)
    before = outputs(model, X)
    for edit in (lambda: model.grow("a"), lambda: model.prune("a", count=1), lambda: model.split("a", 0)):
        with pytest.raises(ValueError, match=words):
            edit()
    np.testing.assert_array_equal(outputs(model, X)[0], before[0])


def test_a_strategy_is_told_what_changed_since_too():
    model = network()
    for layer in model.layers[1:]:
        layer.enable_lora(2)
    with pytest.raises(ValueError, match=r"NorthRandom has no layer to act on: .*'a' has LoRA weights; merge them"):
        model.compile("adam", "mse", strategy=NorthRandom())


def test_merging_lora_weights_as_the_reason_says_allows_edits(tmp_path):
    model = network()
    model.get_layer("b").enable_lora(2)
    model.get_layer("b").lora_kernel_b.assign(np.ones((2, 7)))
    model.save_weights(tmp_path / "merged.weights.h5")
    plain = network()
    plain.load_weights(tmp_path / "merged.weights.h5")
    assert relative_change(outputs(model, X), outputs(plain, X)) < 1e-5
    assert plain.grow("a", 2).after == 10


@pytest.mark.filterwarnings("ignore:.*is not trainable")
@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.get_layer("a"), "trainable", False),
        lambda m: setattr(m.get_layer("a"), "activation", keras.activations.tanh),
        lambda m: setattr(m.get_layer("b"), "activation", lambda z: z * 2.0),
    ],
)
def test_a_change_that_does_no_harm_is_followed(change):
    model = network()
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(X, X[:, :2])
    change(model)
    for edit in (lambda: model.grow("a", 2), lambda: model.split("a", 1)):
        before = outputs(model, X)
        edit()
        assert relative_change(before, outputs(model, X)) < 1e-6
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(X, X[:, :2])
    assert model.structure.axes == {"a": 11, "b": 7}


def test_a_change_of_a_layer_inside_another_is_noticed():
    x = keras.Input((4, 6))
    h = layers.TimeDistributed(layers.Dense(5), name="each")(x)
    model = StructuralModel(x, layers.Dense(2)(layers.MultiHeadAttention(2, 3, name="attention")(h, h)))
    assert "each" in model.structure.axes
    model.get_layer("attention").query_dense.enable_lora(1)
    assert "has LoRA weights" in model.structure.locked["each"]
    model = StructuralModel(x, layers.Dense(2)(layers.LSTM(3, name="r")(h)))
    model.get_layer("r").cell.activation = keras.activations.softmax
    with pytest.raises(ValueError, match="mixes its units"):
        model.grow("r")
