"""A block without layers computes neuron by neuron, and its edges and neurons come and go."""

import sys
from itertools import pairwise

import keras
import numpy as np
import pytest

from keras_struct import Rewire, StructuralModel
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.freenets.acyclic import levels_of
from keras_struct.layers import FreeNet
from keras_struct.schedules import EveryNSteps
from keras_struct.statistics import flops_per_layer
from keras_struct.strategies import RigL, SparseEvolution
from keras_struct.testing import check_edit

ops = keras.ops
X = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)


def graph(neurons, density, seed=2):
    return np.tril(np.random.default_rng(seed).random((neurons, neurons)) < density, -1)


def by_hand(layer, x, target):
    """Outputs, and gradients of half the squared distance to a target, neuron by neuron."""
    encoder, bias, kernel = (numbers(w) for w in (layer.encoder, layer.bias, layer.kernel))
    weights, n = kernel * layer.adjacency, layer.units
    a = np.zeros((len(x), n))
    for j in range(n):
        a[:, j] = np.maximum(x @ encoder[:, j] + bias[j] + a[:, :j] @ weights[j, :j], 0)
    slopes, total = np.zeros_like(a), a - target
    for j in reversed(range(n)):
        slopes[:, j] = (total[:, j] + slopes[:, j + 1 :] @ weights[j + 1 :, j]) * (a[:, j] > 0)
    return a, (x.T @ slopes, slopes.sum(0), (slopes.T @ a) * layer.adjacency)


@pytest.mark.parametrize(
    ("neurons", "density"), [(1, 1.0), (4, 0.3), (16, 1.0), (16, 0.0), (17, 0.3), (17, 0.02), (40, 1.0), (40, 0.02)]
)
def test_outputs_and_gradients_are_those_of_a_loop_over_neurons(neurons, density):
    keras.utils.set_random_seed(neurons)
    layer = FreeNet(neurons, adjacency=graph(neurons, density), bias_initializer="random_normal")
    layer(X)
    layer.kernel.assign(layer.kernel * 3)
    target = np.random.default_rng(3).normal(size=(12, neurons))
    expected, slopes = by_hand(layer, X.astype(np.float64), target)
    found, _, gradients = current().differentiate(
        lambda: (0.5 * ops.sum((layer(X) - target.astype("float32")) ** 2), layer(X)),
        [layer.encoder, layer.bias, layer.kernel],
    )
    np.testing.assert_allclose(numbers(found), expected, rtol=1e-5, atol=1e-5)
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(numbers(gradient), slope, rtol=1e-5, atol=1e-5 * max(1, np.abs(slope).max()))


def test_short_graphs_are_computed_level_by_level():
    layer = FreeNet(40, adjacency=graph(40, 0.02))
    layer(X)
    assert layer.schedule.order is not None
    assert layer.schedule.steps == layer.depth <= 5


def test_a_mask_that_is_assigned_behind_its_back_is_computed_all_the_same():
    layer = FreeNet(40, adjacency=graph(40, 0.02), bias_initializer="random_normal")
    network = keras.Sequential([keras.Input((5,)), layer])
    network.compile("sgd", "mse")
    network.predict(X, verbose=0)
    layer.mask.assign(graph(40, 1.0))
    assert layer.schedule.order is not None, "nobody told it"
    expected, _ = by_hand(layer, X.astype(np.float64), 0)
    np.testing.assert_allclose(network.predict(X, verbose=0), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numbers(layer(X)), expected, rtol=1e-4, atol=1e-5)


def test_edits_need_new_compiled_steps_only_when_another_order_of_computation_pays():
    x = keras.Input((5,))
    found = StructuralModel(x, keras.layers.Dense(2)(FreeNet(32, block=8, name="free")(x)))
    found.compile("sgd", "mse")
    found.train_on_batch(X, Y)
    layer = found.get_layer("free")
    for density, by_levels, retraces in ((0.6, False, 0), (0.5, False, 0), (0.02, True, 1), (0.01, True, 1)):
        found.apply(Rewire("free", layer.adjacency & graph(32, density)))
        found.train_on_batch(X, Y)
        assert (layer.schedule.order is not None) == by_levels
        assert parts_of(found).editor.retraces == retraces
        expected, _ = by_hand(layer, X.astype(np.float64), 0)
        hidden = keras.Model(found.inputs[0], layer.output)(X)
        np.testing.assert_allclose(numbers(hidden), expected, rtol=1e-5, atol=1e-5)
    found.apply(Rewire("free", graph(32, 1.0)))
    assert layer.schedule.order is None
    assert parts_of(found).editor.retraces == 2


