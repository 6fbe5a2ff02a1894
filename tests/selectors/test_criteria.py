"""Each criterion against a plain NumPy computation on the network itself."""

import weakref

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, selectors
from keras_struct.core.model.parts import parts_of
from keras_struct.measurements import AxisMeasurement, FanOut, UnitActivity
from keras_struct.policies.policy import pack, unpack
from keras_struct.strategies import GradMax
from keras_struct.testing.preservation import silence

layers = keras.layers


COPIES = weakref.WeakKeyDictionary()


@pytest.fixture(scope="module")
def trained(unchanged_network):
    model, x, y, axis = unchanged_network
    model.compile("sgd", "mse", strategy=GradMax(max_units=50), probe=x, targets=y, run_eagerly=True)
    return model, x, y, axis, model.get_weights()


@pytest.fixture
def case(trained):
    model, x, y, axis, weights = trained
    yield model, x, y, axis, model.measure(axis)
    model.set_weights(weights)
    parts_of(model).observation.fixed_inputs, parts_of(model).observation.fixed_targets = x, y


def copied(model):
    """The copy of a model, as the model is; it holds until the next one is asked for."""
    if model not in COPIES:
        COPIES[model] = StructuralModel.from_model(model)
    copy = COPIES[model]
    copy.set_weights(model.get_weights())
    return copy


def answers(model, x, axis):
    """Post-activations of the units, `(samples, positions, units)`, and everything needed to go on from there."""
    probe = parts_of(model).observation.probe
    number = probe.post_activation(axis)
    from keras_struct.measure.probes.interpreter import run

    found = np.asarray(run(probe.network, x, [number])[number]).astype(np.float64)
    return found.reshape(len(found), -1, found.shape[-1])


def loss(model, x, y):
    return float(((np.asarray(model(x, training=False)) - y).astype(np.float64) ** 2).mean())


def with_units_scaled(model, axis, factors):
    """A copy whose outgoing weights are multiplied: the same as a factor on the activations in front of them."""
    copy = copied(model)
    from keras_struct.core.backend.keras_internals import own_variables

    for port, rule in copy.structure.ports(axis).items():
        if rule.role == "consume":
            variable = own_variables(copy.get_layer(port.layer))[port.variable]
            along = [1] * len(variable.shape)
            along[port.axis] = -1
            units = copy.structure.unit_along(port, axis)
            variable.assign(np.asarray(variable) * np.asarray(factors, "float32")[units].reshape(along))
    return copy


