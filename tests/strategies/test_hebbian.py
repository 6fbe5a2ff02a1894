"""Neurons that fire together are wired together, those that are silent together are not any more."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import FreeNet, MaskedDense
from keras_struct.measurements import ConnectionMeasurement
from keras_struct.sparse.coactivation import Coactivation, coactivation, coinactivation
from keras_struct.sparse.hebbian import converged, free_evolve
from keras_struct.strategies import FreeEvolve, Synaptogenesis

ops = keras.ops


@pytest.mark.parametrize(
    ("first", "second", "connected", "afterwards"),
    [
        (0, 0, False, False),
        (0, 0, True, False),
        (0, 1, False, False),
        (0, 1, True, True),
        (1, 0, False, False),
        (1, 0, True, True),
        (1, 1, False, True),
        (1, 1, True, True),
    ],
)
def test_every_case_of_the_table(first, second, connected, afterwards):
    active = np.tile([[first, second]], (20, 1)).astype(bool)
    edges = np.array([[False, False], [connected, False]])
    added, pruned = free_evolve(edges, coactivation(active), coinactivation(active), epsilon=0.1)
    found = (edges & ~pruned) | added
    assert found[1, 0] == afterwards
    assert not np.triu(found).any(), "only the later neuron may read the earlier one"
    assert not (added & pruned).any()


def test_shares_are_counted_over_batches_exactly():
    active = np.random.default_rng(0).random((500, 7)) < 0.4
    first, *rest = (Coactivation.of(part) for part in np.array_split(active, 9))
    seen = sum(rest, first)
    assert seen.samples == 500
    assert seen.counts.dtype == np.int64
    expected = np.array([[np.mean(active[:, i] & active[:, j]) for j in range(7)] for i in range(7)])
    silent = np.array([[np.mean(~active[:, i] & ~active[:, j]) for j in range(7)] for i in range(7)])
    np.testing.assert_allclose(seen.together, expected, atol=1e-12)
    np.testing.assert_allclose(seen.silent, silent, atol=1e-12)
    with pytest.raises(ValueError, match=r"Cannot add counts of shape \(6, 6\)"):
        seen + Coactivation.of(np.ones((3, 6), bool))
    with pytest.raises(ValueError, match=r"Received shapes \(3, 6\) and \(4, 6\)"):
        Coactivation.of(np.ones((3, 6), bool), np.ones((4, 6), bool))


def planted():
    """Neurons 0 and 2 always fire, 1 and 3 never do, 4 fires on half of the inputs."""
    x = keras.Input((2,))
    edges = np.zeros((5, 5), bool)
    edges[[3, 4, 4], [1, 0, 1]] = True  # 1 → 3 is silent, 0 → 4 and 1 → 4 are not
    model = StructuralModel(x, keras.layers.Dense(1)(FreeNet(5, adjacency=edges, name="free")(x)))
    layer = model.get_layer("free")
    layer.kernel.assign(np.tril(np.full((5, 5), 1e-3), -1))
    layer.encoder.assign(np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], "float32"))
    layer.bias.assign(np.array([1, -1, 1, -1, 0], "float32"))
    return model


INPUTS = np.stack([np.linspace(-1, 1, 400), np.zeros(400)], 1).astype("float32")


@pytest.mark.parametrize("value", ["stored", "zero", "fresh"])
def test_planted_pairs_are_found_and_the_graph_stays_then(value):
    keras.utils.set_random_seed(0)
    model = planted()
    model.compile("sgd", "mse", strategy=FreeEvolve(0.1, every=2, warmup=1, samples=200, value=value))
    model.optimizer.learning_rate = 0.0
    model.fit(INPUTS, np.zeros((400, 1)), batch_size=100, epochs=3, verbose=0)
    layer = model.get_layer("free")
    edges = layer.adjacency
    assert edges[2, 0], "both fire, and were not connected"
    assert not edges[3, 1], "both were silent, and were connected"
    assert edges[4, 0]
    assert edges[4, 1]
    assert edges.sum() == 3
    weight = float(ops.convert_to_numpy(layer.kernel)[2, 0])
    assert {"stored": weight == pytest.approx(1e-3), "zero": weight == 0}.get(value, 0.01 < abs(weight) < 0.8)
    state = parts_of(model).runner.policy_state
    assert state["history"][0] == [3, "free", 1, 1]
    assert converged(state)
    assert [event.reason for event in model.structure_log] == ["FreeEvolve"]
    seen = model.coactivation("free", INPUTS)
    lower = np.tril(np.ones((5, 5), bool), -1)
    assert not ((seen.together > 0.9) & ~edges & lower).any(), "a fixed point"
    assert not ((seen.silent > 0.9) & edges).any()


def test_how_many_pairs_have_which_share_is_remembered_of_the_first_look_and_of_the_last():
    always, never, half = np.ones(10, bool), np.zeros(10, bool), np.arange(10) < 5
    looks = [Coactivation.of(np.stack(columns, axis=1)) for columns in ([never, always, half, always], [always] * 4)]
    strategy, state = FreeEvolve(0.1), {"history": [], "shares": {}}
    for seen in looks:
        lower = np.tril(np.ones((4, 4), bool), -1)
        measured = ConnectionMeasurement("a", lower, np.zeros((4, 4)), possible=lower, activity=lambda seen=seen: seen)
        _, state = strategy.propose(1, {"a": measured}, state)
    pairs = {"active": [0, 0, 0, 25, 25, 49], "silent": [0, 0, 0, 0, 0, 25]}  # in fiftieths
    first, last = state["shares"]["a"]["first"], state["shares"]["a"]["last"]
    assert first == {name: np.bincount(values, minlength=50).tolist() for name, values in pairs.items()}
    assert last == {"active": [0] * 49 + [6], "silent": [6] + [0] * 49}


def test_it_looks_at_regular_steps_behind_the_warmup():
    strategy = FreeEvolve(every=5, warmup=3)
    assert [step for step in range(20) if strategy.due(step)] == [8, 13, 18]
    assert [step for step in range(20) if strategy.due(step, since=step - 3)] == [8, 9, 10, 13, 14, 15, 18, 19]


def seen_of_20(mask, together, silent):
    """The measurement of a layer whose ends are together, and silent together, in so many of 20 samples."""
    active = np.array(10)
    counts, quiet = np.asarray(together), np.asarray(silent)
    found = Coactivation(counts, active, 10 + counts - quiet, 20)
    return ConnectionMeasurement("a", np.asarray(mask, bool), np.zeros(counts.shape)), found


@pytest.mark.parametrize(
    ("options", "mask", "together", "silent", "added", "removed"),
    [
        ({}, [0, 0, 0, 1], [15, 16, 20, 20], [0] * 4, [0, 1, 1, 0], [0] * 4),  # more than 3/4 of the samples
        ({}, [0, 0, 1, 1], [16, 0, 0, 0], [0, 20, 20, 20], [1, 0, 0, 0], [0] * 4),
        ({"prune": True}, [0, 0, 1, 1], [16, 0, 0, 0], [0, 20, 15, 16], [1, 0, 0, 0], [0, 0, 0, 1]),
        ({"prune": True}, [0, 0, 1, 1], [0] * 4, [20] * 4, [0] * 4, [0] * 4),  # some stay
        ({"max_density": 0.5}, [0, 0, 0, 1], [17, 19, 18, 20], [0] * 4, [0, 1, 0, 0], [0] * 4),
        ({"max_density": 0.5}, [0, 1, 1, 1], [20, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4),
        ({"max_density": 0.5, "prune": True}, [0, 0, 1, 1], [20, 19, 0, 0], [0, 0, 0, 20], [1, 0, 0, 0], [0, 0, 0, 1]),
    ],
)
def test_connections_come_where_ends_are_together_and_go_where_they_are_silent(
    options, mask, together, silent, added, removed
):
    measured, seen = seen_of_20(mask, together, silent)
    found = Synaptogenesis(epsilon=0.25, **options).changes(measured, seen)
    assert [part.astype(int).tolist() for part in found] == [added, removed]


@pytest.mark.parametrize(("shape", "limit"), [((40, 80), np.sqrt(6 / 120)), ((3, 3, 20, 40), np.sqrt(6 / 9 / 60))])
def test_fresh_weights_are_drawn_within_the_limit_of_glorot(shape, limit):
    seen = Coactivation(np.full(shape, 10), np.array(10), np.array(10), 10)
    measured = ConnectionMeasurement("a", np.zeros(shape, bool), np.zeros(shape), activity=lambda threshold=None: seen)
    strategy = Synaptogenesis(value="fresh")
    (edit,), _ = strategy.propose(1, {"a": measured}, strategy.init({}))
    assert edit.mask.all()
    assert 0.99 * limit < edit.values.max() <= limit
    assert 0.99 * limit < -edit.values.min() <= limit


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], False),
        ([[1, "a", 0, 0]], True),
        ([[1, "a", 2, 0]], False),
        ([[1, "a", 0, 2]], False),
        ([[1, "a", 2, 2], [2, "a", 0, 0]], True),
        ([[1, "a", 0, 0], [2, "a", 0, 0], [2, "b", 1, 0]], False),
    ],
)
def test_it_has_converged_when_the_last_look_changed_nothing_anywhere(history, expected):
    assert converged({"history": history, "shares": {}}) is expected


def test_it_works_in_training_and_goes_on_after_a_restart(tmp_path):
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(256, 6)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(2, activation="softmax")(FreeNet(20, bias_initializer="zeros", name="free")(inputs))
    model = StructuralModel(inputs, outputs)
    strategy = FreeEvolve(0.3, every=8, warmup=8, samples=128)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", strategy=strategy)
    history = model.fit(x, y, batch_size=32, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["connections"][-1] < 190
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert parts_of(loaded).runner.policy_state == parts_of(model).runner.policy_state
    np.testing.assert_array_equal(loaded.get_layer("free").adjacency, model.get_layer("free").adjacency)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: FreeEvolve(0.0), "between 0 and 1"),
        (lambda: FreeEvolve(1.0), "between 0 and 1"),
        (lambda: FreeEvolve(every=0), "every >= 1"),
        (lambda: FreeEvolve(value="old"), "'stored', 'zero' or 'fresh'"),
        (lambda: planted().coactivation("free", np.full((3, 2), np.nan)), "of their values are NaN"),
        (lambda: planted().coactivation("free", INPUTS[:0]), "at least one sample"),
        (lambda: compiled(FreeEvolve(layers="out")), r"cannot edit layers \['out'\]: FreeNets are \['free'\]"),
        (lambda: compiled(FreeEvolve(), keras.layers.Dense(4)), "the model has none. Put a FreeNet"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


def test_hyperparameters_of_another_kind_are_refused():
    with pytest.raises(TypeError, match=r"`epsilon` of FreeEvolve must be a number. Received: epsilon='a'"):
        FreeEvolve("a")
    with pytest.raises(TypeError, match=r"`every` of FreeEvolve must be a whole number. Received: every=1.5"):
        FreeEvolve(every=1.5)


def compiled(strategy, hidden=None):
    x = keras.Input((2,))
    hidden = FreeNet(4, name="free") if hidden is None else hidden
    model = StructuralModel(x, MaskedDense(3, name="out")(hidden(x)))
    model.compile("sgd", "mse", strategy=strategy)
