"""Strategies that edit connections: what they propose, and that they train."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, selectors, sparsify
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.measurements import ConnectionMeasurement
from keras_struct.policies.policy import pack, unpack
from keras_struct.schedules import Cubic, EveryNSteps, Once
from keras_struct.sparse.edits import unpack_bits
from keras_struct.strategies import (
    DeepRewiring,
    DropAndGrow,
    DynamicSurgery,
    Grow,
    GrowAndPrune,
    Prune,
    RigL,
    SparseEvolution,
    Sparsify,
)
from keras_struct.triggers import FractionOfWidth

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype("float32")
Y = np.maximum(X[:, :1], 0) - X[:, 1:2] * X[:, 2:3]


def measurement(weights, mask=None, gradients=None, rate=0.1, dormant="silent"):
    weights = np.asarray(weights, float)
    mask = np.ones(weights.shape, bool) if mask is None else np.asarray(mask, bool)
    return {"a": ConnectionMeasurement("a", mask, weights, dormant, lambda: rate, lambda: np.asarray(gradients, float))}


def proposed(strategy, measured, step=1, state=None):
    edits, state = strategy.propose(step, measured, strategy.init(measured) if state is None else state)
    return edits, state


def test_cubic_schedules_remove_most_at_first():
    schedule = Cubic(final=0.9, stop=110, start=10, every=25)
    steps = [step for step in range(200) if schedule(step) is not None]
    assert steps == [10, 35, 60, 85, 110]
    values = [schedule(step) for step in steps]
    assert values == pytest.approx([0.0, 0.9 * (1 - 0.75**3), 0.9 * (1 - 0.125), 0.9 * (1 - 0.25**3), 0.9])
    assert [Once(0.5, step=3)(step) for step in (2, 3, 4)] == [None, 0.5, None]


def test_pruning_follows_the_schedule_also_over_steps_that_were_not_asked_for():
    strategy = Sparsify(schedule=Cubic(final=0.5, stop=4, every=2))
    assert [strategy.due(step) for step in (1, 2, 3, 4, 5)] == [False, True, False, True, False]
    assert strategy.due(5, since=3)
    measured = measurement([[1, 2, 3, 4]])
    assert strategy.propose(3, measured, {}) == ([], {})
    edits, _ = strategy.propose(5, measured, {}, since=3)
    assert edits[0].mask.astype(int).tolist() == [[0, 0, 1, 1]]


def test_rigl_drops_the_smallest_weights_and_grows_the_largest_gradients():
    measured = measurement(
        [[0.1, 5, 4, 3, 0, 0, 0, 0]], mask=[[1, 1, 1, 1, 0, 0, 0, 0]], gradients=[[1, 1, 1, 1, 2, 9, 3, 1]]
    )
    (edit,), _ = proposed(RigL(fraction=0.26, decay_steps=None), measured)
    assert edit.mask.astype(int).tolist() == [[0, 1, 1, 1, 0, 1, 0, 0]]
    assert edit.values is None


def test_a_connection_that_has_just_gone_may_come_back():
    measured = measurement([[0.1, 5, 4, 3, 0]], mask=[[1, 1, 1, 1, 0]], gradients=[[9, 0, 0, 0, 1]])
    edits, _ = proposed(RigL(fraction=0.26, decay_steps=None), measured)
    assert edits == []
    (edit,), _ = proposed(DropAndGrow(fraction=0.26, regrow=False), measured)
    assert edit.mask.astype(int).tolist() == [[0, 1, 1, 1, 1]]


def test_no_more_connections_go_than_others_can_come():
    measured = measurement([[1, 2, 3, 4, 0]], mask=[[1, 1, 1, 1, 0]], gradients=[[9, 8, 7, 6, 1]])
    (edit,), _ = proposed(DropAndGrow(fraction=0.7, regrow=False), measured)
    assert edit.mask.astype(int).tolist() == [[0, 1, 1, 1, 1]]
    assert proposed(DropAndGrow(fraction=0.24, regrow=False), measured)[0] == [], "less than one"


def test_the_share_that_is_exchanged_falls_along_a_cosine():
    strategy = RigL(fraction=0.3, decay_steps=100, schedule=EveryNSteps(10))
    assert strategy.share(0) == pytest.approx(0.3)
    assert strategy.share(50) == pytest.approx(0.15)
    assert [strategy.due(step) for step in (10, 90, 100, 110)] == [True, True, False, False]


def test_set_grows_random_connections_with_weights_like_the_others():
    rng = np.random.default_rng(1)
    mask = rng.random((40, 40)) < 0.3
    measured = measurement(np.where(mask, rng.normal(0, 2, mask.shape), 0), mask)
    (edit,), _ = proposed(SparseEvolution(), measured)
    born = edit.mask & ~mask
    assert edit.count == mask.sum()
    assert born.sum() == int(0.3 * mask.sum())
    assert edit.values[born].std() == pytest.approx(2, rel=0.2)
    (other,), _ = proposed(SparseEvolution(), measured, step=2)
    assert not np.array_equal(other.mask, edit.mask)
    assert proposed(SparseEvolution(), measured)[0][0] == edit


def test_full_layers_have_nothing_to_exchange():
    assert proposed(RigL(), measurement(np.ones((3, 3)), gradients=np.ones((3, 3))))[0] == []


def test_deep_rewiring_puts_connections_to_sleep_whose_strength_falls_below_zero():
    measured = measurement([[0.5, -0.5, 0.004, -0.004, 0, 0, 0, 0]], mask=[[1, 1, 1, 1, 0, 0, 0, 0]], rate=0.1)
    strategy = DeepRewiring(alpha=0.1)  # η α = 0.01
    (edit,), _ = proposed(strategy, measured)
    assert edit.count == 4
    assert edit.mask[0, :2].all()
    np.testing.assert_allclose(edit.shift[0, :4], [-0.01, 0.01, -0.004, 0.004])  # the last two fall asleep, at 0


def test_deep_rewiring_leaves_connections_awake_whose_strength_is_exactly_zero():
    measured = measurement([[0.25, 1, 0, 0, 0]], mask=[[1, 1, 0, 0, 0]], rate=0.5)
    for step in range(10):
        (edit,), _ = proposed(DeepRewiring(alpha=0.5), measured, step)
        assert edit.mask.astype(int).tolist() == [[1, 1, 0, 0, 0]]


@pytest.mark.parametrize("state", [{}, {"a": None}, DeepRewiring().init(measurement([[-1, 1]]))])
def test_deep_rewiring_takes_the_present_signs_of_a_layer_that_it_does_not_know_in_this_shape(state):
    (edit,), after = DeepRewiring(alpha=0.1).propose(1, measurement([[0.5, -0.5, 0.2]]), state)
    np.testing.assert_allclose(edit.shift, [[-0.01, 0.01, -0.01]])
    assert after == DeepRewiring().init(measurement([[0.5, -0.5, 0.2]]))


def test_deep_rewiring_does_not_let_all_connections_fall_asleep_at_once():
    state = DeepRewiring().init(measurement([[0.5, 0.2, 0]], mask=[[1, 1, 0]]))
    (edit,), after = DeepRewiring().propose(1, measurement([[-0.1, -0.1, 0]], mask=[[1, 1, 0]]), state)
    assert edit.mask.astype(int).tolist() == [[1, 1, 0]]
    assert edit.shift is None
    assert after == state


def test_deep_rewiring_wakes_as_many_as_fall_asleep_half_of_them_with_each_sign():
    mask, weights = np.arange(2000).reshape(40, 50) % 4 == 0, np.ones((40, 50))
    state, crossed = DeepRewiring().init(measurement(weights, mask)), np.where(np.arange(50) < 25, -0.1, 1.0)
    (edit,), after = DeepRewiring(alpha=0.0).propose(1, measurement(weights * crossed, mask), state)
    assert edit.count == mask.sum()
    born = edit.mask & ~mask
    assert born.sum() > 150
    assert unpack_bits(after["a"]["bits"], mask.shape)[born].mean() == pytest.approx(0.5, abs=0.12)


def test_deep_rewiring_remembers_the_sign_that_a_connection_woke_up_with():
    strategy = DeepRewiring(alpha=0.0)
    before = measurement([[0.5, -0.5, 0.2]])
    state = strategy.init(before)
    crossed = measurement([[-0.1, -0.5, 0.2]])  # the gradient step took the first one through zero
    edits = [strategy.propose(step, crossed, state)[0][0] for step in range(20)]
    assert all(edit.count == 3 for edit in edits)
    assert edits[0].shift[0, 0] == pytest.approx(0.1)  # nothing else can wake up, so it does itself, from 0


def test_deep_rewiring_wakes_any_dormant_connection_for_one_that_falls_asleep():
    strategy, mask = DeepRewiring(alpha=0.0), [[1, 1, 1, 0, 0]]
    state = strategy.init(measurement([[0.5, -0.5, 0.2, 0, 0]], mask))
    crossed = measurement([[-0.1, -0.5, 0.2, 0, 0]], mask)
    found = [strategy.propose(step, crossed, state)[0][0] for step in range(40)]
    assert all(edit.count == 3 and edit.mask[0, 1:3].all() for edit in found)
    assert {int(np.flatnonzero(edit.mask[0, [0, 3, 4]])[0]) for edit in found} == {0, 1, 2}


def test_deep_rewiring_walks_at_random_with_the_temperature():
    measured = measurement(np.full((100, 100), 5.0), rate=0.5)
    (edit,), _ = proposed(DeepRewiring(alpha=0.2, temperature=0.01), measured)
    assert edit.shift.mean() == pytest.approx(-0.1, abs=5e-3)
    assert edit.shift.std() == pytest.approx(np.sqrt(2 * 0.5 * 0.01), rel=0.05)


def test_dynamic_surgery_cuts_below_one_threshold_and_splices_above_another():
    start = measurement([[1, 1, 1, 1]], dormant="training")
    strategy = DynamicSurgery(c=0.0, margin=0.2)  # thresholds 0.8 and 1.2
    state = strategy.init(start)
    later = measurement([[0.7, 0.9, 1.1, 1.3]], mask=[[1, 1, 0, 0]], dormant="training")
    (edit,), _ = strategy.propose(1, later, state)
    assert edit.mask.astype(int).tolist() == [[0, 1, 0, 1]]
    with pytest.raises(ValueError, match='dormant="training"'):
        strategy.init(measurement([[1, 1]]))


def test_thresholds_of_dynamic_surgery_are_those_of_the_magnitudes_at_the_start():
    start = measurement([[1, -3, 9]], mask=[[1, 1, 0]], dormant="training")  # mean 2, deviation 1
    later = measurement([[2.0, -1.99, -3.0, 2.99, 0.1]], mask=[[1, 1, 0, 0, 1]], dormant="training")
    for c, expected in ((0.5, [1, 0, 1, 0, 0]), (-5.0, [1, 1, 1, 1, 1])):  # from 2 to 3; none is below 0
        strategy = DynamicSurgery(c=c, margin=0.2)
        (edit,), _ = strategy.propose(1, later, strategy.init(start))
        assert edit.mask.astype(int).tolist() == [expected]


def test_dynamic_surgery_looks_with_the_probability_that_it_says():
    for power in (1, 2):
        looks = [DynamicSurgery(decay=0.5, power=power, seed=seed).due(t) for seed in range(100) for t in range(1, 21)]
        expected = 100 * sum((1 + 0.5 * t) ** -power for t in range(1, 21))
        assert sum(looks) == pytest.approx(expected, rel=0.1)
    assert all(DynamicSurgery().due(t) for t in range(1, 40))


def test_dynamic_surgery_looks_ever_more_seldom():
    strategy = DynamicSurgery(decay=0.1)
    looks = [strategy.due(step) for step in range(1, 400)]
    assert sum(looks[:50]) > 2 * sum(looks[-50:])
    assert looks == [strategy.due(step) for step in range(1, 400)]


def model(**options):
    keras.utils.set_random_seed(2)
    dense = keras.layers.Dense
    stack = [keras.Input((6,)), dense(24, "relu", name="a"), dense(24, "relu", name="b"), dense(1, name="o")]
    return sparsify(keras.Sequential(stack), **options)


EVERY = EveryNSteps(3)
CASES = {
    "magnitude": (Sparsify(schedule=Cubic(final=0.8, stop=20, every=4)), {}, 0.2),
    "magnitude in each layer": (Sparsify(schedule=Cubic(final=0.8, stop=20, every=4), scope="local"), {}, 0.2),
    "snip": (Sparsify(selectors.Snip(), Once(0.7)), {}, 0.3),
    "obd": (Sparsify(selectors.OptimalBrainDamage(), Once(0.7, step=4)), {}, 0.3),
    "set": (SparseEvolution(schedule=EVERY), {"sparsity": 0.75}, 0.25),
    "rigl": (RigL(schedule=EVERY, decay_steps=30), {"sparsity": 0.75}, 0.25),
    "deep rewiring": (DeepRewiring(alpha=0.01, temperature=1e-6), {"sparsity": 0.75}, 0.25),
    "dynamic surgery": (DynamicSurgery(c=0.3), {"dormant": "training"}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_strategies_train_and_hold_what_they_promise(case, tmp_path):
    strategy, options, density = CASES[case]
    network = model(**options)
    network.compile(keras.optimizers.Adam(0.01), "mse", strategy=strategy)
    start = network.evaluate(X, Y, verbose=0)
    history = network.fit(X, Y, batch_size=16, epochs=10, verbose=0)
    possible = 6 * 24 + 24 * 24 + 24
    count = sum(network.connections.values())
    assert history.history["connections"][-1] == count
    assert count < possible
    if density is not None:
        assert count / possible == pytest.approx(density, abs=0.01)
    assert {event.edit for event in network.structure_log} == {"Rewire"}
    assert network.evaluate(X, Y, verbose=0) < start
    assert parts_of(network).editor.retraces == 0
    network.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for other in (network, loaded):
        keras.utils.set_random_seed(3)
        other.fit(X, Y, batch_size=16, verbose=0)
    for name in ("a", "b", "o"):
        left, right = (current().read(other.get_layer(name).kernel) for other in (network, loaded))
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)
    assert loaded.connections == network.connections


@pytest.mark.parametrize("case", CASES)
def test_strategies_survive_saving(case):
    assert unpack(pack(CASES[case][0])) == CASES[case][0]


def test_layers_can_be_chosen_and_must_be_masked():
    network = model()
    network.compile("adam", "mse", strategy=Sparsify(schedule=Once(0.5), layers="b"))
    network.fit(X, Y, batch_size=16, verbose=0)
    assert network.connections == {"a": 144, "b": 288, "o": 24}
    with pytest.raises(ValueError, match=r"cannot edit layers \['c'\]: masked layers are \['a', 'b', 'o'\]"):
        network.compile("adam", "mse", strategy=RigL(layers=["c"]))
    plain = StructuralModel([keras.Input((6,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"no masked layer. Convert it with keras_struct\.sparsify"):
        plain.compile("adam", "mse", strategy=RigL())


@pytest.mark.parametrize(
    "make",
    [
        lambda: DynamicSurgery(margin=0.0, decay=0.0),
        lambda: DeepRewiring(alpha=0.0, temperature=0.0),
        lambda: RigL(decay_steps=1),
        lambda: Cubic(final=0.5, stop=6, start=5, every=1),
    ],
)
def test_values_at_the_ends_of_their_ranges_are_allowed(make):
    assert unpack(pack(make())) == make()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Cubic(final=1.0, stop=5), "`final` is the share"),
        (lambda: Cubic(final=0.5, stop=5, start=6), "`start` before `stop`"),
        (lambda: Cubic(final=0.5, stop=5, every=0), "`every` must be a positive integer"),
        (lambda: Once(0.0), "`final` is the share"),
        (lambda: DropAndGrow(fraction=0.0), "`fraction` must lie between 0 and 1"),
        (lambda: DropAndGrow(fraction=1.0), "`fraction` must lie between 0 and 1"),
        (lambda: DropAndGrow(initial="ones"), "`initial` must be 'zeros' or 'normal'"),
        (lambda: RigL(decay_steps=0), "`decay_steps` must be a positive integer"),
        (lambda: DeepRewiring(alpha=-1), "must not be negative"),
        (lambda: DynamicSurgery(margin=1), "`margin` must be from 0 up to 1"),
    ],
)
def test_bad_arguments_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sparsify(schedule=EveryNSteps(5)),
        lambda: RigL(schedule=Cubic(final=0.5, stop=5)),
        lambda: GrowAndPrune(Prune(FractionOfWidth(0.1)), Grow(FractionOfWidth(0.1))),
    ],
)
def test_parts_in_the_wrong_place_are_refused(make):
    with pytest.raises(TypeError, match="Received"):
        make()
