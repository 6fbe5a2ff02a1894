"""Triggers on weights, on the orthogonality gap, on the loss, and by a fixed share."""

import numpy as np
import pytest

from keras_struct.measurements import AxisMeasurement, FanIn
from keras_struct.statistics import orthogonality_gap
from keras_struct.testing import check_trigger
from keras_struct.triggers import Convergence, FractionOfWidth, OrthogonalityGap, Plateau, WeightEffectiveDimension

RNG = np.random.default_rng(0)


def with_weights(weights, kind="dense"):
    fan_in = (FanIn("h/kernel", weights.astype("float32"), lambda new: new),)
    return AxisMeasurement("h", weights.shape[-1], None, kind, fan_in)


def with_loss(loss):
    return AxisMeasurement("h", 4, None, "dense", (), loss=loss)


@pytest.mark.parametrize("shape", [(40, 10), (6, 10), (3, 3, 5, 10)])
def test_the_rank_of_weights_is_that_of_a_singular_value_decomposition(shape):
    weights = RNG.standard_normal(shape)
    flat = weights.reshape(-1, 10)
    flat[:, 3] = flat[:, 2]
    sigma = np.linalg.svd(flat.astype("float32") / np.sqrt(len(flat)), compute_uv=False)
    for epsilon in (0.01, 0.5, 1.0):
        found = WeightEffectiveDimension(epsilon=epsilon).measure(with_weights(weights))
        assert found == (sigma > epsilon).sum() / 10


def test_independent_weights_ask_for_as_many_units_as_the_threshold_leaves():
    case = with_weights(RNG.standard_normal((400, 200)))
    trigger = WeightEffectiveDimension()
    assert trigger.init(case) == 1.0
    assert trigger(case, 1.0) == (2, 1.0)
    check_trigger(trigger, case)


def test_a_layer_never_passes_the_number_of_its_inputs():
    case = with_weights(RNG.standard_normal((50, 60)))
    assert WeightEffectiveDimension()(case, 1.0)[0] == 0


def test_the_gap_trigger_compares_with_the_start():
    hidden = RNG.standard_normal((60, 5))
    case = AxisMeasurement("h", 5, None, "dense", (), orthogonality_gap=lambda: orthogonality_gap(hidden))
    trigger = OrthogonalityGap(gamma=0.5)
    start = trigger.init(case)
    assert trigger(case, start)[0] == int(np.floor(5 * (start - 0.5 * start) + 1e-9))
    assert OrthogonalityGap(gamma=2.0)(case, start)[0] == 0
    check_trigger(trigger, case)


def losses(trigger, values):
    """How many units are asked for after each loss."""
    state, counts = trigger.init(with_loss(None)), []
    for value in values:
        count, state = trigger(with_loss(value), state)
        counts.append(count)
    return counts


def test_convergence_waits_for_a_flat_window_since_the_last_addition():
    trigger = Convergence(units=3, window=3, threshold=0.1)
    #         falls          flat: |a_t - a_{t-3}| < 0.1 * 10
    values = [10.0, 8.0, 6.0, 4.0, 3.9, 3.8, 3.7, 3.7, 3.7, 3.7, 3.7]
    assert losses(trigger, values) == [0, 0, 0, 0, 0, 0, 3, 0, 0, 3, 0]


def test_convergence_remembers_no_more_than_its_window():
    trigger, state = Convergence(window=5), []
    for value in np.linspace(10, 1, 50):
        _, state = trigger(with_loss(value), state)
    assert len(state) <= 7


def test_a_plateau_ends_patience():
    trigger = Plateau(units=2, patience=3, smoothing=0.0, min_delta=0.01)
    assert losses(trigger, [5, 4, 4, 4, 4, 3, 3, 3, 3, 3]) == [0, 0, 0, 0, 2, 0, 0, 0, 2, 0]
    assert losses(trigger, [5, 4, 3, 2, 1]) == [0] * 5


def test_a_plateau_smooths_the_loss_exponentially():
    trigger, smoothed = Plateau(smoothing=0.75, patience=9), None
    state = trigger.init(with_loss(None))
    for loss in (8.0, 4.0, 2.0, 16.0):
        smoothed = loss if smoothed is None else 0.75 * smoothed + 0.25 * loss
        _, state = trigger(with_loss(loss), state)
        assert state["smoothed"] == pytest.approx(smoothed)


@pytest.mark.parametrize("trigger", [Convergence(), Plateau()])
def test_without_a_loss_nothing_happens(trigger):
    state = trigger.init(with_loss(None))
    assert trigger(with_loss(None), state) == (0, state)
    check_trigger(trigger, with_loss(1.0))


def test_a_fraction_is_of_the_width_at_the_start():
    grown = AxisMeasurement("h", 40, None, "dense", (), initial_units=16)
    assert FractionOfWidth(0.25)(grown, None) == (4, None)
    assert FractionOfWidth(0.01)(grown, None) == (1, None)
    check_trigger(FractionOfWidth(), grown)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Convergence(units=0),
        lambda: Convergence(threshold=-1),
        lambda: Plateau(smoothing=1.0),
        lambda: Plateau(patience=0),
        lambda: FractionOfWidth(0.0),
        lambda: WeightEffectiveDimension(gamma=0.0),
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        wrong()
