"""What defines each way of making new units, on dense, convolutional, pooled and residual networks."""

import dataclasses
import warnings
import weakref

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, grow, initializers, strategies
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.remap import NEW
from keras_struct.measure.probes.interpreter import run
from keras_struct.measurements import AxisMeasurement, FanOut
from keras_struct.policies.initializer import join_rows, outgoing, random_fan_in
from keras_struct.testing import check_edit, check_initializer
from keras_struct.testing.preservation import outputs, relative_change

ALL = [
    initializers.RandomFanIn(),
    initializers.RandomFanOut(),
    initializers.Select(candidates=20),
    initializers.PreActivation(candidates=20),
    initializers.OptimizedActivation(candidates=4, steps=3),
    initializers.OrthogonalWeights(),
    initializers.LargestGradient(),
    initializers.OptimizedGradient(steps=5),
    initializers.OptimizedGradient(ascends="fan_in", steps=3),
    initializers.Bridge(candidates=5),
    initializers.DivideOrAdd(candidates=10),
    initializers.DivideOrAdd(keeps="loss_decrease", candidates=10, epsilon=1e-3, steps=2),
    initializers.CopyAndPerturb(),
]
RNG = np.random.default_rng(0)
COPIES = weakref.WeakKeyDictionary()
CHANGE = (initializers.Bridge, initializers.DivideOrAdd, initializers.CopyAndPerturb)


@pytest.fixture(scope="module")
def trained(unchanged_network):
    model, x, y, axis = unchanged_network
    model.compile("sgd", "mse", strategy=strategies.GradMax(max_units=50), probe=x, targets=y)
    return model, x, y, axis


@pytest.fixture
def case(trained):
    model, x, y, axis = trained
    return model, x, y, axis, parts_of(model).runner.measured(axis)


def loss(model, x, y):
    return float(((model(x).numpy() - y).astype(np.float64) ** 2).mean())


def propose(initializer, measured, count, seed=0):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*units that axis .* is to get")
        return initializer.propose(measured, count, np.random.default_rng(seed))


def grown(model, edit):
    """The copy of a model after an edit of it; it holds until the next one is asked for."""
    if model not in COPIES:
        COPIES[model] = StructuralModel.from_model(model)
    copy = COPIES[model]
    copy.set_weights(model.get_weights())
    copy.apply(edit, preserve=True)
    return copy


@pytest.mark.parametrize(
    "initializer", ALL, ids=lambda i: f"{type(i).__name__}-{getattr(i, 'ascends', '')}{getattr(i, 'keeps', '')}"
)
def test_every_initializer_grows_every_network_and_keeps_the_function_where_it_says_so(case, initializer):
    model, x, y, axis, measured = case
    edit = propose(initializer, measured, 2)
    if edit is None:
        assert getattr(initializer, "keeps", "") == "loss_decrease"
        return
    bigger = grown(model, edit)
    assert measured.units < bigger.structure.axes[axis] <= measured.units + 2
    change = relative_change(outputs(model, x), outputs(bigger, x))
    if isinstance(initializer, CHANGE):
        assert change > 0
    else:
        assert change <= 1e-5
    bigger.compile("sgd", "mse", run_eagerly=True)
    before = [w.copy() for w in bigger.get_weights()]
    bigger.train_on_batch(x, y)
    assert any((old != new).any() for old, new in zip(before, bigger.get_weights(), strict=True))


@pytest.mark.parametrize(
    "initializer", ALL, ids=lambda i: f"{type(i).__name__}-{getattr(i, 'ascends', '')}{getattr(i, 'keeps', '')}"
)
def test_every_initializer_passes_the_battery(case, initializer):
    if not isinstance(initializer, initializers.CopyAndPerturb):
        check_initializer(initializer, case[-1], 1)


def rows(measured, x, model):
    """Inputs of the layer, one row for each sample and position, against second moments."""
    return np.linalg.cholesky(measured.input_gram() + 1e-12 * np.eye(len(measured.input_gram()))).T


