"""Which units go."""

import numpy as np
import pytest

from keras_struct.measurements import AxisMeasurement, FanIn, FanOut
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
