"""FreeNets are written for inference: in stock layers, or with the weights of their edges only."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.export import load_compact, save_compact, to_compact, to_plain
from keras_struct.layers import CompactFreeNet, FreeNet, MaskedDense
from keras_struct.statistics import flops_per_layer
from keras_struct.testing.preservation import outputs

X = np.random.default_rng(0).normal(size=(30, 8)).astype("float32")


def network(density, neurons=16, activation="relu"):
    keras.utils.set_random_seed(1)
    edges = np.tril(np.random.default_rng(2).random((neurons, neurons)) < density, -1)
    x = keras.Input((8,))
    free = FreeNet(neurons, activation, edges, threshold=0.0, bias_initializer="random_normal", name="free")
    return StructuralModel(x, keras.layers.Dense(3, name="out")(free(x)))


def predicted(model):
    return outputs(model, X)[0]


def compact_of(model):
    return to_compact(model).get_layer("free")


@pytest.mark.parametrize(("density", "activation"), [(1.0, "relu"), (0.3, "tanh"), (0.05, "relu"), (0.0, "tanh")])
def test_both_forms_compute_the_same_also_when_they_are_loaded(density, activation, tmp_path):
    model = network(density, activation=activation)
    expected = predicted(model)
    for name, written in (("plain", to_plain(model)), ("compact", to_compact(model))):
        np.testing.assert_allclose(predicted(written), expected, atol=1e-6)
        written.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_allclose(predicted(loaded), expected, atol=1e-6)
    save_compact(model, tmp_path / "file.npz")
    np.testing.assert_allclose(predicted(load_compact(tmp_path / "file.npz")), expected, atol=1e-6)


def test_the_compact_form_has_a_weight_for_each_edge():
    model = network(0.2)
    free, compact = model.get_layer("free"), compact_of(model)
    assert isinstance(compact, CompactFreeNet)
    assert compact.kernel.shape == (free.edges,)
    assert compact.count_params() == 9 * 16 + free.edges
    assert (compact.edges, compact.depth, compact.flops) == (free.edges, free.depth, free.flops)
    assert flops_per_layer(to_compact(model))["free"] == free.flops


def test_an_embedded_network_is_as_small_as_it_was():
    layers = [keras.layers.Dense(n, "relu", bias_initializer="ones") for n in (6, 4, 5)]
    dense = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(2)])
    free = FreeNet.from_model(dense)
    compact = to_compact(free)
    np.testing.assert_allclose(predicted(compact), predicted(dense), atol=1e-6)
    assert compact.get_layer("free_net").count_params() == sum(layer.count_params() for layer in layers)
    assert flops_per_layer(free)["free_net"] == 2 * (48 + 24 + 20) + 15


def test_a_plain_network_is_of_stock_layers():
    plain = to_plain(network(0.2))
    assert {type(layer).__module__.split(".")[0] for layer in plain._flatten_layers()} == {"keras"}


def test_exported_networks_compute_the_same(tmp_path):
    import tensorflow as tf

    model = network(0.2)
    for name, written in (("plain", to_plain(model)), ("compact", to_compact(model))):
        written.export(tmp_path / name, verbose=False)
        loaded = tf.saved_model.load(str(tmp_path / name))
        np.testing.assert_allclose(loaded.serve(X).numpy(), predicted(model), atol=1e-6)


def test_only_networks_with_free_nets_have_a_compact_form():
    x = keras.Input((8,))
    with pytest.raises(ValueError, match="the model has no such layer"):
        to_compact(StructuralModel(x, MaskedDense(3)(x)))
    with pytest.raises(ValueError, match="expected a Functional model"):
        to_compact(keras.Sequential([FreeNet(3)]))
    with pytest.raises(ValueError, match="no cycle"):
        CompactFreeNet(2, np.ones((2, 2)))