def test_pre_activations_are_orthogonal_to_existing_ones(case):
    model, x, y, axis, measured = case
    edit = propose(initializers.PreActivation(candidates=10), measured, 1)
    new = edit.values[measured.fan_in[0].key]
    weights = measured.fan_in[0].weights
    fan_in = int(np.prod(weights.shape[:-1]))
    moments = measured.input_gram()
    old, fresh = weights.reshape(fan_in, -1).astype(float), np.asarray(new).reshape(fan_in, -1).astype(float)
    products = old.T @ moments @ fresh
    sizes = np.sqrt(np.outer(np.diag(old.T @ moments @ old), np.diag(fresh.T @ moments @ fresh)))
    assert np.abs(products / sizes).max() < 1e-4


def test_second_moments_of_inputs_are_those_of_patches(case):
    model, x, y, axis, measured = case
    weights = measured.fan_in[0].weights
    layer = model.get_layer(axis)
    sums = layer.convolution_op(x, layer.kernel) if hasattr(layer, "convolution_op") else x @ layer.kernel
    z = np.asarray(sums).reshape(-1, measured.units)
    flat = weights.reshape(-1, measured.units)
    np.testing.assert_allclose(flat.T @ measured.input_gram() @ flat, z.T @ z / len(z), rtol=1e-4, atol=1e-5)


def test_weights_are_orthogonal_to_existing_ones_and_to_each_other(case):
    *_, measured = case
    edit = propose(initializers.OrthogonalWeights(), measured, 1 if measured.axis == "h" else 3)
    flat = measured.fan_in[0].weights.reshape(-1, measured.units).astype(float)
    fresh = np.asarray(edit.values[measured.fan_in[0].key]).reshape(len(flat), -1).astype(float)
    fresh /= np.linalg.norm(fresh, axis=0)
    assert np.abs((flat / np.linalg.norm(flat, axis=0)).T @ fresh).max() < 1e-5
    np.testing.assert_allclose(fresh.T @ fresh, np.eye(fresh.shape[1]), atol=1e-5)


@pytest.mark.parametrize("initializer", [initializers.PreActivation(candidates=5), initializers.OrthogonalWeights()])
def test_too_few_free_directions_add_fewer_units_with_one_warning(initializer):
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [keras.Input((5,)), keras.layers.Dense(3, activation="relu", name="h"), keras.layers.Dense(1)]
    )
    x = np.random.default_rng(0).standard_normal((40, 5)).astype("float32")
    model.compile("sgd", "mse", strategy=strategies.NorthPre(max_units=20), probe=x)
    with pytest.warns(UserWarning, match="makes 2 of the 4 units that axis 'h' is to get"):
        event = model.grow("h", 4, initializer)
    assert event.after == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.grow("h", 4, initializer) is None
    assert model.structure.axes["h"] == 5


def gradient_of_new_fan_in(model, measured, edit, x, y):
    """Squared norm of the gradient of the incoming weights of new units in the first layer, once they are there."""
    import tensorflow as tf

    bigger = grown(model, edit)
    kernel = bigger.get_layer(measured.axis).kernel
    with tf.GradientTape() as tape:
        value = tf.reduce_mean((bigger(x, training=False) - y) ** 2)
    gradient = np.asarray(tape.gradient(value, kernel))[..., measured.units :]
    return float((gradient.astype(float) ** 2).sum())


def test_gradmax_attains_the_sum_of_the_largest_squared_singular_values_and_no_random_draw_exceeds_it(case):
    model, x, y, axis, measured = case
    scale = 0.7
    norm = np.sqrt(sum(fan.norms**2 for fan in measured.fan_out())).mean()
    sigma = np.linalg.svd(measured.gradients.auxiliary(linear=False), compute_uv=False)
    for count in (1, 2):
        edit = propose(initializers.LargestGradient(scale=scale), measured, count)
        attained = gradient_of_new_fan_in(model, measured, edit, x, y)
        assert attained == pytest.approx((sigma[:count] ** 2).sum() * (scale * norm) ** 2, rel=1e-4)
        for seed in range(5):
            size = sum(int(np.prod(fan.weights.shape[1:])) for fan in measured.fan_out())
            draw = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, count)))[0].T
            random = grow(axis, measured.units, count, outgoing(measured, draw, scale))
            assert gradient_of_new_fan_in(model, measured, random, x, y) <= attained * (1 + 1e-4)


