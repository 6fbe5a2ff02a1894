"""The gradient trigger counts singular values above the summed gradient norms."""

import numpy as np
import pytest

from keras_struct.measurements import AxisGradients, AxisMeasurement, GradientNorms
from keras_struct.testing import check_trigger
from keras_struct.triggers import AuxiliaryGradient


class Batch:
    """Gradients that are given; `asked` counts how often their matrix was computed."""

    def __init__(self, sigma, incoming, outgoing, bound=None):
        self.sigma, self.incoming, self.outgoing = (np.asarray(part, float) for part in (sigma, incoming, outgoing))
        self.largest, self.asked = self.sigma.max() if bound is None else bound, 0

    def norms(self, axis):
        return GradientNorms(self.incoming, self.outgoing)

    def bound(self, axis):
        return self.largest

    def auxiliary(self, axis, linear=True):
        self.asked += 1
        return np.diag(self.sigma)


def measured(*given, **options):
    return of(Batch(*given, **options))


def of(batch):
    return AxisMeasurement("h", 2, None, "dense", (), gradients=AxisGradients(lambda samples: batch, "h"))


def test_it_counts_singular_values_above_the_sum_of_norms():
    case = measured([5.0, 3.5, 3.0, 1.0], [1.0, 0.5], [1.0, 0.5])
    assert AuxiliaryGradient()(case, None) == (2, None)
    assert AuxiliaryGradient(threshold_factor=0.5)(case, None) == (3, None)


def test_the_matrix_is_not_computed_when_its_bound_is_below_the_threshold():
    batch = Batch([2.0, 1.0], [1.0, 1.0], [1.0, 1.0], bound=3.9)
    assert AuxiliaryGradient()(of(batch), None) == (0, None)
    assert batch.asked == 0


def test_no_gradient_at_all_adds_nothing():
    assert AuxiliaryGradient()(measured([0.0], [0.0], [0.0]), None) == (0, None)
    assert AuxiliaryGradient()(measured([np.nan], [np.nan], [1.0]), None) == (0, None)


def test_it_passes_the_battery():
    check_trigger(AuxiliaryGradient(0.5, samples=8), measured([5.0, 1.0], [1.0], [1.0]))


@pytest.mark.parametrize("wrong", [{"threshold_factor": 0.0}, {"threshold_factor": float("nan")}, {"samples": 0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AuxiliaryGradient(**wrong)
