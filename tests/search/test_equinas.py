"""EquiNAS_D trains mixtures on one batch and weights on another; EquiNAS_E evolves networks that keep their function."""

import shutil
from itertools import pairwise

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, datasets
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GroupBatchNormalization, GroupConv2D, GroupPooling2D, MixedEquivariantConv
from keras_struct.search import EquiNASD, EquiNASE
from keras_struct.search.alternating import AlternatingModel
from keras_struct.search.batches import PairedBatches
from keras_struct.search.pareto import pareto_front
from keras_struct.symmetry import Group
from keras_struct.symmetry.equinas_d import mixed_layers, randomize
from keras_struct.symmetry.groups import common_frame
from keras_struct.symmetry.mutations import count_architectures, is_sound, random_architecture, relaxations
from keras_struct.symmetry.population import Individual

pytestmark = pytest.mark.usefixtures("eager_module")  # few steps

LOSS = "sparse_categorical_crossentropy"
RNG = np.random.default_rng(0)
X = RNG.random((48, 8, 8, 1)).astype("float32")
Y = np.arange(48) % 4


def small(groups, num_classes=4):
    """The backbone of the searches with three convolutions; a list of groups makes a mixture."""
    inputs = x = keras.Input((8, 8, 1))
    for i, group in enumerate(groups, 1):
        options = {"padding": "same", "use_bias": False, "name": f"conv{i}"}
        if isinstance(group, str):
            x = GroupConv2D(2, 3, group, None if i == 1 else "D4", "D4", **options)(x)
        else:
            x = MixedEquivariantConv(2, 3, group, i == 1, "D4", **options)(x)
        tied = group if isinstance(group, str) else common_frame([Group(name) for name in group])
        x = GroupBatchNormalization(tied, "D4", momentum=0.9, name=f"norm{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = GroupPooling2D("D4", "D4")(keras.layers.GlobalAveragePooling2D()(keras.layers.AveragePooling2D(2)(x)))
    return StructuralModel(inputs, keras.layers.Dense(num_classes, activation="softmax")(x))


def mixture(groups=("C1", "C4", "D4"), seed=0, mixed=3, **options):
    """A network whose first `mixed` layers are mixtures; the others have no symmetry."""
    keras.utils.set_random_seed(seed)
    return small([list(groups)] * mixed + ["C1"] * (3 - mixed), **options)


def network(seed=0, **options):
    keras.utils.set_random_seed(seed)
    return small(["D4"] * 3, **options)


def numbers(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def outputs(model):
    return np.array(keras.ops.convert_to_numpy(model(X, training=False)))


# EquiNAS_D


def test_batches_pair_a_pass_over_the_data_with_independent_draws():
    data = PairedBatches(np.arange(50), np.arange(50), 8, seed=1)
    assert len(data) == 6
    first = np.concatenate([data[i][0][:8] for i in range(6)])
    assert len(set(first)) == 48
    seconds = [data[i][0][8:] for i in range(6)]
    assert all(len(set(part)) == 8 for part in seconds)
    assert np.array_equal(data[3][0], data[3][1])
    assert np.array_equal(data[2][0], PairedBatches(np.arange(50), np.arange(50), 8, seed=1)[2][0])
    data.epoch = 1
    assert not np.array_equal(np.concatenate([data[i][0][:8] for i in range(6)]), first)
    with pytest.raises(ValueError, match="at least a batch of 8"):
        PairedBatches(np.arange(5), np.arange(5), 8)


def stepped(optimizer, architecture_optimizer, seed=0):
    """One step, with what the weights were before and after it."""
    model = mixture(seed=seed, mixed=2)
    alphas = [layer.alpha for layer in mixed_layers(model).values()]
    trained = AlternatingModel(model, alphas, architecture_optimizer)
    trained.compile(optimizer, LOSS)
    before = numbers(alphas), numbers(trained.others)
    trained.train_on_batch(X[:32], Y[:32])
    return model, before, (numbers(alphas), numbers(trained.others))


def gradient(model, variables, x, y):
    """A gradient in training mode, by an independent way: plain gradient descent of a model with all else frozen."""
    keep = {id(v) for v in variables}
    frozen = [v for v in model.trainable_variables if id(v) not in keep]
    for variable in frozen:
        variable.trainable = False
    before = numbers(variables)
    state = numbers(model.weights)
    model.compile(keras.optimizers.SGD(1.0), LOSS)
    model.train_on_batch(x, y)
    found = [old - new for old, new in zip(before, numbers(variables), strict=True)]
    for variable in frozen:
        variable.trainable = True
    for variable, value in zip(model.weights, state, strict=True):
        variable.assign(value)
    return found


def test_mixtures_move_by_the_gradient_of_the_second_batch_alone_and_weights_by_that_of_the_first():
    _, before, after = stepped(keras.optimizers.SGD(0.0), keras.optimizers.SGD(1.0))
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))  # no other weight moves
    model = mixture(mixed=2)
    expected = gradient(model, [layer.alpha for layer in mixed_layers(model).values()], X[16:32], Y[16:32])
    for old, new, moved in zip(before[0], after[0], expected, strict=True):
        np.testing.assert_allclose(old - new, moved, rtol=1e-3, atol=1e-6)
    _, before, after = stepped(keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.0))
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    model = mixture(mixed=2)
    others = [v for v in model.trainable_variables if v.name != "alpha"]
    expected = gradient(model, others, X[:16], Y[:16])
    for old, new, moved in zip(before[1], after[1], expected, strict=True):
        np.testing.assert_allclose(old - new, moved, rtol=2e-2, atol=1e-4)


