"""DARTS, DARTS-PRIME and their parts agree with NumPy step by step; searches run, go on and end in a choice."""

import json
from itertools import pairwise

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, search
from keras_struct.applications import darts_network, darts_supernet
from keras_struct.layers import ArchitectureWeights, MixedOp
from keras_struct.search import Admm, ConstantSchedule, Darts, DartsPrime, FimtSchedule, Proximity, projection
from keras_struct.search.alternating import AlternatingModel
from keras_struct.search.batches import PairedBatches, divided
from keras_struct.search.penalty import Penalty

LOSS = "sparse_categorical_crossentropy"
RNG = np.random.default_rng(0)
X = RNG.random((96, 8, 8, 1)).astype("float32")
Y = (X[:, :4].mean((1, 2, 3)) > X[:, 4:].mean((1, 2, 3))).astype(int)


def numbers(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


SOME = ("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3")


def supernet(seed=0, activation="softmax", operations=SOME, **options):
    """Three cells of one node, with four operations, or for CRB three, on each of its two edges."""
    keras.utils.set_random_seed(seed)
    options = {"init_channels": 2, "layers": 3, "nodes": 1, **options}
    operations = operations[1:] if operations and activation == "crb" else operations
    return darts_supernet((8, 8, 1), 2, activation=activation, operations=operations, **options)


def two_cells(**options):
    """A normal cell and one that halves resolution."""
    return supernet(layers=2, reductions=[1], **options)


# Schedules


def fimt(squares, ratio=10, momentum=0.2, threshold=1.0, increase=1.05, exact=False):
    """Algorithm 3 in plain Python."""
    fired, average, trail = [], None, []
    for value in squares:
        average = value if average is None else momentum * value + (1 - momentum) * average
        fired.append(average < threshold)
        threshold *= increase ** (-(ratio - exact)) if fired[-1] else increase
        trail.append((average, threshold))
    return np.array(fired), np.array(trail)


def simulated(schedule, squares):
    state = {name: keras.ops.convert_to_tensor(value, "float32") for name, value in schedule.initial().items()}
    fired, trail = [], []
    for value in squares:
        due, state = schedule(state, keras.ops.convert_to_tensor(value, "float32"))
        fired.append(bool(due))
        trail.append([float(v) for v in state.values()])
    return np.array(fired), np.array(trail)


@pytest.mark.parametrize("exact", [False, True])
def test_the_schedule_is_that_of_the_paper_step_by_step(exact):
    squares = RNG.lognormal(0, 0.5, 300)
    fired, trail = simulated(FimtSchedule(decrease="exact" if exact else "thesis"), squares)
    expected, path = fimt(squares, exact=exact)
    np.testing.assert_array_equal(fired, expected)
    np.testing.assert_allclose(trail, path, rtol=1e-3)


@pytest.mark.parametrize("growth", [0.0, -0.005, 0.005])
def test_how_often_the_architecture_moves_is_what_theory_says(growth):
    steps = 11000
    squares = 3 * np.exp(growth * np.arange(steps)) * RNG.lognormal(0, 0.3, steps)
    fired, _ = fimt(squares)
    assert fired[1000:].mean() == pytest.approx(FimtSchedule().frequency(growth), rel=0.03)
    assert FimtSchedule().frequency() == pytest.approx(1 / 11)
    assert FimtSchedule(decrease="exact").frequency() == pytest.approx(1 / 10)
    assert FimtSchedule().fall == pytest.approx(0.6139, abs=1e-4)


def test_a_large_gradient_delays_the_first_move_as_long_as_the_threshold_takes_to_rise():
    fired, _ = simulated(FimtSchedule(), [5.0] * 60)
    assert fired.argmax() == 33
    assert simulated(FimtSchedule(), [0.5])[0][0]


def test_a_constant_schedule_moves_after_every_nth_step():
    fired, _ = simulated(ConstantSchedule(3), np.ones(10))
    assert np.flatnonzero(fired).tolist() == [2, 5, 8]
    assert (ConstantSchedule(10).ratio_of_steps, FimtSchedule(10).ratio_of_steps) == (10, 11)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ConstantSchedule(0), "`every` must be"),
        (lambda: FimtSchedule(increase=1.0), "FimtSchedule needs"),
        (lambda: FimtSchedule(momentum=0.0), "FimtSchedule needs"),
        (lambda: FimtSchedule(decrease="code"), "`decrease` must be"),
        (lambda: Proximity(-1.0), "`strength` must not be negative"),
        (lambda: Admm(every=0), "Admm needs every >= 1"),
    ],
)
def test_schedules_and_penalties_that_cannot_be_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


