"""The gradient trigger counts singular values above the summed gradient norms."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_struct.testing import check_trigger
from keras_struct.triggers import AuxiliaryGradient


def measured(sigma, incoming, outgoing, bound=None):
    asked = []

    def auxiliary(samples=None):
        asked.append(samples)
        return np.diag(np.asarray(sigma, float))

    gradients = SimpleNamespace(
        norms=lambda samples=None: (np.asarray(incoming, float), np.asarray(outgoing, float)),
        bound=lambda samples=None: max(sigma) if bound is None else bound,
        auxiliary=auxiliary,
        asked=asked,
    )
    return SimpleNamespace(axis="h", units=2, gradients=gradients)


def test_it_counts_singular_values_above_the_sum_of_norms():
    case = measured([5.0, 3.5, 3.0, 1.0], [1.0, 0.5], [1.0, 0.5])
    assert AuxiliaryGradient()(case, None) == (2, None)
    assert AuxiliaryGradient(threshold_factor=0.5)(case, None) == (3, None)


def test_the_matrix_is_not_computed_when_its_bound_is_below_the_threshold():
    case = measured([2.0, 1.0], [1.0, 1.0], [1.0, 1.0], bound=3.9)
    assert AuxiliaryGradient()(case, None) == (0, None)
    assert case.gradients.asked == []


def test_no_gradient_at_all_adds_nothing():
    assert AuxiliaryGradient()(measured([0.0], [0.0], [0.0]), None) == (0, None)
    assert AuxiliaryGradient()(measured([np.nan], [np.nan], [1.0]), None) == (0, None)


def test_it_passes_the_battery():
    check_trigger(AuxiliaryGradient(0.5, samples=8), measured([5.0, 1.0], [1.0], [1.0]))


@pytest.mark.parametrize("wrong", [{"threshold_factor": 0.0}, {"threshold_factor": float("nan")}, {"samples": 0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AuxiliaryGradient(**wrong)
