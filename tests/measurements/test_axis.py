"""What policies see of an axis: lazy, immutable, and clear about what is missing."""

import dataclasses

import numpy as np
import pytest

from keras_struct.measurements import (
    AxisGradients,
    AxisMeasurement,
    FanIn,
    FanOut,
    GradientNorms,
    UnitActivity,
    UnitGradients,
)


def axis(units=3, **more):
    return AxisMeasurement("h", units, None, "dense", (), **more)


@pytest.mark.parametrize("part", ["gram", "samples", "orthogonality_gap", "input_gram", "activity"])
def test_without_inputs_each_part_says_what_to_pass(part):
    with pytest.raises(ValueError, match=r"There are no inputs to measure on.*`data=x`.*`probe=x`"):
        getattr(axis(), part)()


def test_candidates_need_inputs_too():
    with pytest.raises(ValueError, match="There are no inputs to measure on"):
        axis().candidates(np.ones((2, 1)))
    with pytest.raises(ValueError, match="There are no inputs to measure on"):
        axis().candidate_gradients(np.ones((2, 1)), np.ones((3, 1)), np.ones(1))


@pytest.mark.parametrize(
    "ask",
    [
        lambda gradients: gradients.norms(),
        lambda gradients: gradients.bound(8),
        lambda gradients: gradients.auxiliary(linear=False),
        lambda gradients: gradients.virtual(None, [np.ones((1, 1, 2))]),
        lambda gradients: gradients.gates(),
        lambda gradients: gradients.losses_without(),
        lambda gradients: gradients.losses(np.ones((2, 1)), [np.ones((1, 1, 2))]),
    ],
)
def test_without_a_batch_each_gradient_says_what_to_pass(ask):
    with pytest.raises(ValueError, match=r"no batch with targets.*`data=\(x, y\)`.*`probe=x, targets=y`"):
        ask(axis().gradients)


def test_what_needs_no_data_has_a_value():
    measured = axis()
    assert (measured.slope(), measured.offset(), measured.bias(), measured.normalization()) == (1.0, 0.0, None, None)
    assert measured.fan_out() == ()
    assert measured.affordable(5, {}, 10, None) == 5
    assert measured.room == 2**31
    assert [dataclasses.replace(measured, max_units=limit).room for limit in (7, 3, 2)] == [4, 0, 0]


def test_measurements_are_not_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        axis().units = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        axis().gradients.axis = "g"


def test_what_is_computed_once_is_not_taken_over_into_another_measurement():
    measured, calls = axis(), []
    for _ in range(2):
        assert measured.once("key", lambda: len(calls.append(1) or calls)) == 1
    assert measured.once("other", lambda: 2) == 2
    assert dataclasses.replace(measured, units=4).once("key", lambda: 3) == 3


def test_a_warning_is_one_of_python():
    with pytest.warns(UserWarning, match="few units"):
        axis().warn("key", "few units")


def test_incoming_weights_are_read_when_they_are_needed_and_once():
    reads, weights = [], np.arange(12, dtype="float32").reshape(2, 2, 3)
    fan = FanIn("h/kernel", lambda: reads.append(1) or weights, lambda new: new)
    assert reads == []
    np.testing.assert_allclose(fan.norms, np.sqrt((weights.reshape(4, 3).astype(float) ** 2).sum(axis=0)))
    assert fan.weights is weights
    assert reads == [1]
    assert FanIn("h/kernel", weights, lambda new: new).weights is weights


def test_norms_of_outgoing_weights_are_over_all_places():
    weights = np.arange(24, dtype="float32").reshape(2, 3, 4)
    found = FanOut("o/kernel/0", weights, lambda new: new).norms
    np.testing.assert_allclose(found, np.linalg.norm(weights.reshape(2, 12).astype(float), axis=1))
    assert found.dtype == np.float64


class Batch:
    """Answers with what it was asked."""

    def __init__(self, samples):
        self.samples = samples

    def norms(self, axis):
        return GradientNorms(np.array([self.samples]), np.array([axis]))

    def auxiliary(self, axis, linear=True):
        return np.array([self.samples, axis, linear], object)

    def virtual(self, axis, fan_in, fan_out, bias=None, linear=False):
        return UnitGradients(np.array([self.samples, axis, linear], object), list(fan_out))

    def gate_derivatives(self, axis):
        return np.array([self.samples, axis], object)


def test_gradients_are_those_of_the_axis_on_as_many_samples_as_are_asked_for():
    gradients = AxisGradients(Batch, "h")
    assert gradients.norms(8).incoming.tolist() == [8]
    assert gradients.norms().outgoing.tolist() == ["h"]
    assert gradients.auxiliary().tolist() == [None, "h", True]
    assert gradients.auxiliary(linear=False, samples=4).tolist() == [4, "h", False]
    assert gradients.virtual(None, [np.ones(1)], linear=True).fan_in.tolist() == [None, "h", True]
    assert gradients.gates(2).tolist() == [2, "h"]


def test_results_of_several_arrays_have_names_and_can_be_unpacked():
    mean, magnitude, zeros = activity = UnitActivity(*np.eye(3))
    assert (activity.mean is mean, activity.magnitude is magnitude, activity.zeros is zeros) == (True,) * 3