# Penalties


def weighting(alpha, activation="softmax"):
    layer = ArchitectureWeights(2, activation=activation)
    layer(np.zeros(1))
    layer.alpha.assign(alpha)
    return layer


@pytest.mark.parametrize("activation", ["softmax", "crb"])
def test_architecture_weights_are_not_rounded_by_mixed_precision(activation):
    layer = ArchitectureWeights(2, activation=activation, dtype="mixed_bfloat16")
    layer(np.zeros(1))
    layer.alpha.assign(np.full(layer.alpha.shape, 0.12345678))
    assert keras.backend.standardize_dtype(layer(np.zeros(1)).dtype) == "float32"
    if activation == "crb":
        np.testing.assert_allclose(layer(np.zeros(1)), 0.12345678, rtol=1e-6)


def softmax(alpha):
    return np.exp(alpha) / np.exp(alpha).sum(axis=1, keepdims=True)


def test_proximity_is_the_distance_to_the_discrete_cell():
    alphas = [RNG.standard_normal((5, 8)) for _ in range(2)]
    layers = [weighting(alpha) for alpha in alphas]
    penalty = Proximity(0.1)
    penalty.watch(layers)
    weights = [softmax(alpha) for alpha in alphas]
    expected = sum(np.linalg.norm(w - projection(w, layers[0].operations)) for w in weights)
    assert float(penalty([], 0.4)) == pytest.approx(0.4 * 0.05 * expected, rel=1e-5)
    fresh = weighting(np.zeros((5, 8)))
    penalty.watch([fresh])
    assert float(penalty([], 1.0)) > 0


def test_proximity_has_no_gradient_where_weights_are_discrete_already():
    from keras_struct.core.backend import current

    layer = weighting(np.zeros((5, 8)), "crb")
    discrete = projection(RNG.random((5, 8)), layer.operations)
    layer.alpha.assign(discrete)
    penalty = Proximity(1.0)
    penalty.watch([layer])
    gradient = numbers(current().differentiate(lambda: (penalty([], 1.0), 0), [layer.alpha])[2][0])
    np.testing.assert_array_equal(gradient, 0)


def test_multipliers_follow_their_recursion():
    alpha = RNG.standard_normal((5, 8))
    layer = weighting(alpha)
    penalty = Admm(0.1, every=3)
    penalty.watch([layer])
    state = [np.array(part) for part in penalty.initial()]
    w = softmax(alpha)
    z, u = projection(w, layer.operations), np.zeros_like(w)
    np.testing.assert_array_equal(state[0], z)
    for step in range(1, 13):
        alpha = alpha + 0.3 * RNG.standard_normal((5, 8))
        layer.alpha.assign(alpha)
        w = softmax(alpha.astype("float32"))
        assert float(penalty(state, 1.0)) == pytest.approx(0.05 * ((w - z + u) ** 2).sum(), rel=1e-4)
        state = [numbers(part) for part in penalty.update(state, keras.ops.convert_to_tensor(float(step)))]
        if step % 3 == 0:
            z = projection(w + u, layer.operations)
            u = 0.8 * u + w - z
        np.testing.assert_allclose(state[0], z)
        np.testing.assert_allclose(state[1], u, atol=1e-5)
    unsquared = Admm(0.1, squared=False)
    unsquared.watch([layer])
    assert float(unsquared(state, 1.0)) == pytest.approx(0.05 * np.linalg.norm(w - z + u), rel=1e-4)


# Steps