def test_ascending_the_gradient_comes_close_to_the_closed_form(case):
    model, x, y, axis, measured = case
    best = gradient_of_new_fan_in(model, measured, propose(initializers.LargestGradient(), measured, 1), x, y)
    found = gradient_of_new_fan_in(
        model, measured, propose(initializers.OptimizedGradient(steps=200), measured, 1), x, y
    )
    assert 0.98 * best <= found <= best * (1 + 1e-4)


def test_the_inverse_variant_raises_the_gradient_of_outgoing_weights(case):
    *_, measured = case

    def gradient(edit):
        weights = np.asarray(edit.values[measured.fan_in[0].key])
        none = [np.zeros((weights.shape[-1], *fan.weights.shape[1:])) for fan in measured.fan_out()]
        return sum((part.astype(float) ** 2).sum() for part in measured.gradients.virtual(weights, none)[1])

    start, end = (
        gradient(propose(initializers.OptimizedGradient(ascends="fan_in", steps=steps), measured, 1))
        for steps in (0, 40)
    )
    assert end > 1.05 * start


def test_firefly_in_its_original_form_predicts_the_change_of_the_loss(case):
    from keras_struct.units.initializers.firefly import _Divided, _edit, _New

    model, x, y, axis, measured = case
    rng, epsilon = np.random.default_rng(0), 3e-2
    divided, new = _Divided(measured, 10 * epsilon, rng), _New(measured, epsilon, 12, rng)
    start, checked = loss(model, x, y), 0
    for scores, members in ((new.predicted_changes(), "new"), (divided.predicted_changes(), "divided")):
        for i in np.argsort(-np.abs(scores))[:2]:
            chosen = ([int(i)], []) if members == "divided" else ([], [int(i)])
            edit = _edit(divided, new, *(np.asarray(part, int) for part in chosen))
            really = loss(grown(model, edit), x, y) - start
            if abs(scores[i]) > 1e-3 * start and members == "new":
                assert really == pytest.approx(scores[i], rel=0.05, abs=3e-4 * start)
                checked += 1
            if members == "divided":  # each copy goes a long way, on which the change is no line
                assert np.sign(really) == np.sign(scores[i])
    assert checked


def test_firefly_divides_and_adds_by_a_share_of_the_norms_that_there_are(case):
    from keras_struct.units.initializers.firefly import _Divided, _New

    *_, measured = case
    rng, norm = np.random.default_rng(0), measured.fan_in[0].norms.mean()
    divided, new = _Divided(measured, 0.05, rng), _New(measured, 0.05, 6, rng)
    np.testing.assert_allclose(np.linalg.norm(divided.noise.reshape(-1, measured.units), axis=0), 0.05 * norm)
    assert divided.noise.min() < 0 < divided.noise.max()
    np.testing.assert_allclose(divided.halves[0], measured.fan_out()[0].weights / 2)
    size = 0.05 * np.sqrt(sum(fan.norms**2 for fan in measured.fan_out())).mean()
    np.testing.assert_allclose(np.linalg.norm(new.rows, axis=1), size)
    start, slope = new.weights.reshape(-1, 6), new._gradients().fan_in.reshape(-1, 6).astype(float)
    new.descend(1, 0.1)
    moved = start - 0.1 * norm * slope / np.linalg.norm(slope, axis=0)
    expected = moved * norm / np.linalg.norm(moved, axis=0)
    np.testing.assert_allclose(new.weights.reshape(-1, 6), expected, rtol=1e-4, atol=1e-6)
    new.descend(1, 0.0)  # outgoing weights against their gradient: no others of their size lower the loss as much
    steepest = np.linalg.norm(join_rows(new._gradients().fan_out).astype(float), axis=1)
    np.testing.assert_allclose(new.predicted_changes(), -size * steepest, rtol=1e-4)


