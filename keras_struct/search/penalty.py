"""What is added to the loss of architecture weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class Penalty(ABC):
    """Added to the loss of the architecture weights of some layers.

    Attributes:
        layers: The layers that make these weights, such as `ArchitectureWeights`.

    Args:
        strength: ρ.
    """

    def __init__(self, strength: float = 0.1) -> None:
        if not strength >= 0:
            raise ValueError(f"`strength` must not be negative. Received: strength={strength}")
        self.strength = float(strength)
        self.layers: list[Any] = []

    def watch(self, layers: Sequence[Any]) -> None:
        """Take the layers whose weights are penalised."""
        self.layers = list(layers)

    def initial(self) -> list[np.ndarray]:
        """Return what the penalty remembers, before the first step."""
        return []

    @abstractmethod
    def __call__(self, state: Sequence[Any], clock: Any) -> Any:
        """Return the penalty.

        Args:
            state: As `initial`.
            clock: How much of the search is over, 0 to 1.
        """

    def update(self, state: Sequence[Any], steps: Any) -> list[Any]:
        """Return what the penalty remembers after a step of the architecture, of which there were so many."""
        return list(state)