def test_a_search_records_mixtures_and_learns():
    data = datasets.load("digits")
    search = EquiNASD(
        mixture(["C1", "D4"], mixed=2, num_classes=10), LOSS, keras.optimizers.Adam(0.05), metrics=["accuracy"]
    )
    history = search.fit(data.x_train[:96, ..., None], data.y_train[:96], batch_size=48, epochs=4, verbose=0)
    assert history.history["accuracy"][-1] > history.history["accuracy"][0] + 0.1
    assert len(search.mixtures) == 5
    assert search.mixtures[0]["conv1"] == pytest.approx({"C1": 0.5, "D4": 0.5})
    assert search.mixtures[-1] == search.mixture()
    assert search.mixtures[-1]["conv1"]["C1"] != pytest.approx(0.5, abs=1e-3)
    fresh = search.fresh_network()
    before = {name: layer.mixture() for name, layer in mixed_layers(fresh).items()}
    assert all(before[name] == pytest.approx(shares) for name, shares in search.mixture().items())
    assert not np.array_equal(fresh.get_weights()[0], search.model.get_weights()[0])
    fresh.fit(X, Y, verbose=0)
    assert {name: layer.mixture() for name, layer in mixed_layers(fresh).items()} == before


@pytest.mark.slow  # in the quick suite: a killed search of cells
def test_a_killed_search_goes_on_as_it_would_have(tmp_path):
    def search():
        return EquiNASD(
            mixture(["C1", "D4"], mixed=2), LOSS, keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01), seed=3
        )

    whole = search()
    whole.fit(X[:16], Y[:16], batch_size=16, epochs=3, verbose=0)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search().fit(X[:16], Y[:16], batch_size=16, epochs=3, verbose=0, callbacks=[Kill()], backup=tmp_path)
    resumed = search()
    resumed.fit(X[:16], Y[:16], batch_size=16, epochs=3, verbose=0, backup=tmp_path)
    for a, b in zip(numbers(whole.model.weights), numbers(resumed.model.weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_random_mixtures_are_frozen():
    model = mixture()
    randomize(model, seed=1)
    shares = [layer.mixture() for layer in mixed_layers(model).values()]
    assert all(sum(share.values()) == pytest.approx(1) for share in shares)
    assert len({round(share["C1"], 6) for share in shares}) == 3
    model.compile("adam", LOSS)
    model.fit(X, Y, verbose=0)
    assert [layer.mixture() for layer in mixed_layers(model).values()] == shares


def test_a_model_without_mixtures_is_refused():
    with pytest.raises(ValueError, match="no MixedEquivariantConv with mixing='softmax'"):
        EquiNASD(network(), LOSS)


# EquiNAS_E


def test_architectures_are_as_many_as_published():
    assert count_architectures(8) == 405
    assert count_architectures(8, ["C1", "C2", "C4", "D1", "D4"]) == 201


def test_all_relaxations_of_one_layer_that_keep_the_order():
    assert relaxations(("D4", "D4")) == [("D4", name) for name in ("C1", "D1", "C2", "D2", "C4")] or set(
        relaxations(("D4", "D4"))
    ) == {("D4", name) for name in ("C1", "D1", "C2", "D2", "C4")}
    assert set(relaxations(("D4", "C2"))) == {("D4", "C1"), ("D2", "C2"), ("C4", "C2"), ("C2", "C2")}
    assert relaxations(("C1", "C1")) == []
    assert all(is_sound(child) for child in relaxations(("D4", "C4", "C2")))
    assert set(relaxations(("D4", "D4"), allowed=["C4", "D4"])) == {("D4", "C4")}


def test_reduced_mutation_is_that_of_the_published_code():
    assert set(relaxations(("D4", "D4"), "reduced")) == {("D4", "C4"), ("D4", "D1")}
    assert set(relaxations(("D4", "C4"), "reduced")) == {("D4", "C2"), ("D4", "C1"), ("C4", "C4")}


def test_random_architectures_are_drawn_alike():
    rng = np.random.default_rng(0)
    found = [random_architecture(2, rng) for _ in range(4000)]
    assert all(map(is_sound, found))
    counts = {one: found.count(one) for one in set(found)}
    assert len(counts) == count_architectures(2)
    assert max(counts.values()) < 1.4 * min(counts.values())


def test_the_front_is_what_nothing_beats():
    costs = np.random.default_rng(0).integers(0, 6, (40, 2)).astype(float)
    front = pareto_front(costs)
    for i, cost in enumerate(costs):
        beaten = any((other <= cost).all() and (other < cost).any() for other in costs)
        assert front[i] == (not beaten)


@pytest.mark.usefixtures("compiled")
def test_children_compute_what_their_parent_does_and_nothing_is_traced_anew():
    search = EquiNASE(network(), LOSS, epochs=1, batch_size=16)
    parent = search.population[0]
    search._train([parent], X, Y, (X, Y), 1)
    before = outputs(search.load(parent))
    step = search.model.train_function
    for place, groups in enumerate(relaxations(parent.groups)):
        child = search.child(parent, groups, 1, place)
        assert child.parameters > parent.parameters
        np.testing.assert_allclose(outputs(search.load(child)), before, rtol=1e-5, atol=1e-6)
        assert tuple(search.model.get_layer(name).group.name for name in search.layers) == groups
    assert search.model.train_function is step
    assert parts_of(search.model).editor.retraces == 0


@pytest.mark.parametrize(("warmup", "batches"), [(0.0, 0), (0.25, 1), (1.0, 3)])
def test_the_first_network_has_children_before_it_is_trained_unless_it_warms_up(warmup, batches, monkeypatch):
    """Algorithm 1 adds children of fresh weights; the authors' code trains the first network before."""
    inputs = keras.Input((8, 8, 1))
    images = GroupPooling2D("D4")(GroupConv2D(2, 3, "D4", None)(inputs))
    outputs = keras.layers.Dense(4, "softmax")(keras.layers.GlobalAveragePooling2D()(images))
    model = StructuralModel(inputs, outputs)
    search = EquiNASE(
        model, LOSS, generations=1, epochs=1 / 3, batch_size=16, groups=["D4", "C1"], warmup_epochs=warmup
    )
    before, fits, started = numbers(model.weights), [], []
    fit, child = model.fit, search.child

    def counted(x, *args, **kwargs):
        fits.append(len(x) // 16)
        return fit(x, *args, **kwargs)

    def born(parent, *args):
        started.append((len(fits), [np.array(w) for w in parent.weights]))
        return child(parent, *args)

    monkeypatch.setattr(model, "fit", counted)
    monkeypatch.setattr(search, "child", born)
    history = search.fit(X, Y, (X, Y), verbose=0)
    assert fits == [batches] * (batches > 0) + [1, 1]  # the network itself, and one relaxed child
    assert [count for count, _ in started] == [int(batches > 0)] * 2
    same = [np.array_equal(a, b) for a, b in zip(before, started[0][1], strict=True)]
    assert all(same) == (batches == 0)
    assert [len(generation) for generation in history] == [1, 2]
    assert all(0 <= one["accuracy"] <= 1 for generation in history for one in generation)


@pytest.fixture(scope="module")
def evolutions(eager_module, tmp_path_factory):
    """A search, the same one killed after a generation and gone on with, one that finds all done, and the folder of both."""
    folder = tmp_path_factory.mktemp("evolution")

    def search():
        options = {"groups": ["C1", "C4", "D4"], "mutation": "reduced", "parents": 3, "seed": 5}
        return EquiNASE(network(), LOSS, generations=2, epochs=1 / 3, batch_size=16, **options)

    def kill(generation, population):
        if generation == 1:
            raise KeyboardInterrupt

    whole, resumed, again = search(), search(), search()
    whole.fit(X, Y, (X[:16], Y[:16]), verbose=0)
    with pytest.raises(KeyboardInterrupt):
        search().fit(X, Y, (X[:16], Y[:16]), folder=folder, verbose=0, on_generation=kill)
    resumed.fit(X, Y, (X[:16], Y[:16]), folder=folder, verbose=0)
    again.fit(X, Y, (X[:16], Y[:16]), folder=folder, verbose=0)
    return whole, resumed, again, folder


def test_a_search_keeps_the_front_and_its_clones_and_is_repeatable(evolutions):
    runs = evolutions[:2]
    assert runs[0].history == runs[1].history
    history = runs[0].history
    assert len(history) == 3
    for before, now in pairwise(history):
        stayed = {tuple(one["groups"]) for one in before if one["selected"]}
        assert stayed <= {tuple(one["groups"]) for one in now}  # every parent carries on
        assert len({tuple(one["groups"]) for one in now}) == len(now)
        costs = np.array([[1 - one["accuracy"], one["parameters"]] for one in now])
        for kept, one in zip(pareto_front(costs), now, strict=True):
            assert one["selected"] or not kept
    assert all(is_sound(one["groups"]) for one in history[-1])
    assert len(runs[0].population) >= 3


def test_a_killed_search_goes_on_with_the_same_population(evolutions):
    whole, resumed, again, folder = evolutions
    assert resumed.history == whole.history
    assert [one.groups for one in resumed.population] == [one.groups for one in whole.population]
    assert again.history == whole.history
    other = EquiNASE(network(num_classes=3), LOSS)
    other.layers = other.layers[:2]
    with pytest.raises(ValueError, match="holds a search of another network, with 3 convolutions"):
        other.fit(X, Y, (X[:16], Y[:16]), folder=folder, verbose=0)
    with pytest.raises(ValueError, match="Unknown group 'C9'"):
        EquiNASE(network(), LOSS, groups=["C1", "C9"])


def test_a_network_of_given_groups_has_fresh_weights():
    search = EquiNASE(network(), LOSS)
    groups = ("D4", "C4", "C2")
    fresh = search.fresh_network(groups, seed=4)
    assert tuple(fresh.get_layer(name).group.name for name in search.layers) == groups
    assert fresh.symmetries["norm2"] == Group("C4")
    again = search.fresh_network(groups, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(numbers(fresh.weights), numbers(again.weights), strict=True))
    fresh.fit(X, Y, verbose=0)
    assert len(search.random_architectures(5)) == 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"generations": 0}, "`generations` must be positive"),
        ({"epochs": 0}, "`epochs` must be positive"),
        ({"warmup_epochs": -1.0}, "`warmup_epochs` must not be negative"),
        ({"mutation": "some"}, "Expected mutation 'full' or 'reduced'"),
        ({"selection": "best"}, "selection 'pareto' or 'random'"),
    ],
)
def test_bad_arguments_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        EquiNASE(network(), LOSS, **options)


