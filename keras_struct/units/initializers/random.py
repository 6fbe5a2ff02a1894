"""Random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.initializer import Initializer, check_zero_fan_in, outgoing, random_fan_in


@dataclass(frozen=True)
class RandomFanIn(Initializer):
    """Random incoming weights of the mean norm of the existing units; bias and outgoing weights zero.

    The function of the network does not change.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, RandomInit).
    """

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Draw the incoming weights for every layer that makes the units."""
        return {fan.key: fan.expand(random_fan_in(fan.weights, count, rng)) for fan in measured.fan_in}


@dataclass(frozen=True)
class RandomFanOut(Initializer):
    """Random outgoing weights, normal in direction, of the mean norm of the existing units; incoming weights and bias zero.

    The function of the network does not change. Needs an activation with value 0 and derivative other than 0 at 0.

    Args:
        scale: Norm of the outgoing weights, in units of the mean norm of the existing ones.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022, the baseline "Random".
        Differs from the authors' code, which draws from the positive numbers only.
    """

    scale: float = 1.0

    def check(self, measured: AxisMeasurement) -> None:
        """Raise a ValueError if units without incoming weights would change the function, or never train."""
        check_zero_fan_in(measured, type(self).__name__)

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Draw the outgoing weights for every layer that reads the units."""
        total = sum(int(np.prod(fan.weights.shape[1:])) for fan in measured.fan_out())
        return outgoing(measured, rng.standard_normal((count, total)), self.scale)