class Linear(keras.Model):
    """y = (w + alpha) · x: losses whose gradients are known."""

    def __init__(self):
        super().__init__()
        start = keras.initializers.Constant
        self.w = self.add_weight(name="w", shape=(3,), initializer=start(0.5))
        self.alpha = self.add_weight(name="alpha", shape=(3,), initializer=start(-0.2), trainable=False)

    def call(self, x, training=False):
        return keras.ops.sum(x * (self.w + self.alpha**2), axis=-1, keepdims=True)


def gradients(w, alpha, x, y):
    residual = x @ (w + alpha**2) - y
    slope = 2 * residual @ x / len(x)
    return slope, slope * 2 * alpha


def data(steps, batch=4):
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal((steps, 2 * batch, *more)).astype("float32") for more in ((3,), ()))


@pytest.mark.parametrize("schedule", [None, ConstantSchedule(3), FimtSchedule(2, threshold=4.0)])
def test_steps_of_weights_and_architecture_are_those_of_plain_arithmetic(schedule):
    """Clipping, coupled weight decay, momentum, and whose gradient is taken on which batch, over twelve steps."""
    model = Linear()
    model(np.zeros((1, 3), "float32"))
    clip, decay, alpha_decay, rate = 1.0, 0.1, 0.05, 0.05
    trained = AlternatingModel(
        model,
        [model.alpha],
        keras.optimizers.SGD(0.1),
        schedule=schedule,
        clip_norm=clip,
        weight_decay=decay,
        architecture_decay=alpha_decay,
    )
    trained.compile(keras.optimizers.SGD(rate, 0.9), "mse")
    w, alpha, moment = np.full(3, 0.5), np.full(3, -0.2), np.zeros(3)
    state = {} if schedule is None else {"count": 0, "E": None, "h": 4.0}
    xs, ys = data(12)
    fired = []
    for x, y in zip(xs, ys, strict=True):
        trained.train_on_batch(x, y[:, None])

        def move(alpha, w, x=x, y=y):
            return alpha - 0.1 * (gradients(w, alpha, x[4:], y[4:])[1] + alpha_decay * alpha)

        if schedule is None:
            alpha = move(alpha, w)
        slope = gradients(w, alpha, x[:4], y[:4])[0]
        squares = (slope**2).sum()
        slope = slope * min(1, clip / np.sqrt(squares)) + decay * w
        moment = 0.9 * moment - rate * slope
        w = w + moment
        if isinstance(schedule, ConstantSchedule):
            state["count"] += 1
            due = state["count"] == 3
            state["count"] *= not due
        elif schedule is not None:
            state["E"] = squares if state["E"] is None else 0.2 * squares + 0.8 * state["E"]
            due = state["E"] < state["h"]
            state["h"] *= 1.05**-2 if due else 1.05
        if schedule is not None:
            fired.append(bool(due))
            alpha = move(alpha, w) if due else alpha
        np.testing.assert_allclose(numbers(model.w), w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(numbers(model.alpha), alpha, rtol=1e-4, atol=1e-5)
    if fired:
        assert 0 < sum(fired) < 12
        assert float(numbers(trained.architecture_steps)) == sum(fired)


class Clock(Penalty):
    """Its gradient is how far the search has come."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = alpha

    def __call__(self, state, clock):
        return clock * keras.ops.sum(self.alpha)


def test_penalties_grow_from_the_first_step_to_the_last_and_stay():
    model = Linear()
    model(np.zeros((1, 3), "float32"))
    trained = AlternatingModel(model, [model.alpha], keras.optimizers.SGD(1.0), penalty=Clock(model.alpha))
    trained.compile("sgd", "mse")
    trained.total.assign(4.0)
    seen = [numbers(model.alpha)]
    for _ in range(6):
        trained.train_on_batch(np.zeros((2, 3)), np.zeros((2, 1)))
        seen.append(numbers(model.alpha))
    np.testing.assert_allclose(-np.diff(seen, axis=0)[:, 0], [0, 0.25, 0.5, 0.75, 1, 1], atol=1e-6)
    assert float(numbers(trained.steps)) == float(numbers(trained.architecture_steps)) == 6
    assert [variable.path for variable in trained.trainable_variables] == [model.w.path]


def test_the_second_order_gradient_is_that_after_a_virtual_step():
    model = Linear()
    model(np.zeros((1, 3), "float32"))
    trained = AlternatingModel(model, [model.alpha], keras.optimizers.SGD(1.0), unrolled=True, weight_decay=0.1)
    trained.compile(keras.optimizers.SGD(0.05), "mse")
    xs, ys = data(1, 16)
    x, y = xs[0].astype("float64"), ys[0].astype("float64")
    w, alpha = np.full(3, 0.5), np.full(3, -0.2)

    def unrolled(alpha):
        step = w - 0.05 * (gradients(w, alpha, x[:16], y[:16])[0] + 0.1 * w)
        residual = x[16:] @ (step + alpha**2) - y[16:]
        return (residual**2).mean()

    expected = [(unrolled(alpha + 1e-5 * e) - unrolled(alpha - 1e-5 * e)) / 2e-5 for e in np.eye(3)]
    trained.train_on_batch(xs[0], ys[0][:, None])
    np.testing.assert_allclose(alpha - numbers(model.alpha), expected, rtol=2e-3, atol=1e-4)
    first = [gradients(w - 0.05 * (gradients(w, alpha, x[:16], y[:16])[0] + 0.1 * w), alpha, x[16:], y[16:])[1]]
    assert np.abs(np.array(expected) - first[0]).max() > 1e-3  # the second-order part is not nothing
    new = alpha - np.array(expected)
    slope = gradients(w, new, x[:16], y[:16])[0]
    np.testing.assert_allclose(numbers(model.w), w - 0.05 * (slope + 0.1 * w), rtol=1e-3, atol=1e-4)


# Data


def test_samples_are_divided_at_random_without_overlap():
    inside, outside = divided(110, 1 / 11, 10, seed=1)
    assert (len(inside), len(outside)) == (100, 10)
    assert sorted([*inside, *outside]) == list(range(110))
    assert outside.max() > 50 > outside.min()
    assert np.array_equal(divided(110, 1 / 11, 10, seed=1)[1], outside)
    with pytest.raises(ValueError, match="both must fill a batch of 16"):
        divided(110, 1 / 11, 16, seed=1)


def test_the_published_ratio_divides_cifar_as_the_authors_do():
    inside, outside = divided(50_000, ConstantSchedule(10).share_of_samples, 64, seed=0)
    assert (len(inside), len(outside)) == (45_454, 4_546)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, 55),
        (ConstantSchedule(10), 10),
        (ConstantSchedule(4), 22),
        (ConstantSchedule(1), 55),
        (FimtSchedule(10), 10),
        (FimtSchedule(10, decrease="exact"), 10),
        (FimtSchedule(1, decrease="exact"), 55),
        (FimtSchedule(21), 5),
    ],
)
def test_the_architecture_gets_one_sample_for_r_of_the_weights(schedule, expected, monkeypatch):
    """One in eleven for r = 10 (thesis section 5.3.3: 9.09 %), however often the schedule moves it in balance."""
    inputs = keras.Input((1,))
    layer = MixedOp([keras.layers.Identity(), keras.layers.Dense(1)], name="mixed")
    found = Darts(StructuralModel(inputs, keras.layers.Dense(1)(layer(inputs))), "mse", metrics=None, schedule=schedule)
    monkeypatch.setattr(found.trained, "fit", lambda data, **_: data)
    data = found.fit(np.arange(110.0)[:, None], np.arange(110), batch_size=1)
    pairs = np.array([data[i][1] for i in range(len(data))])
    assert sorted({*pairs[:, 0]} | {*data._second[1]}) == list(range(110))
    assert (len(pairs), len(data._second[1])) == (110 - expected, expected)
    assert float(numbers(found.trained.total)) == 50 * len(pairs)
    assert set(pairs[:, 1]) <= set(data._second[1])


def test_batches_go_through_all_samples_in_a_new_order_each_epoch_beside_random_ones():
    def epoch(number, seed=3):
        batches = PairedBatches(np.arange(22), np.arange(22), 5, seed)
        batches.epoch = number
        assert len(batches) == 4
        return np.array([batches[i][1] for i in range(4)])

    first, again, next_one, other = epoch(0), epoch(0), epoch(1), epoch(0, seed=4)
    np.testing.assert_array_equal(first, again)
    for part in (first, next_one, other):
        assert len(set(part[:, :5].ravel())) == 20, "each once"
        assert all(len(set(drawn)) == 5 for drawn in part[:, 5:])
        assert len({tuple(drawn) for drawn in part[:, 5:]}) == 4
    for part in (next_one, other):
        assert (part[:, :5] != first[:, :5]).any()
        assert (part[:, 5:] != first[:, 5:]).any()


@pytest.mark.parametrize(("first", "second"), [((8, 7), (8, 8)), ((7, 7), (8, 8)), ((8, 8), (7, 7)), ((8, 8), (9, 8))])
def test_batches_need_a_target_for_each_input_and_enough_of_them(first, second):
    PairedBatches(np.zeros(8), np.zeros(8), 8, 0, (np.zeros(8), np.zeros(8)))
    with pytest.raises(ValueError, match="as many targets as inputs, and at least a batch of 8"):
        PairedBatches(*map(np.zeros, first), 8, 0, tuple(map(np.zeros, second)))


def test_batches_of_the_architecture_come_from_their_own_samples_and_are_augmented():
    first, second = np.arange(40), np.arange(100, 130)
    batches = PairedBatches(first, first, 8, 0, (second, second), lambda x, rng: x + 1000)
    x, y = batches[0]
    assert (y[:8] < 40).all()
    assert (y[8:] >= 100).all()
    np.testing.assert_array_equal(x, y + 1000)


@pytest.mark.parametrize(("share", "size"), [(0.1, 2), (0.9, 2), (-0.5, 1), (1.0, 1)])
def test_neither_part_may_be_smaller_than_a_batch(share, size):
    assert [len(part) for part in divided(10, 0.5, 5, seed=0)] == [5, 5]
    with pytest.raises(ValueError, match=f"both must fill a batch of {size}"):
        divided(10, share, size, seed=0)


# Searches


@pytest.mark.parametrize("structural", [False, True])
def test_weights_of_a_search_are_read_into_the_structure_that_they_were_saved_with(structural, tmp_path):
    def made():
        stack = [keras.Input((3,)), keras.layers.Dense(4, name="h"), keras.layers.Dense(1)]
        return AlternatingModel((StructuralModel if structural else keras.Sequential)(stack), [])

    searched, fresh, x = made(), made(), RNG.random((5, 3))
    if structural:
        searched.network.grow("h", 2)
    before = numbers(searched(x)), fresh(x)
    searched.save_weights(tmp_path / "s.weights.h5")
    fresh.load_weights(tmp_path / "s.weights.h5")
    np.testing.assert_array_equal(numbers(fresh(x)), before[0])
    assert fresh.network.get_layer("h").units == 4 + 2 * structural


@pytest.mark.usefixtures("eager")
def test_a_search_learns_records_and_ends_in_a_genotype():
    found = DartsPrime(two_cells(), LOSS, ratio=2, architecture_optimizer=keras.optimizers.Adam(0.1))
    history = found.fit(X[:48], Y[:48], batch_size=8, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    record = found.record
    assert len(record.weights) == len(record.genes) == len(record.skips) == 4
    steps = 3 * (32 // 8)
    assert len(record.schedule["F"]) == len(record.architecture_steps) == steps
    assert 0 < record.architecture_steps[-1] < steps
    assert history.history["alpha_steps"][-1] == record.architecture_steps[-1]
    thresholds = np.array(record.schedule["threshold"])
    moved = np.diff([0, *record.architecture_steps]) == 1
    np.testing.assert_array_equal(thresholds / np.concatenate([[1.0], thresholds[:-1]]) < 1, moved)
    assert record.entropy[-1] < record.entropy[0] == pytest.approx(np.log(len(SOME)), abs=1e-3)
    genotype = found.genotype()
    assert {"normal": genotype.normal, "reduce": genotype.reduce} == {
        name.removeprefix("alpha_"): genes for name, genes in found.choices().items()
    }
    assert darts_network(genotype, (8, 8, 1), 2, 2, 3)(X[:2]).shape == (2, 2)
    assert set(found.weights()) == {"alpha_normal", "alpha_reduce"}
    json.loads(record.to_json())


@pytest.mark.usefixtures("eager")
def test_only_the_architecture_learns_from_its_samples_and_the_optimizer_of_weights_never_sees_it():
    model = two_cells()
    found = Darts(model, LOSS, seed=1)
    assert all("alpha" not in variable.path for variable in model.optimizer._trainable_variables)
    before = numbers(model.get_layer("alpha_normal").alpha)
    model.fit(X[:16], Y[:16], verbose=0)
    np.testing.assert_array_equal(numbers(model.get_layer("alpha_normal").alpha), before)
    found.fit(X[:32], Y[:32], batch_size=16, epochs=1, verbose=0)
    assert (numbers(model.get_layer("alpha_normal").alpha) != before).any()


@pytest.mark.usefixtures("eager")
def test_the_learning_rate_falls_epoch_by_epoch():
    found, seen = Darts(mixed(), LOSS), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(float(numbers(found.model.optimizer.learning_rate)))
    )
    found.fit(X[:32], Y[:32], batch_size=16, epochs=4, verbose=0, callbacks=[watch])
    expected = [0.001 + 0.012 * (1 + np.cos(np.pi * epoch / 4)) for epoch in range(4)]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.usefixtures("eager")
def test_steps_are_traced_again_without_operations_that_were_pruned(monkeypatch):
    found = Darts(mixed(), LOSS, architecture_decay=0.0)
    found.fit(X[:8], Y[:8], batch_size=4, epochs=1, verbose=0)
    seen = []

    def watch(epoch, logs):
        seen.append(callback.model.train_function)
        monkeypatch.setattr(found, "remove_pruned", lambda: epoch == 1)

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=watch)
    found.fit(X[:8], Y[:8], batch_size=4, epochs=4, verbose=0, callbacks=[callback])
    assert [after is before for before, after in pairwise(seen)] == [True, False, True]


@pytest.mark.usefixtures("eager")
def test_clipped_weights_lose_operations_for_ever_and_cells_get_smaller():
    model = supernet(activation="crb")
    schedule = ConstantSchedule(1)
    found = Darts(model, LOSS, schedule=schedule, split=0.5, architecture_optimizer=keras.optimizers.Adam(0.5))
    parameters = model.count_params()
    found.fit(X[:16], Y[:16], batch_size=8, epochs=2, verbose=0)
    masks = {kind: numbers(model.get_layer(f"alpha_{kind}").mask) for kind in ("normal", "reduce")}
    for name, kind in (("cell_0", "normal"), ("cell_1", "reduce"), ("cell_2", "reduce")):
        cell = model.get_layer(name)
        assert len(cell.paths) == masks[kind].sum() < 2 * 3
    assert model.count_params() < parameters
    assert {event.edit for event in model.structure_log} == {"Reconfigure"}
    before = numbers(model(X[:16], training=False))
    found.fit(X[:16], Y[:16], batch_size=8, epochs=1, verbose=0)
    assert np.abs(numbers(model(X[:16], training=False)) - before).max() > 1e-6


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("activation", ["softmax", pytest.param("crb", marks=pytest.mark.slow)])
def test_a_killed_search_goes_on_as_it_would_have(activation, tmp_path):
    def made():
        return DartsPrime(
            two_cells(activation=activation), LOSS, ratio=1, architecture_optimizer=keras.optimizers.Adam(0.05), seed=3
        )

    whole = made()
    whole.fit(X[:32], Y[:32], batch_size=16, epochs=3, verbose=0)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made().fit(X[:32], Y[:32], batch_size=16, epochs=3, verbose=0, callbacks=[Kill()], backup=tmp_path)
    resumed = made()
    resumed.fit(X[:32], Y[:32], batch_size=16, epochs=3, verbose=0, backup=tmp_path)
    assert len(resumed.record.weights) == 4
    assert resumed.record.architecture_steps == whole.record.architecture_steps
    np.testing.assert_allclose(resumed.record.schedule["F"], whole.record.schedule["F"], rtol=1e-2)
    for a, b in zip(whole.model.weights, resumed.model.weights, strict=True):
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-2, atol=1e-4)


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Skipping")
def test_a_backup_of_another_search_is_refused(tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Darts(two_cells(), LOSS).fit(
            X[:32], Y[:32], batch_size=16, epochs=2, verbose=0, callbacks=[Kill()], backup=tmp_path
        )
    other = Darts(two_cells(init_channels=4), LOSS)
    with pytest.raises(ValueError, match="does not belong to this search"):
        other.fit(X, Y, batch_size=16, epochs=2, verbose=0, backup=tmp_path)


# Choices


@pytest.mark.usefixtures("eager")
def test_a_choice_keeps_the_weights_of_what_is_chosen_and_trains_on(tmp_path):
    def outputs(network):
        return numbers(network(X[:16], training=False))

    model = supernet(operations=None)
    found = Darts(model, LOSS)
    found.fit(X[:32], Y[:32], batch_size=16, epochs=1, verbose=0)
    for kind in ("normal", "reduce"):
        layer = model.get_layer(f"alpha_{kind}")
        wanted = np.full(layer.alpha.shape, -100.0)
        for source, (name, _) in enumerate(zip(("sep_conv_3x3", "max_pool_3x3"), range(2), strict=True)):
            wanted[source, layer.operations.index(name)] = 0.0
        layer.alpha.assign(wanted)  # the weights mean one cell exactly
    kernel = numbers(model.get_layer("cell_0").sep_conv_3x3_pointwise)
    before, parameters = outputs(model), model.count_params()
    events = model.choose()
    assert [event.axis for event in events] == ["cell_0", "cell_1", "cell_2"]
    np.testing.assert_allclose(outputs(model), before, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(numbers(model.get_layer("cell_0").sep_conv_3x3_pointwise), kernel[:1])
    assert model.count_params() < parameters / 3
    slot = next(v for v in model.optimizer.variables if "cell_0_sep_conv_3x3_pointwise" in v.path)
    assert slot.shape == kernel[:1].shape
    model.fit(X[:32], Y[:32], epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(model))
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = supernet(operations=None)
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(outputs(fresh), outputs(model))
    with pytest.raises(ValueError, match="nothing to choose"):
        model.choose()


def test_any_genotype_of_the_right_size_can_be_chosen():
    model = supernet(operations=None)
    genes = [("dil_conv_3x3", 0), ("skip_connect", 1)]
    model.choose(str(search.Genotype(genes, [2], genes[::-1], [2])))
    assert {(p.operation, p.source) for p in model.get_layer("cell_1").paths} == set(genes)
    model = supernet(operations=None)
    with pytest.raises(ValueError, match="it lacks"):
        model.choose(search.Genotype([("sep_conv_7x7", 0), ("skip_connect", 1)], [2], genes, [2]))
    assert len(model.get_layer("cell_0").paths) == 14


def mixed(shared=False, seed=0):
    keras.utils.set_random_seed(seed)
    conv = keras.layers.Conv2D
    inputs = x = keras.Input((8, 8, 1))
    weights = ArchitectureWeights(1, ["small", "large"], inputs=1, kept=1, name="both")(inputs) if shared else None
    for i in range(2):
        operations = {
            "small": conv(4, 1, activation="relu"),
            "large": lambda: conv(4, 3, padding="same", activation="relu"),
        }
        layer = MixedOp(operations, shared=shared, name=f"mixed_{i}")
        x = layer([x, weights]) if shared else layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return StructuralModel(inputs, keras.layers.Dense(2, activation="softmax")(x))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("shared", [False, True])
def test_layers_of_ones_own_are_searched_among_and_chosen(shared, tmp_path):
    model = mixed(shared)
    found = DartsPrime(model, LOSS, ratio=2, architecture_optimizer=keras.optimizers.Adam(0.1), optimizer="adam")
    assert set(found.layers) == ({"both"} if shared else {"mixed_0_alpha", "mixed_1_alpha"})
    found.fit(X[:24], Y[:24], batch_size=8, epochs=3, verbose=0)
    with pytest.raises(ValueError, match=r"see `choices\(\)`"):
        found.genotype()
    chosen = {name: genes[0][0] for name, genes in found.choices().items()}
    before = {
        name: numbers(layer.operations["large"].kernel)
        for name, layer in ((n, model.get_layer(n)) for n in ("mixed_0", "mixed_1"))
    }
    model.choose()
    for i in range(2):
        layer = model.get_layer(f"mixed_{i}")
        assert layer.chosen == chosen["both" if shared else f"mixed_{i}_alpha"]
        np.testing.assert_array_equal(numbers(layer.operations["large"].kernel), before[f"mixed_{i}"])
    model.fit(X[:32], Y[:32], epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(numbers(loaded(X)), numbers(model(X)))


def test_a_mixture_is_the_weighted_sum_of_its_layers():
    layer = mixed().get_layer("mixed_0")
    layer.weighting.alpha.assign([[0.3, -0.5]])
    shares = softmax(np.array([[0.3, -0.5]]))[0]
    parts = [numbers(operation(X)) for operation in layer.operations.values()]
    np.testing.assert_allclose(numbers(layer(X)), shares[0] * parts[0] + shares[1] * parts[1], rtol=1e-4, atol=1e-6)


def test_operations_that_were_pruned_are_taken_out_once():
    model = supernet(activation="crb")
    found = Darts(model, LOSS)
    assert found.remove_pruned() == 0
    mask = model.get_layer("alpha_reduce").mask
    mask.assign(np.array([[0, 1, 1], [1, 0, 0]]))
    assert found.remove_pruned() == 2
    assert found.remove_pruned() == 0
    left = [{(path.operation, path.source) for path in model.get_layer(f"cell_{i}").paths} for i in (1, 2)]
    assert left == [{("skip_connect", 0), ("dil_conv_3x3", 0), ("max_pool_3x3", 1)}] * 2
    assert len(model.get_layer("cell_0").paths) == 6
    assert Darts(mixed(), LOSS).remove_pruned() == 0


def test_searches_for_cells_of_images_are_pulled_with_a_tenth_to_what_is_discrete():
    assert DartsPrime(mixed(), LOSS).penalty.strength == 0.1
    assert DartsPrime(mixed(), LOSS, strength=0.3).penalty.strength == 0.3


def test_searches_need_no_decay():
    found = Darts(mixed(), LOSS, weight_decay=0.0, architecture_decay=0.0, clip_norm=None)
    assert (found.trained.weight_decay, found.trained.architecture_decay, found.trained.clip_norm) == (0, 0, None)
    default = Darts(mixed(), LOSS).trained
    assert (default.weight_decay, default.architecture_decay, default.clip_norm) == (3e-4, 1e-3, 5.0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Darts(StructuralModel([keras.Input((2,)), keras.layers.Dense(1)]), "mse"), "the model has none"),
        (lambda: Darts(supernet(), LOSS, clip_norm=0), "`clip_norm` must be positive"),
        (lambda: Darts(supernet(), LOSS, weight_decay=-1), "Weight decay must not be negative"),
        (lambda: Darts(supernet(), LOSS).fit(X[:20], Y[:20], batch_size=16), "both must fill a batch of 16"),
        (lambda: MixedOp([]), "needs one at least"),
        (lambda: MixedOp([keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="a")]), "different names"),
        (lambda: MixedOp([lambda: 3]), "Expected layers"),
        (
            lambda: MixedOp([keras.layers.Dense(2), keras.layers.Dense(3)])(np.zeros((1, 2))),
            "must output the same shape",
        ),
        (lambda: MixedOp([keras.layers.Dense(2)], chosen="b"), "can choose one of"),
    ],
)
def test_searches_that_cannot_be_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