def test_a_model_without_group_convolutions_is_refused():
    with pytest.raises(ValueError, match="relaxes GroupConv2D layers"):
        EquiNASE(mixture(), LOSS)


def test_a_folder_with_pickled_objects_is_refused(evolutions, tmp_path):
    """Reading a search must not run code that somebody put into its folder."""
    folder = tmp_path / "search"
    shutil.copytree(evolutions[3], folder)
    (weights,) = folder.glob("*.npz")
    with np.load(weights) as held:
        arrays = {name: held[name] for name in held.files}
    np.savez(weights, **{name: np.array([array], object) for name, array in arrays.items()})
    search = EquiNASE(network(), LOSS, generations=2, epochs=1 / 3, batch_size=16)
    with pytest.raises(ValueError, match="allow_pickle"):
        search.fit(X, Y, (X[:16], Y[:16]), folder=folder, verbose=0)


@pytest.mark.parametrize("selection", ["pareto", "random"])
def test_the_front_stays_and_the_most_accurate_fill_up(selection):
    search = EquiNASE(network(), LOSS, parents=3, selection=selection)
    scores = [(0.9, 50), (0.5, 10), (0.8, 90), (0.7, 80), (0.2, 70)]
    kept = []
    for generation in range(20):
        networks = [Individual(("C1",), accuracy, parameters) for accuracy, parameters in scores]
        assert len(search._select(networks, generation)) == 3
        kept.append(tuple(network.selected for network in networks))
    if selection == "pareto":
        assert set(kept) == {(True, True, True, False, False)}
    else:
        assert len(set(kept)) > 5