@pytest.mark.parametrize("dormant", ["kept", "training"])
def test_gradients_of_edges_that_are_not_there_are_those_of_a_loop_whatever_the_order(dormant):
    layer = FreeNet(40, adjacency=graph(40, 0.02), dormant=dormant, bias_initializer="random_normal")
    layer(X)
    assert layer.schedule.order is not None
    target = np.zeros((12, 40))
    a, _ = by_hand(layer, X.astype(np.float64), target)
    weights = numbers(layer.kernel) * layer.adjacency
    slopes = np.zeros_like(a)
    for j in reversed(range(40)):
        slopes[:, j] = (a[:, j] + slopes[:, j + 1 :] @ weights[j + 1 :, j]) * (a[:, j] > 0)
    with layer.passing_gradients():
        *_, (found,) = current().differentiate(lambda: (0.5 * ops.sum(layer(X) ** 2), layer(X)), [layer.kernel])
    np.testing.assert_allclose(numbers(found), np.tril(slopes.T @ a, -1), rtol=1e-5, atol=1e-4)


def test_an_edit_that_fails_leaves_the_order_of_computation(monkeypatch):
    found = model()
    layer = found.get_layer("free")
    schedule, before = layer.schedule, numbers(found(X))
    monkeypatch.setattr(sys.modules["keras_struct.core.surgery.commit"], "refresh", broken_once())
    with pytest.raises(RuntimeError, match="broken"):
        found.apply(Rewire("free", np.zeros((7, 7))))
    assert layer.schedule is schedule
    np.testing.assert_array_equal(numbers(found(X)), before)


def broken_once():
    left = [RuntimeError("broken")]

    def refresh(*_):
        if left:
            raise left.pop()

    return refresh


@pytest.mark.parametrize("strategy", [RigL(schedule=EveryNSteps(1)), SparseEvolution(schedule=EveryNSteps(1))])
@pytest.mark.usefixtures("eager")
def test_strategies_of_connections_keep_to_edges_that_lead_to_later_neurons(strategy):
    found = model()
    found.compile("sgd", "mse", strategy=strategy)
    edges = found.get_layer("free").edges
    found.fit(X, Y, batch_size=6, verbose=0)
    assert found.structure_log
    assert not np.triu(numbers(found.get_layer("free").mask)).any()
    assert found.get_layer("free").edges == edges


def test_sparsity_is_the_share_of_edges_that_there_could_be():
    x = keras.Input((5,))
    found = StructuralModel(x, keras.layers.Dense(2)(FreeNet(10, name="free")(x)))
    found.prune_connections(0.2)
    assert found.get_layer("free").edges == 36
    found.grow_connections("free", 9)
    assert found.get_layer("free").edges == 45
    with pytest.raises(ValueError, match=r"it has 45 of 45"):
        found.grow_connections("free", 1)


