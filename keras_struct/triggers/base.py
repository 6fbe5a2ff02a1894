"""When, where and how many units to add or remove."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from keras_struct.structure.policy import Policy


@dataclass(frozen=True)
class Trigger(Policy):
    """Says for one axis how many units to add, or to remove if it is that of `Prune`.

    Subclasses are frozen dataclasses; memory is passed in and out.

    Attributes:
        needs_inputs: Whether it looks at activations.
        needs_gradients: Whether it looks at gradients of the loss.
    """

    usual: ClassVar[str] = "EffectiveDimension()"
    needs_inputs: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def init(self, measured: Any) -> Any:
        """Return the state to start from, given the first measurement of an axis."""

    @abstractmethod
    def __call__(self, measured: Any, state: Any) -> tuple[int, Any]:
        """Return how many units to add or remove (0 or more), and the new state.

        The state is made of numbers, strings, lists and dictionaries, so that it can be saved with the model.
        """

    def renewed(self, measured: Any) -> Any:
        """Return the state of an axis that was edited, where its baseline is to move; by default that of a start."""
        return self.init(measured)

    def starts_from(self, baseline: float = 1.0) -> int | None:
        """Return the smallest width of an axis at which it can fire at all, or `None` if there is none.

        Args:
            baseline: What it compares a measurement with, where it does.
        """
        return 1

    def cannot_fire(self, measured: Any, state: Any) -> str | None:
        """Return why it cannot fire at the present width, whatever comes, and what to change; or `None` if it can.

        Asked at the end of an epoch, for one warning.
        """
        return None

    def caution(self, measured: Any, state: Any) -> str | None:
        """Return what a user should know of the state to start from, or `None`."""
        return None
