"""Growth when the loss no longer falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.trigger import Trigger


@dataclass(frozen=True)
class Convergence(Trigger[list[float]]):
    """Add units when the loss has flattened out since the last addition (Ash).

    With losses `a_t` and the time `t₀` of the last addition, `units` are added when `t ≥ t₀ + window` and

        |a_t − a_{t−window}| / a_{t₀} < threshold

    Time counts looks at the structure: every gradient step, unless the schedule says otherwise. The loss of a step is that
    of its batch, so choose the window larger than its noise.

    Args:
        units: How many units to add to an axis.
        window: How far to look back.
        threshold: Relative slope below which the loss counts as flat.

    Raises:
        ValueError: If a value is not positive.

    References:
        Ash, *Dynamic Node Creation in Backpropagation Networks*, Connection Science 1(4), 1989, section 3.
    """

    units: int = 1
    window: int = 100
    threshold: float = 0.05

    def __post_init__(self) -> None:
        _check_positive(units=self.units, window=self.window, threshold=self.threshold)

    def init(self, measured: AxisMeasurement) -> list[float]:
        """Return the losses since the last addition: none."""
        return []

    def __call__(self, measured: AxisMeasurement, state: list[float]) -> tuple[int, list[float]]:
        """Return `units` when the loss is flat, else 0, and the first and the recent losses."""
        if measured.loss is None:
            return 0, state
        losses = [*state, float(measured.loss)]
        if len(losses) <= self.window:
            return 0, losses
        first, past = losses[0], losses[-1 - self.window]
        if abs(losses[-1] - past) < self.threshold * abs(first):
            return self.units, [losses[-1]]
        return 0, [first, *losses[-self.window :]] if len(losses) > self.window + 1 else losses

    def cannot_fire(self, measured: AxisMeasurement, state: list[float]) -> str | None:
        """Return that no loss was seen, if that is so."""
        return _without_loss(measured)


class PlateauState(TypedDict):
    """What `Plateau` remembers of an axis.

    Attributes:
        smoothed: The smoothed loss; `None` before the first one.
        best: The smallest smoothed loss.
        waited: How many evaluations ago that was.
    """

    smoothed: float | None
    best: float | None
    waited: int


@dataclass(frozen=True)
class Plateau(Trigger[PlateauState]):
    """Add units when the smoothed loss has not improved for a while, as `keras.callbacks.ReduceLROnPlateau` would act.

    Args:
        units: How many units to add to an axis.
        patience: How many evaluations without improvement to wait.
        min_delta: Smallest relative fall of the smoothed loss that counts as improvement.
        smoothing: Weight of the past in the exponential moving average of the loss, from 0 (none) to below 1.

    Raises:
        ValueError: If a value is out of range.
    """

    units: int = 1
    patience: int = 100
    min_delta: float = 1e-3
    smoothing: float = 0.95

    def __post_init__(self) -> None:
        _check_positive(units=self.units, patience=self.patience)
        if not 0 <= self.smoothing < 1 or not self.min_delta >= 0:
            raise ValueError(
                "`smoothing` must be at least 0 and below 1, and `min_delta` not negative. Received: "
                f"smoothing={self.smoothing}, min_delta={self.min_delta}"
            )

    def init(self, measured: AxisMeasurement) -> PlateauState:
        """Return the smoothed loss, the best one, and how long ago that was."""
        return {"smoothed": None, "best": None, "waited": 0}

    def __call__(self, measured: AxisMeasurement, state: PlateauState) -> tuple[int, PlateauState]:
        """Return `units` when patience is at its end, else 0."""
        if measured.loss is None:
            return 0, state
        loss, past, best = float(measured.loss), state["smoothed"], state["best"]
        smoothed = loss if past is None else self.smoothing * past + (1 - self.smoothing) * loss
        if best is None or smoothed < best - self.min_delta * abs(best):
            return 0, {"smoothed": smoothed, "best": smoothed, "waited": 0}
        if state["waited"] + 1 < self.patience:
            return 0, {"smoothed": smoothed, "best": best, "waited": state["waited"] + 1}
        return self.units, {"smoothed": smoothed, "best": smoothed, "waited": 0}

    def cannot_fire(self, measured: AxisMeasurement, state: PlateauState) -> str | None:
        """Return that no loss was seen, if that is so."""
        return _without_loss(measured)


def _without_loss(measured: AxisMeasurement) -> str | None:
    if measured.loss is not None:
        return None
    return 'the loss of the last step is not known: pass `logs` with a "loss" to `structural_step`, or train with `fit`'


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