def test_firefly_keeps_what_lowers_the_loss_or_what_has_the_largest_gradient(case):
    model, x, y, axis, measured = case
    original = initializers.DivideOrAdd(keeps="loss_decrease", candidates=30, epsilon=1e-2)
    edit = propose(original, measured, 2)
    assert loss(grown(model, edit), x, y) < loss(model, x, y)
    from keras_struct.units.initializers.firefly import _Divided, _New

    rng = np.random.default_rng(0)
    divided, new = _Divided(measured, 1e-4, rng), _New(measured, 1e-4, 30 + 2, rng)
    norms = np.concatenate([divided.gradient_norms(), new.gradient_norms()])
    thesis = propose(initializers.DivideOrAdd(candidates=30), measured, 2)
    best = np.argsort(-norms, kind="stable")[:2]
    expected = [int(i) if i < measured.units else NEW for i in best]
    assert sorted(thesis.source[measured.units :]) == sorted(expected)


def test_firefly_in_its_original_form_adds_all_that_lower_the_loss_and_no_others(case):
    from keras_struct.units.initializers.firefly import _Divided, _New

    *_, measured = case
    edit = propose(initializers.DivideOrAdd(keeps="loss_decrease", candidates=30, epsilon=1e-2), measured, 60)
    rng = np.random.default_rng(0)
    divided, new = _Divided(measured, 1e-2, rng), _New(measured, 1e-2, 90, rng)
    lowering = [np.flatnonzero(part.predicted_changes() < 0) for part in (divided, new)]
    assert sorted(edit.source[measured.units :]) == sorted([*lowering[0], *(NEW,) * len(lowering[1])])


def test_firefly_predicts_what_a_division_changes_the_loss_by():
    from keras_struct.units.initializers.firefly import _Divided, _edit, _New

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    stack = [keras.Input((5,)), keras.layers.Dense(6, activation="tanh", name="h"), keras.layers.Dense(2)]
    model, x, y = StructuralModel(stack), rng.standard_normal((20, 5)).astype("float32"), rng.standard_normal((20, 2))
    model.compile("sgd", "mse", strategy=strategies.GradMax(max_units=50), probe=x, targets=y)
    measured, start = parts_of(model).runner.measured("h"), loss(model, x, y)
    divided, new = _Divided(measured, 0.1, rng), _New(measured, 0.1, 1, rng)
    edits = [_edit(divided, new, np.array([i]), np.array([], int)) for i in range(6)]
    changes = [loss(grown(model, edit), x, y) - start for edit in edits]
    predicted = divided.predicted_changes()
    np.testing.assert_allclose(predicted, changes, rtol=0.1, atol=0.03 * np.abs(predicted).max())


def test_nest_bridges_the_pair_whose_connection_has_the_largest_gradient(case):
    *_, measured = case
    if measured.kind == "conv":
        return  # of random candidates the best are taken: see below
    gradient, first = measured.gradients.auxiliary(), measured.fan_in[0]
    reads, feeds = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
    edit = propose(initializers.Bridge(keep=1e-6, scale=0.7), measured, 3)
    incoming, outgoing_rows = (np.asarray(edit.values[fan.key]) for fan in (first, *measured.fan_out()))
    sizes = 0.7 * np.linalg.norm(first.weights, axis=0).mean(), 0.7 * measured.fan_out()[0].norms.mean()
    expected = np.eye(len(incoming))[:, [reads]] * sizes[0], np.eye(outgoing_rows.shape[1])[[feeds]] * sizes[1]
    np.testing.assert_allclose(np.abs(incoming), np.tile(expected[0], 3), rtol=1e-5)
    np.testing.assert_allclose(np.abs(outgoing_rows), np.tile(expected[1], (3, 1)), rtol=1e-5)
    assert (np.sign(incoming[reads] * outgoing_rows[:, feeds]) == -np.sign(gradient[reads, feeds])).all()


