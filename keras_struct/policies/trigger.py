"""When, where and how many units to add or remove."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import Policy

Remembered = TypeVar("Remembered")
"""What a trigger remembers of an axis: numbers, strings, lists and dictionaries."""


@dataclass(frozen=True)
class Trigger(Policy, Generic[Remembered]):
    """Says for one axis how many units to add, or to remove if it is that of `Prune`.

    Subclasses are frozen dataclasses; memory is passed in and out. Its type is the parameter: a `Trigger[float]` remembers a
    number of each axis, a `Trigger[None]` nothing.

    Attributes:
        needs_inputs: Whether it looks at activations.
        needs_gradients: Whether it looks at gradients of the loss.
    """

    usual: ClassVar[str] = "EffectiveDimension()"
    needs_inputs: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def init(self, measured: AxisMeasurement) -> Remembered:
        """Return the state to start from, given the first measurement of an axis."""

    @abstractmethod
    def __call__(self, measured: AxisMeasurement, state: Remembered) -> tuple[int, Remembered]:
        """Return how many units to add or remove (0 or more), and the new state.

        The state is made of numbers, strings, lists and dictionaries, so that it can be saved with the model.
        """

    def renewed(self, measured: AxisMeasurement) -> Remembered:
        """Return the state of an axis that was edited, where its baseline is to move; by default that of a start."""
        return self.init(measured)

    def starts_from(self, baseline: float = 1.0) -> int | None:
        """Return the smallest width of an axis at which it can fire at all, or `None` if there is none.

        Args:
            baseline: What it compares a measurement with, where it does.
        """
        return 1

    def cannot_fire(self, measured: AxisMeasurement, state: Remembered) -> str | None:
        """Return why it cannot fire at the present width, whatever comes, and what to change; or `None` if it can.

        Asked at the end of an epoch, for one warning.
        """
        return None

    def caution(self, measured: AxisMeasurement, state: Remembered) -> str | None:
        """Return what a user should know of the state to start from, or `None`."""
        return None
