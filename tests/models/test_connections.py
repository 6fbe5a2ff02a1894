"""Sparse networks: conversion, random masks, pruning and growth by hand, lottery tickets, files without zeros."""

import keras
import numpy as np
import pytest

from keras_struct import Rewire, StructuralModel, WeightRewinding, selectors, sparsify
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.export import load_compact, save_compact
from keras_struct.layers import MaskedConv2D, MaskedDense
from keras_struct.sparse.conversion import densities
from keras_struct.testing.preservation import outputs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 6, 6, 2)).astype("float32")
Y = X.mean((1, 2))
layers = keras.layers
pytestmark = pytest.mark.usefixtures("eager_module")  # steps are compiled where many are made


@pytest.fixture(scope="module")
def network(eager_module):
    """A trained network, which tests convert and leave as it is."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, name="c")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization(name="n")(x))
    x = layers.DepthwiseConv2D(3, name="d")(x)
    x = layers.Dense(8, activation="relu", name="h")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(2, name="o")(x))
    model.compile(keras.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    model.train_on_batch(X, Y)
    return model


def read(variable):
    return current().read(variable)


def output(model):
    return outputs(model, X)[0]


def test_conversion_keeps_function_optimizer_and_compile_state(network):
    new = sparsify(network)
    np.testing.assert_array_equal(output(new), output(network))
    assert new.connections == {"c": 72, "h": 128, "o": 16}
    assert isinstance(new.get_layer("c"), MaskedConv2D)
    assert isinstance(new.get_layer("h"), MaskedDense)
    assert type(new.get_layer("d")) is layers.DepthwiseConv2D
    twin = StructuralModel.from_model(network)
    for other in (new, twin):
        keras.utils.set_random_seed(7)
        other.fit(X, Y, batch_size=16, verbose=0)
    np.testing.assert_allclose(output(new), output(twin), rtol=1e-5, atol=1e-6)


def test_layers_can_be_chosen(network):
    new = sparsify(network, layers=["h"], dormant="training")
    assert new.connections == {"h": 128}
    assert new.get_layer("h").dormant == "training"


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk"])
def test_a_share_of_all_connections_is_missing_at_random(distribution, network):
    new = sparsify(network, 0.75, distribution, seed=3)
    assert sum(new.connections.values()) == pytest.approx(0.25 * 216, abs=2)
    again = sparsify(network, 0.75, distribution, seed=3)
    assert all(np.array_equal(read(new.get_layer(n).mask), read(again.get_layer(n).mask)) for n in "cho")
    assert not new.structure_log
    for name in "cho":
        assert (read(new.get_layer(name).kernel)[~read(new.get_layer(name).mask)] == 0).all()


def test_the_sparsest_layer_keeps_one_connection():
    stack = [keras.Input((3,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="b")]
    assert sparsify(keras.Sequential(stack), 0.9, "uniform").connections == {"a": 1, "b": 1}


def test_densities_follow_the_formula_and_saturate():
    kernels = {"a": (3, 3, 10, 20), "b": (200, 10), "c": (4, 2)}
    found = densities(kernels, 0.1, "erk")
    assert found["c"] == 1.0
    assert found["a"] / found["b"] == pytest.approx((36 / 1800) / (210 / 2000))
    total = sum(np.prod(kernels[name]) * share for name, share in found.items())
    assert total == pytest.approx(0.1 * (1800 + 2000 + 8))
    found = densities(kernels, 0.1, "er")
    assert found["a"] / found["b"] == pytest.approx((30 / 200) / (210 / 2000))
    assert set(densities(kernels, 0.3, "uniform").values()) == {0.3}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sparsity": 1.0}, "must be from 0 up to 1"),
        ({"distribution": "even"}, "`distribution` must be"),
        ({"layers": ["d"]}, r"Cannot convert layers \['d'\]"),
        ({"layers": []}, "no Dense or Conv2D layer"),
    ],
)
def test_what_cannot_be_converted_is_explained(options, expected, network):
    with pytest.raises(ValueError, match=expected):
        sparsify(network, **options)


def test_connections_are_pruned_to_a_sparsity_and_logged(network):
    new = sparsify(network)
    weights = {name: np.abs(read(new.get_layer(name).kernel)) for name in "cho"}
    events = new.prune_connections(0.5)
    assert sum(new.connections.values()) == 108
    assert {event.axis: event.after for event in events} == new.connections
    kept = np.concatenate([weights[name][read(new.get_layer(name).mask)] for name in "cho"])
    gone = np.concatenate([weights[name][~read(new.get_layer(name).mask)] for name in "cho"])
    assert kept.min() >= gone.max()
    assert new.structure_log.widths({"c": 4}) == {"c": [(0, 4)]}
    assert "72 -> " in new.structure_log.to_table()


def test_connections_are_grown_and_keep_the_function(network):
    new = sparsify(network, 0.5)
    before, count = output(new), new.connections["h"]
    event = new.grow_connections("h", 10)
    assert (event.before, event.after, new.connections["h"]) == (count, count + 10, count + 10)
    np.testing.assert_array_equal(output(new), before)
    with pytest.raises(ValueError, match=r"Cannot make 1000 new connections in layer 'h': it has \d+ of 128"):
        new.grow_connections("h", 1000)


def test_models_without_masks_say_how_to_get_them(network):
    model = StructuralModel.from_model(network)
    for act in (lambda: model.prune_connections(0.5), lambda: model.grow_connections("h", 1)):
        with pytest.raises(ValueError, match=r"keras_struct\.sparsify\(model\)"):
            act()
    with pytest.raises(ValueError, match=r"Layers \['d'\] have no mask"):
        sparsify(network).prune_connections(0.5, layers=["d"])


def test_selectors_of_units_and_of_connections_are_told_apart(network):
    new = sparsify(network)
    with pytest.raises(TypeError, match=r"chooses units: use it with model\.prune"):
        new.prune_connections(0.5, selectors.Taylor())
    with pytest.raises(TypeError, match="Expected a selector of connections"):
        new.grow_connections("h", 1, "random")
    with pytest.raises(TypeError, match=r"use it with model\.prune_connections"):
        new.prune("h", count=1, selector=selectors.Snip())


def test_units_that_nothing_reads_are_removed_and_the_function_is_kept(network):
    new = sparsify(network)
    mask = np.ones((8, 2), bool)
    mask[[1, 5, 6]] = False
    new.apply(Rewire("o", mask))
    before = output(new)
    (event,) = new.prune_silent()
    assert (event.axis, event.source) == ("h", (0, 2, 3, 4, 7))
    np.testing.assert_allclose(output(new), before, rtol=1e-5, atol=1e-6)
    assert new.connections["o"] == 10
    assert new.prune_silent() == []


@pytest.mark.usefixtures("compiled")
def test_a_lottery_ticket_goes_back_to_early_weights_and_optimizer_state(network):
    new = sparsify(network)
    ticket, seen = WeightRewinding(step=2), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(([read(w) for w in new.weights], [read(v) for v in new.optimizer.variables]))

    for sparsity in (0.3, 0.5):
        new.fit(X, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[ticket, Watch()])
        new.prune_connections(sparsity)
        masks = {name: read(new.get_layer(name).mask) for name in "cho"}
        ticket.rewind()
        early = dict(zip([w.path for w in new.weights], seen[1][0], strict=True))
        for weight in new.weights:
            name = weight.path.split("/")[0]
            expected = masks[name] if weight.name == "mask" else early[weight.path]
            if weight.name == "kernel" and name in masks:
                expected = expected * masks[name]
            np.testing.assert_array_equal(read(weight), expected, err_msg=weight.path)
        assert int(new.optimizer.iterations) == int(seen[1][1][0])
        for slot in parts_of(new).editor.optimizer.live_slots():
            if slot.reference is new.get_layer("h").kernel:
                assert (read(slot.variable)[~masks["h"]] == 0).all()
    assert sum(new.connections.values()) == 108


def test_rewinding_needs_masks_and_a_step_that_was_reached(network):
    with pytest.raises(ValueError, match="`step` must not be negative"):
        WeightRewinding(-1)
    with pytest.raises(ValueError, match=r"keras_struct\.sparsify"):
        network.fit(X, Y, verbose=0, callbacks=[WeightRewinding()])
    new, ticket = sparsify(network), WeightRewinding(step=5)
    new.fit(X, Y, verbose=0, callbacks=[ticket])
    with pytest.raises(ValueError, match="has not reached step 5 yet"):
        ticket.rewind()
    new, ticket = sparsify(network), WeightRewinding()
    new.fit(X, Y, verbose=0, callbacks=[ticket])
    new.prune("h", count=1)
    before = [read(w) for w in new.weights]
    with pytest.raises(ValueError, match="weights of other shapes"):
        ticket.rewind()
    assert all(np.array_equal(a, read(w)) for a, w in zip(before, new.weights, strict=True))


@pytest.mark.parametrize(("zeros", "expected"), [(0, 33 * 4), (1, 33 * 4), (2, 31 * 4 + 5), (33, 5)])
def test_a_compact_file_holds_each_weight_in_the_smaller_of_two_forms(zeros, expected, tmp_path):
    model = keras.Sequential([keras.Input((33,)), layers.Dense(1, use_bias=False)])
    kernel = (np.arange(33.0) >= zeros)[:, None]
    model.set_weights([kernel])
    save_compact(model, tmp_path / "file.npz")
    np.testing.assert_array_equal(load_compact(tmp_path / "file.npz").get_weights()[0], kernel)
    with np.load(tmp_path / "file.npz") as arrays:
        assert sum(arrays[name].nbytes for name in arrays.files if "-" in name) == expected


def test_a_compact_file_cannot_bring_objects_along(tmp_path):
    save_compact(keras.Sequential([keras.Input((2,)), layers.Dense(1)]), tmp_path / "file.npz")
    with np.load(tmp_path / "file.npz") as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "whole-0": np.array([[1.0], [2.0]], object)})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load_compact(tmp_path / "other.npz")


def test_a_compact_file_holds_weights_of_low_precision(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, dtype="bfloat16")])
    save_compact(model, tmp_path / "file.npz")
    x = RNG.standard_normal((2, 3)).astype("float32")
    loaded = load_compact(tmp_path / "file.npz")
    np.testing.assert_array_equal(*(keras.ops.cast(each(x), "float32") for each in (loaded, model)))


def test_a_compact_file_holds_what_is_not_zero(tmp_path):
    keras.utils.set_random_seed(0)
    wide = keras.Sequential([keras.Input((64,)), layers.Dense(256, activation="relu"), layers.Dense(4)])
    new = sparsify(wide)
    whole = save_compact(new, tmp_path / "whole")
    new.prune_connections(0.9)
    size = save_compact(new, tmp_path / "small.npz")
    assert size < 0.2 * whole
    x = RNG.standard_normal((8, 64)).astype("float32")
    loaded = load_compact(tmp_path / "small.npz")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), new.predict(x, verbose=0))
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="was not written by save_compact"):
        load_compact(tmp_path / "other.npz")
