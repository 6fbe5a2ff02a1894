"""Projected gradient ascent on a few arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_struct.core.structure.arrays import Floats

_DECAYS = (0.9, 0.999)
_SMALL = 1e-12


def ascend(
    start: Floats,
    gradient: Callable[[Floats], Floats],
    steps: int,
    learning_rate: float,
    project: Callable[[Floats], Floats],
) -> Floats:
    """Ascend by Adam, projecting after each step.

    Args:
        start: Where to start.
        gradient: Returns the gradient at a point, of its shape.
        steps: How many steps.
        learning_rate: Size of the first step in each entry; it falls linearly to 0.
        project: Returns the nearest allowed point.

    Returns:
        Where it ends, float64.
    """
    point: Floats = np.asarray(start, np.float64)
    mean, square = np.zeros_like(point), np.zeros_like(point)
    for step in range(1, steps + 1):
        slope = np.asarray(gradient(point), np.float64)
        mean = _DECAYS[0] * mean + (1 - _DECAYS[0]) * slope
        square = _DECAYS[1] * square + (1 - _DECAYS[1]) * slope**2
        corrected = np.sqrt(square / (1 - _DECAYS[1] ** step)) + _SMALL
        rate = learning_rate * (1 - (step - 1) / steps)
        point = project(point + rate * (mean / (1 - _DECAYS[0] ** step)) / corrected)
    return point
