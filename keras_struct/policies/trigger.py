"""When, where and how many units to add or remove."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from operator import index
from typing import ClassVar, Generic, TypeVar, cast

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import JSON, Policy, check_state

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
        """Return the state of an axis that was edited, by default that of a start.

        `GrowAndPrune(moving_baseline=True)` asks for it after each of its edits; other strategies compare with the start.
        """
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


def checked_answer(trigger: Trigger, answer: object, axis: str, verb: str) -> tuple[int, JSON]:
    """Return how many units a trigger wants, and its new state, if it answered with these.

    Args:
        trigger: The trigger.
        answer: What it returned.
        axis: Name of the axis that it was asked about.
        verb: What is to be done with the units, for messages.

    Raises:
        TypeError: If the answer is not a whole number and a state that can be saved.
        ValueError: If the number is negative.
    """
    name = type(trigger).__name__
    try:
        count, state = cast("tuple[int, JSON]", answer)
        count = index(count)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Trigger {name} must return how many units to {verb}, an int, and its new state: `return 0, state`. Received for "
            f"axis '{axis}': {answer!r}"
        ) from error
    if count < 0:
        raise ValueError(
            f"Trigger {name} must return 0 or more units to {verb}. Received for axis '{axis}': {count}. Units "
            f"{'are taken away by Prune' if verb == 'grow' else 'are added by Grow'}, with a trigger of its own."
        )
    check_state(trigger, state, f"for axis '{axis}'")
    return count, state