def test_facts_about_the_graph():
    layer = FreeNet(4, adjacency=[[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    layer.build((None, 3))
    assert (layer.edges, layer.depth, layer.flops) == (3, 3, 2 * 12 + 4 + 2 * 3)
    np.testing.assert_array_equal(levels_of(layer.adjacency), [0, 1, 0, 2])
    full = FreeNet(6)
    full.build((None, 3))
    assert (full.edges, full.depth) == (15, 6)
    free = model().get_layer("free")
    assert flops_per_layer(model())["free"] == free.flops == 2 * 35 + 7 + 2 * free.edges


def model():
    keras.utils.set_random_seed(5)
    x = keras.Input((5,))
    free = FreeNet(7, adjacency=graph(7, 0.7), block=4, name="free")
    return StructuralModel(x, keras.layers.Dense(2, name="out")(free(x)))


@pytest.mark.parametrize(
    ("edit", "preserves"),
    [
        (lambda m: (m.grow("free", 1), m.split("free", [2, 7]), m.grow("free", 2))[-1], True),
        (lambda m: m.prune("free", [0, 3]), False),
    ],
    ids=["grow and split", "prune"],
)
@pytest.mark.usefixtures("eager")
def test_neurons_come_and_go(edit, preserves):
    found = check_edit(model, edit, X, Y, keras.optimizers.SGD(0.01, momentum=0.9), preserves)
    layer = found.get_layer("free")
    assert not np.triu(numbers(layer.mask)).any()
    assert layer.adjacency.shape == (layer.units, layer.units)


def layered():
    keras.utils.set_random_seed(5)
    x = keras.Input((5,))
    edges = np.zeros((36, 36), bool)
    edges[24:, 12:24] = edges[12:24, :12] = True
    free = FreeNet(36, adjacency=edges, block=4, bias_initializer="random_normal", name="free")
    return StructuralModel(x, keras.layers.Dense(2, name="out")(free(x)))


@pytest.mark.parametrize(
    ("edit", "preserves", "ordered"),
    [
        (lambda m: m.grow("free", 1), True, False),
        pytest.param(lambda m: m.split("free", [3, 14]), True, False, marks=pytest.mark.slow),
        pytest.param(lambda m: m.prune("free", [0, 12, 35]), False, False, marks=pytest.mark.slow),
        pytest.param(lambda m: m.prune("free", list(range(12))), False, False, marks=pytest.mark.slow),
        (lambda m: m.prune("free", list(range(0, 32, 2))), False, True),
    ],
    ids=["grow", "split", "prune", "prune a level", "prune many"],
)
@pytest.mark.usefixtures("eager")
def test_neurons_come_and_go_where_they_are_computed_level_by_level(edit, preserves, ordered):
    found = check_edit(
        layered, edit, X, Y, "adam" if preserves else keras.optimizers.SGD(0.01, momentum=0.9), preserves
    )
    layer = found.get_layer("free")
    assert (layer.schedule.order is None) == ordered
    assert layer.schedule.neurons == layer.units
    expected, _ = by_hand(layer, X.astype(np.float64), 0)
    np.testing.assert_allclose(numbers(layer(X)), expected, rtol=1e-5, atol=1e-5)


def test_a_new_neuron_comes_last_and_reads_all_before_it():
    found = model()
    before = found.get_layer("free").adjacency
    found.grow("free", 1)
    after = found.get_layer("free").adjacency
    np.testing.assert_array_equal(after[:7, :7], before)
    assert after[7, :7].all()
    assert not after[:, 7].any()


def test_a_removed_neuron_takes_its_edges_along():
    found = model()
    before = found.get_layer("free").adjacency
    found.prune("free", [2])
    left = [0, 1, 3, 4, 5, 6]
    np.testing.assert_array_equal(found.get_layer("free").adjacency, before[np.ix_(left, left)])


@pytest.mark.usefixtures("eager")
def test_edges_that_are_removed_keep_their_weights_and_do_not_learn():
    found = model()
    found.compile(keras.optimizers.Adam(0.05), "mse")
    for _ in range(2):
        found.train_on_batch(X, Y)
    layer = found.get_layer("free")
    mask = layer.adjacency
    later, earlier = np.argwhere(mask)[0]
    weight = numbers(layer.kernel)[later, earlier]
    fewer = mask.copy()
    fewer[later, earlier] = False
    found.apply(Rewire("free", fewer))
    for _ in range(2):
        found.train_on_batch(X, Y)
    assert numbers(layer.kernel)[later, earlier] == weight
    found.apply(Rewire("free", mask))
    assert numbers(layer.kernel)[later, earlier] == weight
    found.apply(Rewire("free", np.zeros((7, 7))))
    assert layer.edges == 0, "without edges it is a dense layer"


@pytest.mark.parametrize("wrong", [(2, 2), (1, 4)])
def test_edges_to_earlier_neurons_are_refused_and_nothing_changes(wrong):
    found = model()
    before = numbers(found(X))
    mask = found.get_layer("free").adjacency.copy()
    mask[wrong] = True
    with pytest.raises(ValueError, match=r"from an earlier to a later neuron.*Received an edge from"):
        found.apply(Rewire("free", mask))
    np.testing.assert_array_equal(numbers(found(X)), before)


def test_it_is_saved_with_its_graph(tmp_path):
    found = model()
    found.split("free", [3])
    found.apply(Rewire("free", graph(8, 0.4)))
    found.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.get_layer("free").adjacency, graph(8, 0.4))
    np.testing.assert_allclose(numbers(loaded(X)), numbers(found(X)), atol=1e-6)


def dense(*widths, shape=(5,), activation="relu"):
    keras.utils.set_random_seed(9)
    layers = [keras.Input(shape)] + [keras.layers.Flatten()] * (len(shape) > 1)
    layers += [keras.layers.Dense(n, activation, bias_initializer="random_normal") for n in widths[:-1]]
    return keras.Sequential([*layers, keras.layers.Dense(widths[-1], "softmax", name="out")])


@pytest.mark.parametrize("widths", [(4, 3), (6, 2, 3), (5, 20, 3, 3), (3, 4, 5, 6, 2)])
def test_dense_networks_are_embedded_with_the_same_function(widths):
    network = dense(*widths)
    free = FreeNet.from_model(network, block=4)
    np.testing.assert_allclose(numbers(free(X)), numbers(network(X)), atol=1e-6)
    layer = free.get_layer("free_net")
    hidden = widths[:-1]
    assert layer.units == sum(hidden)
    assert layer.edges == sum(a * b for a, b in pairwise(hidden))
    assert layer.depth == len(hidden)


@pytest.mark.usefixtures("eager")
def test_an_embedded_network_trains_as_the_dense_one_and_nothing_else_moves():
    network = dense(6, 4, 3)
    free = FreeNet.from_model(network)
    labels = np.arange(12) % 3
    for each in (network, free):
        each.compile(keras.optimizers.SGD(0.2), "sparse_categorical_crossentropy")
        each.fit(X, labels, batch_size=6, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(numbers(free(X)), numbers(network(X)), atol=1e-5)
    layer, out = free.get_layer("free_net"), free.get_layer("out")
    assert not numbers(layer.encoder)[:, 6:].any()
    assert not (numbers(layer.kernel) * ~layer.adjacency).any()
    assert not numbers(out.kernel)[:6].any()


def test_networks_of_any_activation_are_embedded_once_it_is_said_when_a_neuron_is_active():
    network = dense(4, 3, 2, activation="tanh")
    free = FreeNet.from_model(network, threshold=0.5)
    np.testing.assert_allclose(numbers(free(X)), numbers(network(X)), atol=1e-6)


def test_what_comes_before_may_grow():
    x = keras.Input((5,))
    hidden = keras.layers.Dense(4, "relu", name="before")(x)
    found = StructuralModel(x, keras.layers.Dense(2)(FreeNet(6, name="free")(hidden)))
    expected = numbers(found(X))
    found.grow("before", 3)
    np.testing.assert_allclose(numbers(found(X)), expected, atol=1e-6)
    assert found.get_layer("free").encoder.shape == (7, 6)


def test_an_embedded_network_is_saved_and_edited(tmp_path):
    free = FreeNet.from_model(dense(6, 4, 3, shape=(5, 1)))
    model = StructuralModel(free.inputs[0], free.outputs[0])
    x = X[..., None]
    before = numbers(model(x))
    edges = model.get_layer("free_net").adjacency.copy()
    edges[9, 7] = True  # within the second layer
    model.apply(Rewire("free_net", edges))
    model.grow("free_net", 2)
    np.testing.assert_allclose(numbers(model(x)), before, atol=1e-6)
    model.save(tmp_path / "free.keras")
    loaded = keras.saving.load_model(tmp_path / "free.keras")
    np.testing.assert_allclose(numbers(loaded(x)), before, atol=1e-6)
    np.testing.assert_array_equal(
        numbers(loaded.get_layer("free_net").encoder_mask), numbers(model.get_layer("free_net").encoder_mask)
    )


def with_skips():
    """The second layer reads inputs too, the output reads the first and the third; one activation is a layer of its own."""
    keras.utils.set_random_seed(8)
    x = keras.Input((5,))
    a = keras.layers.Dense(4, "relu", bias_initializer="random_normal")(x)
    b = keras.layers.ReLU()(keras.layers.Dense(3, bias_initializer="random_normal")(keras.layers.Concatenate()([x, a])))
    c = keras.layers.Dense(2, "relu", use_bias=False)(b)
    return keras.Model(x, keras.layers.Dense(3, name="out")(keras.layers.Concatenate()([c, a])))


@pytest.mark.usefixtures("eager")
def test_layers_that_read_several_others_are_embedded_and_train_as_they_do():
    network = with_skips()
    free = FreeNet.from_model(network)
    np.testing.assert_allclose(numbers(free(X)), numbers(network(X)), atol=1e-6)
    layer = free.get_layer("free_net")
    assert layer.edges == 3 * 4 + 2 * 3
    assert layer.reads.sum(0).tolist() == [5] * 7 + [0] * 2
    mask = numbers(free.get_layer("out").mask).any(1)
    assert mask.tolist() == [True] * 4 + [False] * 3 + [True] * 2
    for each in (network, free):
        each.compile(keras.optimizers.SGD(0.1), "mse")
        each.fit(X, X[:, :3], batch_size=6, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(numbers(free(X)), numbers(network(X)), atol=1e-4)


def skipping(merge):
    x = keras.Input((4,))
    y = keras.layers.Dense(4, "relu")(x)
    return keras.Model(x, keras.layers.Dense(2)(merge([x, y])))


def mixed():
    layers = [keras.layers.Dense(3, "relu"), keras.layers.Dense(3, "relu6"), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((4,)), *layers])


def half_activated():
    x = keras.Input((4,))
    y = keras.layers.Dense(4)(x)
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.Concatenate()([y, keras.layers.ReLU()(y)])))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: dense(3), "two Dense layers or more.*Received layers: Dense"),
        (lambda: skipping(keras.layers.Add()), "Received layers: Dense, Add, Dense"),
        (lambda: skipping(keras.layers.Concatenate()), "reads inputs of the model beside neurons"),
        (half_activated, "with and without the activation behind it"),
        (mixed, r"Hidden layers have \['relu', 'relu6'\]"),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "relu")]), "Received layers: Dense"),
        (lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)]), "and built. Received layers: none"),
        (lambda: dense(3, 4, 2, activation="gelu"), "activation 'gelu', whose outputs have no clear zero"),
    ],
)
def test_other_networks_are_not_embedded(network, expected):
    with pytest.raises(ValueError, match=expected):
        FreeNet.from_model(network())