def test_activity_is_that_of_the_post_activations(case):
    model, x, _, axis, measured = case
    rows = answers(model, x, axis).reshape(-1, measured.units)
    for found, expected in zip(
        measured.activity(), (rows.mean(0), abs(rows).mean(0), (rows == 0).mean(0)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(selectors.Activity("variance").scores(measured), rows.var(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(selectors.Activity("zeros").scores(measured), (rows != 0).mean(0), atol=1e-6)


def test_gates_are_derivatives_by_a_factor_on_each_unit(case):
    model, x, y, axis, measured = case
    gates = measured.gradients.gates()
    assert gates.shape == (len(x), measured.units)
    step = 1e-2
    for k in range(measured.units):
        factors = np.ones((2, measured.units))
        factors[:, k] += (step, -step)
        up, down = (loss(with_units_scaled(model, axis, f), x, y) for f in factors)
        assert gates.mean(axis=0)[k] == pytest.approx((up - down) / (2 * step), rel=5e-2, abs=2e-4)


def test_taylor_and_fisher_take_samples_one_by_one(case):
    model, x, y, axis, measured = case
    one_by_one = []
    for n in range(len(x)):
        parts_of(model).observation.fixed_inputs = x[n : n + 1]
        parts_of(model).observation.fixed_targets = y[n : n + 1]
        one_by_one.append(model.measure(axis).gradients.gates()[0])
    alone = np.array(one_by_one)
    np.testing.assert_allclose(selectors.Taylor().scores(measured), abs(alone).mean(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(selectors.Taylor("batch").scores(measured), abs(alone.mean(0)), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(selectors.Fisher().scores(measured), (alone**2).mean(0) / 2, rtol=1e-3, atol=1e-8)


def test_perturbation_is_the_loss_without_each_unit(case):
    model, x, y, axis, measured = case
    scores = selectors.Perturbation().scores(measured)
    for k in range(measured.units):
        copy = copied(model)
        silence(copy, axis, [k])
        assert scores[k] == pytest.approx(loss(copy, x, y), rel=1e-4)


def test_magnitudes_are_norms_of_incoming_weights(case):
    model, _, _, axis, measured = case
    makers = [layer for layer, _ in model.structure.units[axis].producers]
    kernels = [np.asarray(model.get_layer(name).kernel).reshape(-1, measured.units) for name in makers]
    for order in (1, 2):
        expected = np.linalg.norm(np.concatenate(kernels), ord=order, axis=0)
        np.testing.assert_allclose(selectors.Magnitude(order).scores(measured), expected, rtol=1e-5)


def brute_force_order(rows, count):
    """Algorithm 4, every cosine computed again after each removal."""
    left, order = list(range(rows.shape[1])), []
    dormant = [k for k in left if not rows[:, k].any()]
    for k in dormant[:count]:
        order.append(k)
        left.remove(k)
    while len(order) < count:
        columns = rows[:, left] / np.linalg.norm(rows[:, left], axis=0)
        order.append(left.pop(int(np.argmax(np.linalg.norm(columns.T @ columns, axis=1)))))
    return order


def test_the_most_similar_units_go_as_brute_force_says():
    rng = np.random.default_rng(0)
    rows = np.maximum(rng.standard_normal((40, 8)), 0)
    rows[:, 5] = 0.0
    rows[:, 6] = 2 * rows[:, 1] + 0.01 * rng.random(40)
    for count in range(1, 7):
        assert selectors.MostSimilar()(measurement(rows), count) == brute_force_order(rows, count)
    assert brute_force_order(rows, 2)[0] == 5


def measurement(rows, outgoing=None):
    """A measurement of activations that are given as rows, and of outgoing weights."""
    activity = UnitActivity(rows.mean(0), abs(rows).mean(0), (rows == 0).mean(0))
    fan_out = () if outgoing is None else (FanOut("out/kernel/0", outgoing[:, None, :], lambda new: new[:, 0]),)
    return AxisMeasurement(
        "h",
        rows.shape[1],
        None,
        "dense",
        (),
        lambda: fan_out,
        gram=lambda: rows.T @ rows / len(rows),
        activity=lambda: activity,
    )


def test_residuals_are_those_of_least_squares():
    rows = np.random.default_rng(1).standard_normal((50, 6))
    found = selectors.Residual().scores(measurement(rows))
    for k in range(6):
        others = np.delete(rows, k, axis=1)
        residual = rows[:, k] - others @ np.linalg.lstsq(others, rows[:, k], rcond=None)[0]
        assert found[k] == pytest.approx((residual**2).mean(), rel=1e-6)


def test_correlations_are_those_of_numpy():
    rows = np.random.default_rng(2).standard_normal((50, 6)) @ np.random.default_rng(3).standard_normal((6, 6))
    expected = (np.corrcoef(rows.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(-selectors.Correlation().scores(measurement(rows)), expected, rtol=1e-8)
    rows[:, 2] = 3.0
    assert selectors.Correlation()(measurement(rows), 1) == [2]


def test_leaving_one_out_keeps_the_dimension_as_brute_force_says():
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((60, 6)) * np.array([1, 2, 0.5, 1, 3, 1])
    rows[:, 3] = rows[:, 0] + rows[:, 1] + 1e-4 * rng.standard_normal(60)
    scores = []
    for k in range(6):
        sigma = np.linalg.svd(np.delete(rows, k, axis=1) / np.sqrt(60), compute_uv=False)
        scores.append((-(sigma > 0.01).sum(), -sigma.sum()))
    expected = sorted(range(6), key=lambda k: scores[k])
    assert selectors.LeaveOneOut()(measurement(rows), 5) == expected[:5]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_surgeon_restores_the_least_squares_optimum(count):
    rng = np.random.default_rng(5)
    rows, outgoing = rng.standard_normal((80, 6)) @ rng.standard_normal((6, 6)), rng.standard_normal((6, 3))
    measured = measurement(rows, outgoing)
    edit = selectors.OptimalBrainSurgeon().propose(measured, count)
    kept = list(edit.source)
    found = outgoing[kept] + edit.shift["out/kernel/0"]
    best = np.linalg.lstsq(rows[:, kept], rows @ outgoing, rcond=None)[0]
    np.testing.assert_allclose(found, best, rtol=1e-6, atol=1e-8)
    if count == 1:
        errors = []
        for k in range(6):
            others = np.delete(rows, k, axis=1)
            fitted = others @ np.linalg.lstsq(others, rows @ outgoing, rcond=None)[0]
            errors.append(((rows @ outgoing - fitted) ** 2).mean(axis=0).sum())
        np.testing.assert_allclose(selectors.OptimalBrainSurgeon().scores(measured), errors, rtol=1e-6)


def test_the_surgeon_moves_outputs_less_than_removal_alone(case):
    model, x, _, axis, _ = case
    changes = {}
    for compensate in (True, False):
        copy = copied(model)
        copy.compile("sgd", "mse", probe=x)
        before = np.asarray(copy(x, training=False))
        copy.prune(axis, count=1, selector=selectors.OptimalBrainSurgeon(compensate))
        changes[compensate] = np.abs(np.asarray(copy(x, training=False)) - before).mean()
    assert changes[True] < 1.05 * changes[False]


def test_scales_of_batch_normalisation_and_folded_norms():
    inputs = keras.Input((4,))
    norm = layers.BatchNormalization(name="norm")
    outputs = layers.Dense(1)(layers.Activation("relu")(norm(layers.Dense(3, name="hidden")(inputs))))
    model = StructuralModel.from_model(keras.Model(inputs, outputs))
    norm = model.get_layer("norm")
    norm.gamma.assign([0.1, -2.0, 1.0])
    norm.moving_variance.assign([1.0, 4.0, 0.01])
    measured = model.measure("hidden")
    assert selectors.BatchNormScale()(measured, 2) == [0, 2]
    expected = np.linalg.norm(np.asarray(model.get_layer("hidden").kernel), axis=0)
    expected = expected * np.array([0.1, 2.0, 1.0]) / np.sqrt(np.array([1.0, 4.0, 0.01]) + 1e-3)
    np.testing.assert_allclose(selectors.Magnitude(folded=True).scores(measured), expected, rtol=1e-5)
    bare = StructuralModel([keras.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"there is none behind the layer.*Magnitude"):
        bare.prune("hidden", count=1, selector=selectors.BatchNormScale())


KINDS = [getattr(selectors, name) for name in selectors.__all__ if name not in ("Selector", "BatchNormScale")]
EVERY = [kind() for kind in KINDS if issubclass(kind, selectors.Selector)]


@pytest.mark.parametrize("selector", EVERY, ids=lambda selector: type(selector).__name__)
def test_every_selector_prunes_every_kind_of_network_and_can_be_saved(selector, case):
    model, x, y, axis, measured = case
    assert unpack(pack(selector)) == selector
    assert selector(measured, 2) == selector(model.measure(axis), 2)
    event = model.prune(axis, count=1, selector=selector)
    assert event.after == event.before - 1
    assert np.isfinite(model.train_on_batch(x, y))
    with pytest.raises(ValueError, match="so that one is left"):
        model.prune(axis, count=event.after, selector=selector)


@pytest.mark.parametrize("selector", [s for s in EVERY if s.needs_inputs or s.needs_gradients])
def test_a_criterion_without_the_data_that_it_needs_says_so(selector):
    model = StructuralModel([keras.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"no inputs to measure on|no batch with targets"):
        model.prune("hidden", count=1, selector=selector)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (selectors.Magnitude, {"order": 3}, "`order` must be 1 or 2"),
        (selectors.Activity, {"measure": "size"}, "`measure` must be"),
        (selectors.Taylor, {"average": "none"}, "`average` must be"),
    ],
)
def test_options_that_mean_nothing_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)
