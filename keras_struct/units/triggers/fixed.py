"""Growth by a fixed share."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.trigger import Trigger


@dataclass(frozen=True)
class FractionOfWidth(Trigger[None]):
    """Add a fraction of the initial width, rounded, at least one unit, whenever the schedule says so.

    Args:
        fraction: Share of the width that an axis had when the model was built.

    Raises:
        ValueError: If the fraction is not positive.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022: 0.25 every 2500 steps.
    """

    fraction: float = 0.25

    def __post_init__(self) -> None:
        if not self.fraction > 0:
            raise ValueError(f"`fraction` must be positive. Received: fraction={self.fraction}")

    def init(self, measured: AxisMeasurement) -> None:
        """There is nothing to remember."""
        return

    def __call__(self, measured: AxisMeasurement, state: None) -> tuple[int, None]:
        """Return how many units to add."""
        return max(1, round(self.fraction * (measured.initial_units or measured.units))), None
