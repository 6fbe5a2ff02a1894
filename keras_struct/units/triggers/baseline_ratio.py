"""Growth while a measure of units stays above a share of its baseline."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil, floor
from typing import ClassVar, Literal

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.trigger import Trigger

_SLACK = 1e-9
"""Of rounding, so that M (φ − γ φ₀) = 5 is 5 units, whatever the last bit says."""


@dataclass(frozen=True)
class BaselineRatio(Trigger[float], aliases=("keras_struct>Orthogonality",)):
    """Base of triggers that add units while a measure of how independent they are stays above γ times its baseline.

    For a measure φ of M units, `T = max(0, ⌊M (φ − γ φ₀)⌋)`. Subclasses say what φ is.

    Args:
        gamma: Threshold factor γ, close to 1.
        baseline: What φ₀ is: `"initial"`, the measure at the start; `"running_max"`, its maximum over earlier steps; or
            `"auto"`, the maximum for convolutions and the initial measure otherwise. The maximum is updated after it was used.
        rounding: `"floor"` as printed, or `"ceil"`, which adds more units.
        start: φ₀ of every axis at the start, in place of a measurement.

    Raises:
        ValueError: If a value is out of range.

    As φ is at most 1, T is 0 at every width below 1 / (1 − γ φ₀) with `rounding="floor"`: with γ = 0.97 and units that are
    independent at the start, below 34. `starts_from` computes it.
    """

    gamma: float = 0.97
    baseline: Literal["auto", "initial", "running_max"] = "auto"
    rounding: Literal["floor", "ceil"] = "floor"
    start: float | None = None

    removed_fields: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma > 0:
            raise ValueError(f"`gamma` must be positive. Received: gamma={self.gamma}")
        if self.start is not None and not 0 < self.start <= 1:
            raise ValueError(f"`start` must be None, or lie above 0 and be at most 1. Received: start={self.start}")
        for name, value, allowed in (
            ("baseline", self.baseline, ("auto", "initial", "running_max")),
            ("rounding", self.rounding, ("floor", "ceil")),
        ):
            if value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}")

    @abstractmethod
    def measure(self, measured: AxisMeasurement) -> float:
        """Return φ."""

    def init(self, measured: AxisMeasurement) -> float:
        """Return `start`, or the measure at the start."""
        return self.measure(measured) if self.start is None else self.start

    def renewed(self, measured: AxisMeasurement) -> float:
        """Return the measure as it is now."""
        return self.measure(measured)

    def largest(self, measured: AxisMeasurement) -> float:
        """Return the largest φ that there can be at the present width."""
        return 1.0

    def __call__(self, measured: AxisMeasurement, state: float) -> tuple[int, float]:
        """Return T, and the baseline for the next step."""
        found = self.measure(measured)
        count = self._rounded(measured.units * (found - self.gamma * state))
        return max(0, count), max(state, found) if self._keeps_maximum(measured.kind) else state

    def _rounded(self, missing: float) -> int:
        return floor(missing + _SLACK) if self.rounding == "floor" else ceil(missing - _SLACK)

    def starts_from(self, baseline: float = 1.0) -> int | None:
        """Return the smallest width at which T can be above 0, for a φ₀; `None` if there is none.

        >>> EffectiveDimension(gamma=0.97).starts_from(), EffectiveDimension(gamma=0.97).starts_from(0.5)
        (34, 2)
        """
        share = 1 - self.gamma * baseline
        if share <= _SLACK:
            return None
        return 1 if self.rounding == "ceil" else ceil((1 - _SLACK) / share)

    def cannot_fire(self, measured: AxisMeasurement, state: float) -> str | None:
        """Return why T is 0 for every φ, and what to change."""
        units, largest = measured.units, self.largest(measured)
        most = units * (largest - self.gamma * state)
        if self._rounded(most) > 0:
            return None
        lower = (largest - (1 / units if self.rounding == "floor" else 0)) / state if state > 0 else 0.0
        ways = [f"`gamma` of at most {floor(lower * 1000) / 1000:g}"] if lower >= 0.001 else []
        ways += ['`rounding="ceil"`'] if self.rounding == "floor" and most > _SLACK else []
        width = self.starts_from(state) if largest == 1.0 else None
        ways += [f"at least {width} units at the start"] if width is not None else []
        remedy = f"take {' or '.join(ways)}" if ways else "take another trigger"
        return (
            f"{type(self).__name__} adds M (φ - γ φ₀) units, {units} ({largest:.3g} - {self.gamma:g} × {state:.3g}) = {most:.2f} "
            f"at most{', rounded down' if self.rounding == 'floor' else ''}: {remedy}"
        )

    def _keeps_maximum(self, kind: str) -> bool:
        return self.baseline == "running_max" or (self.baseline == "auto" and kind == "conv")
