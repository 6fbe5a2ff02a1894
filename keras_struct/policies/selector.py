"""What every selector shares."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.edits import Resize, prune
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import Policy


@dataclass(frozen=True)
class Selector(Policy):
    """Chooses units of one axis, those to remove first. A subclass says how much each unit is worth."""

    usual: ClassVar[str] = "SmallestNorm()"
    needs_inputs: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the saliency of each unit of an `AxisMeasurement`, `(M,)`: units with the smallest go first."""

    def checked_scores(self, measured: AxisMeasurement) -> Floats:
        """Return the scores, once they are what they must be.

        Raises:
            TypeError: If there is not one real number for each unit.
            MeasurementError: If some are NaN or infinite.
        """
        scores = numbers(self, self.scores(measured), (measured.units,), f"each unit of axis '{measured.axis}'")
        if not np.isfinite(scores).all():
            raise MeasurementError(
                f"Cannot rank the units of axis '{measured.axis}': some saliencies are NaN or infinite. Check weights and data."
            )
        return scores

    def __call__(self, measured: AxisMeasurement, count: int) -> list[int]:
        """Return the indices of `count` units of the measured axis, the first to go first.

        Raises:
            ValueError: If `count` is not between 1 and one less than the width, or saliencies are not finite.
            TypeError: If `scores` does not return one real number for each unit.
        """
        check_count(measured, count)
        return np.argsort(self.checked_scores(measured), kind="stable")[:count].tolist()

    def propose(self, measured: AxisMeasurement, count: int) -> Resize:
        """Return the edit that removes `count` units.

        Raises:
            ValueError, TypeError: As calling it does.
        """
        return prune(measured.axis, measured.units, self(measured, count))


def check_count(measured: AxisMeasurement, count: int) -> None:
    """Raise a ValueError unless `count` units can go and one stays."""
    if not 1 <= count < measured.units:
        raise ValueError(
            f"Cannot select {count} of the {measured.units} units of axis '{measured.axis}': select 1 to "
            f"{measured.units - 1}, so that one is left. To leave the layer out, call the layers behind it on what enters it, "
            "and put the result into a new StructuralModel(inputs, outputs); they keep their weights where shapes fit."
        )


def numbers(selector: Policy, scores: object, shape: tuple[int, ...], what: str) -> Floats:
    """Return saliencies as an array of real numbers.

    Args:
        selector: What returned them.
        scores: What it returned.
        shape: The shape that they must have.
        what: What has one of them, for the message.

    Raises:
        TypeError: If they are something else.
    """
    received = repr(scores)
    if isinstance(scores, np.ndarray):
        if scores.shape == shape and scores.dtype.kind in "biuf":
            return scores if scores.dtype.kind == "f" else scores.astype(np.float64)
        received = f"shape {scores.shape}, {scores.dtype}"
    raise TypeError(
        f"`scores` of {type(selector).__name__} must return a saliency for {what}, a NumPy array of real numbers of shape "
        f"{shape}. Received: {received}"
    )