def test_weights_start_as_in_the_paper():
    """Xavier's for inputs and edges, biases uniform between fixed bounds, which are those of Keras."""
    keras.utils.set_random_seed(0)
    layer = FreeNet(400)
    layer.build((None, 50))
    bias, encoder, kernel = (
        np.asarray(keras.ops.convert_to_numpy(v)) for v in (layer.bias, layer.encoder, layer.kernel)
    )
    assert np.abs(bias).max() <= 0.05
    counts, _ = np.histogram(bias, bins=8, range=(-0.05, 0.05))
    assert counts.min() > 25  # of 50 each
    assert np.abs(encoder).max() == pytest.approx(np.sqrt(6 / 450), rel=0.01)
    assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / 800), rel=0.01)
    again = FreeNet.from_config(layer.get_config())
    assert isinstance(again.bias_initializer, keras.initializers.RandomUniform)
    zeros = FreeNet(3, bias_initializer="zeros")
    zeros.build((None, 2))
    assert not np.asarray(keras.ops.convert_to_numpy(zeros.bias)).any()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: FreeNet(0), "neurons"),
        (lambda: FreeNet(3, block=0), "block"),
        (lambda: FreeNet(3, activation="gelu"), "no clear zero. Say with `threshold`"),
        (lambda: FreeNet(3, adjacency=np.eye(3)), "no cycle. Received an edge from 0 to 0"),
        (lambda: FreeNet(3, adjacency=np.ones((2, 2))), r"shape \(3, 3\).*Received shape \(2, 2\)"),
        (lambda: FreeNet(2, adjacency=[[0, 0], [0.5, 0]]), "booleans, or 0 and 1"),
        (lambda: FreeNet(3, max_units=2), "at least the number to start with"),
        (lambda: FreeNet(3)(np.zeros((2, 4, 4))), "put a Flatten layer in front"),
        (lambda: FreeNet(3, reads=np.ones((3, 4)))(np.zeros((2, 4))), r"`reads` .* must have shape \(4, 3\).*\(3, 4\)"),
        (lambda: FreeNet(3, biased=np.ones(4))(np.zeros((2, 4))), r"`biased` .* must have shape \(3,\)"),
        (lambda: FreeNet(3).edges, "no edges before it is built"),
        (lambda: model().get_layer("free")(np.zeros((2, 4))), "expected axis -1 of input shape to have value 5"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
    FreeNet(3, activation="gelu", threshold=0.1)
