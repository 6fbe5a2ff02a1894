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

    needs_inputs: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def init(self, measured: Any) -> Any:
        """Return the state to start from, given the first measurement of an axis."""

    @abstractmethod
    def __call__(self, measured: Any, state: Any) -> tuple[int, Any]:
        """Return how many units to add or remove (0 or more), and the new state."""
