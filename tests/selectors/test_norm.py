"""Which units go."""

import numpy as np
import pytest

from keras_struct.measurements import AxisMeasurement, FanIn, FanOut
from keras_struct.policies.selector import numbers
from keras_struct.selectors import SmallestNorm

WEIGHTS = np.array([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]])


def measured():
    fan_in = (FanIn("h/kernel", WEIGHTS, lambda new: new),)
    fan_out = (FanOut("o/kernel/0", np.array([[[1.0]], [[1.0]], [[9.0]]]), lambda new: new),)
    return AxisMeasurement("h", 3, None, "dense", fan_in, lambda: fan_out)


def test_units_with_the_smallest_product_of_norms_go_first():
    assert SmallestNorm()(measured(), 2) == [1, 0]


@pytest.mark.parametrize("count", [0, 3, 4])
def test_one_unit_must_stay(count):
    with pytest.raises(ValueError, match="so that one is left"):
        SmallestNorm()(measured(), count)


@pytest.mark.parametrize(("dtype", "found"), [("float64", "float64"), ("float32", "float32"), ("int8", "float64")])
def test_saliencies_are_floating_point_numbers(dtype, found):
    scores = numbers(SmallestNorm(), np.arange(3).astype(dtype), (3,), "each unit")
    assert scores.dtype == found
    assert scores.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "scores", [[0.0, 1.0, 2.0], np.zeros(4), np.zeros((3, 1)), np.zeros(3, complex), np.array(list("abc"))]
)
def test_saliencies_that_are_no_array_of_real_numbers_for_each_unit_are_refused(scores):
    with pytest.raises(TypeError, match="a saliency for each unit, a NumPy array of real numbers"):
        numbers(SmallestNorm(), scores, (3,), "each unit")