def test_nest_lowers_the_loss_on_average_over_its_signs(case):
    model, x, y, axis, measured = case
    start = loss(model, x, y)
    small = initializers.Bridge(candidates=20, scale=0.3)
    draws = 100 if measured.kind == "dense" else 5
    changes = [loss(grown(model, propose(small, measured, 1, seed)), x, y) - start for seed in range(draws)]
    assert np.mean(changes) < 0


def test_copies_share_outgoing_weights_and_differ_by_the_noise(case):
    model, x, y, axis, measured = case
    edit = propose(initializers.CopyAndPerturb(noise=0.05), measured, 2)
    exact = propose(initializers.CopyAndPerturb(noise=0.0), measured, 2)
    assert edit.source[: measured.units] == tuple(range(measured.units))
    assert min(edit.source) >= 0
    assert relative_change(outputs(model, x), outputs(grown(model, exact), x)) < 1e-5
    kernel = grown(model, edit).get_layer(axis).kernel.numpy()
    original, copy = kernel[..., edit.source[measured.units]], kernel[..., measured.units]
    spread = (copy - original).std() / measured.fan_in[0].weights.std()
    assert 0.02 < spread < 0.12


def test_select_takes_the_highest_count_and_among_ties_the_nuclear_norm_by_brute_force(case):
    model, x, y, axis, measured = case
    drawn = []

    def recorded(kernels):
        drawn.append(kernels)
        return measured.candidates(kernels)

    edit = propose(initializers.Select(candidates=8), dataclasses.replace(measured, candidates=recorded), 2)
    chosen = np.asarray(edit.values[measured.fan_in[0].key])
    scores = []
    for k in range(drawn[0].shape[-1]):
        values = {measured.fan_in[0].key: measured.fan_in[0].expand(drawn[0][..., [k]])}
        bigger = grown(model, grow(axis, measured.units, 1, values))
        probe = parts_of(bigger).observation.probe
        number = probe.post_activation(axis)
        hidden = np.asarray(run(probe.network, x, [number])[number]).reshape(-1, measured.units + 1)
        sigma = np.linalg.svd(hidden.astype(float) / np.sqrt(len(hidden)), compute_uv=False)
        scores.append(((sigma > 0.01).sum(), sigma.sum()))
    best = sorted(range(len(scores)), key=lambda k: scores[k], reverse=True)[:2]
    np.testing.assert_array_equal(chosen, drawn[0][..., best])


def test_projected_ascent_raises_the_nuclear_norm(case):
    from keras_struct.statistics import CandidateScorer
    from keras_struct.units.initializers.select import _nuclear_gradient

    *_, measured = case
    start = random_fan_in(measured.fan_in[0].weights, 3, np.random.default_rng(0))
    scorer = CandidateScorer(measured.gram())

    def norms(kernels):
        return scorer.nuclear_norms(*measured.candidates(kernels.astype("float32")))

    gradient = _nuclear_gradient(measured, start)
    step = 1e-2 / np.abs(gradient).max()
    rise = norms(start + step * gradient) - norms(start - step * gradient)
    expected = 2 * step * (gradient.astype(float) ** 2).sum(axis=tuple(range(gradient.ndim - 1)))
    np.testing.assert_allclose(rise, expected, rtol=0.1)


def test_ascent_takes_the_steps_of_adam_at_a_rate_that_falls_to_zero():
    from keras_struct.units.initializers.adam import ascend

    rng = np.random.default_rng(0)
    start, top = rng.uniform(-1, 1, (3, 4)), rng.uniform(-2, 2, (3, 4))
    found = ascend(start, lambda point: top - point, 20, 0.2, lambda point: np.clip(point, -1.5, 1.5))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(0.2, 20, 0.0), epsilon=1e-12)
    variable = keras.Variable(start)
    for _ in range(20):
        optimizer.apply([variable - top], [variable])
        variable.assign(np.clip(variable, -1.5, 1.5))
    np.testing.assert_allclose(found, variable, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "dense", "conv"),
    [
        (initializers.Select, 1000, 100),
        (initializers.OptimizedActivation, 100, 10),
        (initializers.DivideOrAdd, 1000, 100),
    ],
)
def test_convolutions_try_a_tenth_of_the_candidates_unless_a_number_is_given(kind, dense, conv):
    assert (kind()._number("dense"), kind()._number("conv")) == (dense, conv)
    assert kind(candidates=7)._number("dense") == kind(candidates=7)._number("conv") == 7


