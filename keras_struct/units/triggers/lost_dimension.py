"""Pruning where units came to depend on each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import ClassVar

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.trigger import Trigger
from keras_struct.units.triggers.effective_dimension import EffectiveDimension


@dataclass(frozen=True)
class LostDimension(Trigger[float]):
    """Remove units when the effective dimension of post-activations falls below (1 - δ) times its baseline.

    Of M units, max(0, ⌊M ((1 - δ) φ* - φ)⌋) (eq. 38), with the effective dimension φ and its value φ* at the baseline: the
    start, or in `GrowAndPrune` the last edit of the layer.

    Args:
        delta: Threshold δ.
        epsilon: Threshold ε of singular values of H/√n.
        start: φ* of every axis at the start, in place of a measurement.

    Raises:
        ValueError: If a value is out of range; in training, if there are no more rows of activations than units.

    References:
        Maile et al., thesis section 7.2, equation 38, in which `min` is a misprint for `max`.
    """

    delta: float = 0.03
    epsilon: float = 0.01
    start: float | None = None

    needs_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1 or not self.epsilon > 0:
            raise ValueError(
                "`delta` must lie between 0 and 1 and `epsilon` be positive. Received: "
                f"delta={self.delta}, epsilon={self.epsilon}"
            )
        if self.start is not None and not 0 < self.start <= 1:
            raise ValueError(f"`start` must be None, or lie above 0 and be at most 1. Received: start={self.start}")

    def init(self, measured: AxisMeasurement) -> float:
        """Return `start`, or the effective dimension φ*."""
        return self.renewed(measured) if self.start is None else self.start

    def renewed(self, measured: AxisMeasurement) -> float:
        """Return the effective dimension as it is now."""
        return EffectiveDimension(epsilon=self.epsilon).measure(measured)

    def cannot_fire(self, measured: AxisMeasurement, state: float) -> str | None:
        """Return why nothing can be removed whatever φ is, and what to change."""
        most = measured.units * (1 - self.delta) * state
        if floor(most + 1e-9) > 0:
            return None
        return f"LostDimension removes M ((1 - δ) φ* - φ) units, {most:.2f} at most, rounded down: take `start=1.0`"

    def __call__(self, measured: AxisMeasurement, state: float) -> tuple[int, float]:
        """Return how many units to remove, and the baseline."""
        missing = measured.units * ((1 - self.delta) * state - self.renewed(measured))
        return max(0, floor(missing + 1e-9)), state
