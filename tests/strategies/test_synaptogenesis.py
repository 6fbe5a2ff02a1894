"""Units of masked layers that fire together are wired together."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, sparsify
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import FreeNet, MaskedConv2D, MaskedDense
from keras_struct.measure.probes.buffer import samples_between
from keras_struct.sparse import coactivity
from keras_struct.strategies import Synaptogenesis

ops = keras.ops
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)).astype("float32")
IMAGES = RNG.normal(size=(7, 9, 8, 2)).astype("float32")


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def mlp(activation="relu"):
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    h = MaskedDense(5, activation=activation, name="a")(x)
    h = keras.layers.Dropout(0.5)(h)
    h = MaskedDense(4, name="b")(h)
    h = keras.layers.ReLU(name="b_relu")(keras.layers.BatchNormalization()(h))
    return StructuralModel(x, MaskedDense(3, name="out")(h))


def shares(active, sources):
    """NCAM and NCIM of connections from sources (rows) to neurons (columns), pair by pair."""
    pairs = [[(s, a) for a in active.T] for s in sources.T]
    together = np.array([[np.mean(s & a) for s, a in row] for row in pairs])
    silent = np.array([[np.mean(~s & ~a) for s, a in row] for row in pairs])
    return together, silent


def test_both_ends_of_dense_connections_are_counted_where_they_are_activated():
    model = mlp()
    inner = keras.Model(model.inputs, [model.get_layer("a").output, model.get_layer("b_relu").output])
    a, b = (part > 0 for part in inner.predict(X, verbose=0))
    seen = model.coactivation("b", X)
    together, silent = shares(b, a)
    np.testing.assert_allclose(seen.together, together, atol=1e-12)
    np.testing.assert_allclose(seen.silent, silent, atol=1e-12)
    assert seen.samples == 60
    first = model.coactivation("a", X, threshold=0.5)
    np.testing.assert_allclose(first.together, shares(a, X > 0.5)[0], atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2])
def test_both_ends_of_connections_of_a_convolution_are_counted_at_each_position(padding, strides):
    keras.utils.set_random_seed(2)
    x = keras.Input((9, 8, 2))
    h = keras.layers.Conv2D(3, 1, activation="relu", name="first")(x)
    h = MaskedConv2D(4, 3, strides=strides, padding=padding, activation="relu", name="conv")(h)
    model = StructuralModel(x, keras.layers.GlobalAveragePooling2D()(h))
    before, after = keras.Model(model.inputs, [model.get_layer("first").output, h]).predict(IMAGES, verbose=0)
    seen = model.coactivation("conv", IMAGES)
    rows, columns = after.shape[1:3]
    missing = [max((n - 1) * strides + 3 - size, 0) for n, size in ((rows, 9), (columns, 8))]
    pad = missing if padding == "same" else [0, 0]
    around = [(0, 0), *((p // 2, p - p // 2) for p in pad), (0, 0)]
    active = np.pad(before > 0, around)
    expected = np.zeros((3, 3, 3, 4))
    for i in range(rows):
        for j in range(columns):
            patch = active[:, i * strides : i * strides + 3, j * strides : j * strides + 3]
            expected += np.einsum("nhwc,no->hwco", patch.astype(float), (after[:, i, j] > 0).astype(float))
    np.testing.assert_allclose(seen.together, expected / (len(IMAGES) * rows * columns), atol=1e-12)
    assert seen.samples == len(IMAGES) * rows * columns


def test_positions_of_images_are_counted_alike_with_channels_in_front():
    rows = [
        numbers(coactivity._rows(x, 0.1, MaskedConv2D(4, 3, data_format=data_format)))
        for x, data_format in ((IMAGES, "channels_last"), (IMAGES.transpose(0, 3, 1, 2), "channels_first"))
    ]
    np.testing.assert_array_equal(rows[0], IMAGES.reshape(-1, 2) > 0.1)
    np.testing.assert_array_equal(rows[1], rows[0])


@pytest.mark.parametrize(
    ("entries", "exact", "size", "expected"),
    [
        (3 * 42 * 27 + 5, 2**23, (9, 8), 3),  # 7 x 6 positions, patches of 3 x 3 x 3 entries
        (2**25, 2 * 42 + 5, (9, 8), 2),
        (1, 1, (9, 8), 1),
        (2**25, 2**23, (9, 8), 4096),
        (5 * 27, 2**23, (None, None), 5),  # positions that are not known do not count
    ],
)
def test_samples_are_counted_as_many_at_a_time_as_there_is_room_for(entries, exact, size, expected, monkeypatch):
    keras.utils.set_random_seed(2)
    x = keras.Input((*size, 2))
    h = keras.layers.Conv2D(3, 1, activation="relu")(x)
    h = MaskedConv2D(4, 3, activation="relu", name="conv")(h)
    model = StructuralModel(x, keras.layers.GlobalAveragePooling2D()(h))
    whole, asked = model.coactivation("conv", IMAGES), []

    def recorded(piece, start, end):
        asked.append((start, end))
        return samples_between(piece, start, end)

    monkeypatch.setattr(coactivity, "samples_between", recorded)
    monkeypatch.setattr(coactivity, "ENTRIES", entries)
    monkeypatch.setattr(coactivity, "EXACT", exact)
    seen = model.coactivation("conv", IMAGES)
    assert asked == [(start, start + expected) for start in range(0, len(IMAGES), expected)]
    np.testing.assert_array_equal(seen.counts, whole.counts)
    assert seen.samples == whole.samples


def planted(layer):
    """All units of both layers always fire but the last of each, which never do; two connections are there."""
    x = keras.Input((2,))
    h = keras.layers.Dense(3, "relu", kernel_initializer="zeros", name="h")(x)
    model = StructuralModel(x, keras.layers.Dense(1)(layer(h)))
    model.get_layer("h").bias.assign([1.0, 1.0, -1.0])
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    layer.bias.assign([1.0, 1.0, -1.0])
    mask = np.zeros((3, 3), bool)
    mask[0, 0] = mask[2, 2] = True
    layer.mask.assign(mask)
    return model, mask


@pytest.mark.parametrize(("prune", "kept"), [(False, True), (True, False)])
def test_connections_between_units_that_fire_together_come_and_those_between_silent_ones_may_go(prune, kept):
    layer = MaskedDense(3, activation="relu", name="masked")
    model, _ = planted(layer)
    strategy = Synaptogenesis(0.1, every=1, warmup=0, samples=20, value="fresh", prune=prune)
    model.compile(keras.optimizers.SGD(0.0), "mse", strategy=strategy)
    before = model.predict(np.zeros((4, 2)), verbose=0)
    model.fit(np.zeros((40, 2)), np.zeros((40, 1)), batch_size=20, epochs=2, verbose=0)
    mask = numbers(layer.mask)
    assert mask[:2, :2].all(), "both ends always fire"
    assert mask[2, 2] == kept, "both ends are always silent"
    assert mask.sum() == 4 + kept
    assert (np.abs(numbers(layer.kernel)[:2, :2].ravel()[1:]) > 0).all()
    assert model.structure_log[0].reason == "Synaptogenesis"
    assert (model.predict(np.zeros((4, 2)), verbose=0) != before).any()
    assert parts_of(model).runner.policy_state["history"][0] == [1, "masked", 3, int(prune)]


def test_the_function_is_kept_where_new_connections_start_from_zero():
    layer = MaskedDense(3, activation="relu", name="masked")
    model, _ = planted(layer)
    model.compile(keras.optimizers.SGD(0.0), "mse", strategy=Synaptogenesis(0.1, every=1, warmup=0, samples=20))
    before = model.predict(X[:, :2], verbose=0)
    model.fit(np.zeros((40, 2)), np.zeros((40, 1)), batch_size=20, verbose=0)
    assert model.connections["masked"] == 5
    np.testing.assert_array_equal(model.predict(X[:, :2], verbose=0), before)


def test_a_layer_gets_no_denser_than_it_may():
    layer = MaskedDense(3, activation="relu", name="masked")
    model, _ = planted(layer)
    strategy = Synaptogenesis(0.1, every=1, warmup=0, samples=20, max_density=3 / 9)
    model.compile("sgd", "mse", strategy=strategy)
    model.fit(np.zeros((40, 2)), np.zeros((40, 1)), batch_size=20, epochs=2, verbose=0)
    assert model.connections["masked"] == 3


def test_distant_layers_of_an_embedded_network_are_wired_together():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(n, "relu", bias_initializer="ones") for n in (4, 3, 5)]
    network = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2)])
    free = FreeNet.from_model(network)
    model = StructuralModel(free.inputs[0], free.outputs[0])
    layer = model.get_layer("free_net")
    assert not layer.adjacency[7:, :4].any(), "the first and the third layer are not neighbours"
    model.compile("sgd", "mse", strategy=Synaptogenesis(0.4, every=2, warmup=0, samples=32, layers="free_net"))
    seen = model.coactivation("free_net", X).together
    before = model.predict(X, verbose=0)
    assert (seen[7:, :4] > 0.6).any()
    model.optimizer.learning_rate = 0.0
    model.fit(X, np.zeros((60, 2)), batch_size=30, epochs=1, shuffle=False, verbose=0)
    assert layer.adjacency[7:, :4].any()
    np.testing.assert_allclose(model.predict(X, verbose=0), before, atol=1e-6)


def test_it_works_in_the_training_of_any_sparse_model_with_convolutions():
    keras.utils.set_random_seed(4)
    x = keras.Input((9, 8, 2))
    h = keras.layers.Conv2D(4, 3, activation="relu", name="c1")(x)
    h = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(4, 3, activation="relu", name="c2")(h))
    h = keras.layers.Dense(6, "relu", name="d1")(keras.layers.Flatten()(h))
    model = sparsify(keras.Model(x, keras.layers.Dense(2, name="d2")(h)), sparsity=0.7)
    before = dict(model.connections)
    model.compile("adam", "mse", strategy=Synaptogenesis(0.7, every=2, warmup=2, samples=14, max_density=0.6))
    assert set(parts_of(model).runner.targets.acting()) == {"c2", "d1"}, "of the others one end is not known"
    history = model.fit(np.tile(IMAGES, (4, 1, 1, 1)), np.zeros((28, 2)), batch_size=7, epochs=4, verbose=0).history
    assert model.connections["c2"] > before["c2"]
    assert model.connections["c1"] == before["c1"]
    assert model.connections["c2"] <= 0.6 * 144
    assert history["connections"][-1] == sum(model.connections.values())


def test_normalised_and_merged_inputs_are_told_apart():
    def sites(between):
        x = keras.Input((6,))
        h = keras.layers.Dense(5, "relu")(x)
        model = StructuralModel(x, MaskedDense(4, activation="relu", name="masked")(between(h)))
        try:
            model.compile("sgd", "mse", strategy=Synaptogenesis())
        except ValueError:
            return []
        return parts_of(model).runner.targets.acting()

    assert sites(keras.layers.Dropout(0.2)) == ["masked"]
    assert sites(lambda h: keras.layers.Concatenate()([h, keras.layers.Dense(3, "relu6")(h)])) == ["masked"]
    assert sites(lambda h: keras.ops.relu(keras.layers.Dense(3)(h))) == ["masked"]
    assert sites(lambda h: keras.layers.Add()([h, keras.layers.Dense(5, "relu")(h)])) == ["masked"]
    assert sites(keras.layers.BatchNormalization()) == [], "its zero is not that of the activation"
    assert sites(keras.layers.Dense(5)) == []
    assert sites(lambda h: keras.layers.Subtract()([h, keras.layers.Dense(5, "relu")(h)])) == []


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Synaptogenesis(epsilon=1.2), "between 0 and 1"),
        (lambda: Synaptogenesis(max_density=0.0), "above 0 and at most 1"),
        (lambda: compiled(mlp(), layers="a"), "When what it reads is active is undefined for layer 'a'.*`threshold`"),
        (lambda: compiled(mlp("tanh"), layers="b"), "When what it reads is active is undefined for layer 'b'"),
        (lambda: compiled(mlp("tanh"), layers="a"), "When its units are active is undefined for layer 'a'"),
        (lambda: compiled(mlp(), layers="c"), r"cannot edit layers \['c'\]"),
        (lambda: compiled(plain()), "has no masked layer"),
        (lambda: mlp("tanh").coactivation("b", X), "Say with `threshold`"),
        (lambda: mlp().coactivation("c", X), r"Layers \['c'\] have no mask"),
        (lambda: mlp().measure_connections()["b"].activity(), "pass `probe=x` to compile"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
    compiled(mlp("tanh"), layers="b", threshold=0.1)


def plain():
    return StructuralModel([keras.Input((6,)), keras.layers.Dense(3)])


def compiled(model, **options):
    model.compile("sgd", "mse", strategy=Synaptogenesis(**options))