@pytest.mark.parametrize(
    "initializer",
    [initializers.RandomFanIn(), initializers.Select(candidates=3), initializers.OrthogonalWeights()],
    ids=lambda i: type(i).__name__,
)
def test_new_units_have_weights_of_the_mean_norm_in_every_layer_that_makes_them(case, initializer):
    *_, measured = case
    edit = propose(initializer, measured, 1)
    assert set(edit.values) == {fan.key for fan in measured.fan_in}
    for fan in measured.fan_in:
        assert np.linalg.norm(edit.values[fan.key]) == pytest.approx(fan.norms.mean(), rel=1e-5)


def test_outgoing_weights_beside_none_have_the_norm_that_is_asked_for():
    fans = tuple(FanOut(f"{i}/kernel", np.zeros((3, width)), lambda new: new) for i, width in enumerate((4, 5)))
    found = outgoing(AxisMeasurement("h", 3, None, "dense", (), lambda: fans), RNG.standard_normal((2, 9)), 0.5)
    np.testing.assert_allclose(np.linalg.norm(np.hstack(list(found.values())), axis=1), 0.5)


def test_candidates_move_along_what_keeps_their_norms():
    from keras_struct.units.initializers.select import _tangent

    rng = np.random.default_rng(0)
    kernels, slope = 0.1 * rng.standard_normal((3, 3, 2, 4)), rng.standard_normal((3, 3, 2, 4))
    tangent = _tangent(slope, kernels)
    np.testing.assert_allclose((tangent * kernels).sum(axis=(0, 1, 2)), 0, atol=1e-12)
    along = (slope - tangent) / kernels  # what is left out is a multiple of each candidate
    np.testing.assert_allclose(along, np.broadcast_to(along[0, 0, 0], along.shape))


@pytest.mark.parametrize(("activation", "message"), [("relu", "derivative 0 at 0"), ("sigmoid", "is 0.5 at 0")])
def test_zero_fan_in_needs_an_activation_through_the_origin_with_a_slope(activation, message):
    model = StructuralModel(
        [keras.Input((5,)), keras.layers.Dense(3, activation=activation, name="h"), keras.layers.Dense(1)]
    )
    for initializer in (initializers.RandomFanOut(), initializers.LargestGradient(), initializers.OptimizedGradient()):
        with pytest.raises(ValueError, match=message):
            model.grow("h", 1, initializer)
    assert model.structure.axes["h"] == 3


def test_the_edit_contract_holds_for_divided_and_shifted_units():
    def build():
        keras.utils.set_random_seed(0)
        return keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(4, activation="tanh", name="h"), keras.layers.Dense(2)]
        )

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 5)).astype("float32"), rng.standard_normal((8, 2)).astype("float32")
    check_edit(build, lambda model: model.grow("h", 2, initializers.CopyAndPerturb(0.1)), x, y, preserves=False)


def test_a_measurement_without_a_batch_says_what_is_missing():
    measured = AxisMeasurement("h", 3, None, "dense", ())
    with pytest.raises(ValueError, match="no batch with targets"):
        measured.gradients.norms()
    assert measured.slope() == 1.0


def test_weights_beside_none_are_drawn_within_the_limit_of_glorot():
    found = random_fan_in(np.zeros((3, 3, 2, 4), "float32"), 200, np.random.default_rng(0))
    limit = np.sqrt(6 / (3 * 3 * 2 + 4 + 200))
    assert found.shape == (3, 3, 2, 200)
    assert 0.99 * limit < np.abs(found).max() <= limit
