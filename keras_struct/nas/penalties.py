"""What is added to the loss of architecture weights so that they come to mean one discrete cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.search.penalty import Penalty


class Proximity(Penalty):
    """Pulls weights towards the nearest discrete cell, the stronger the more of the search is over.

    c · ρ/2 · ‖a − Π(a)‖ for the activated weights a of each kind of cell, c from 0 to 1 over the search.

    Args:
        strength: ρ; 0.1 for convolutional, 1.0 for recurrent cells in the paper.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2.2, equation 20).
    """

    def __call__(self, state: Sequence[Any], clock: Any) -> Any:
        """Return the penalty; its gradient by weights that are discrete is zero."""
        ops, total = keras.ops, 0.0
        for layer in self.layers:
            weights = layer.activated()
            gap = weights - ops.stop_gradient(layer.projected(weights))
            total = total + ops.sqrt(ops.maximum(ops.sum(ops.square(gap)), 1e-12))
        return clock * (self.strength / 2) * total


class Admm(Penalty):
    """Pulls weights towards discrete ones that follow them with a delay (alternating direction method of multipliers).

    ρ/2 · ‖a − z + u‖²; every n steps of the architecture z ← Π(a + u), then u ← λ·u + a − z.

    Args:
        strength: ρ.
        every: n.
        discount: λ.
        squared: Whether the norm is squared, as in the text; the authors' code does not.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2.4, equations 23 and 25); Boyd et al., *Distributed Optimization
        and Statistical Learning via the Alternating Direction Method of Multipliers*, 2011.
    """

    def __init__(self, strength: float = 0.1, every: int = 10, discount: float = 0.8, squared: bool = True) -> None:
        super().__init__(strength)
        if every < 1 or not 0 <= discount <= 1:
            raise ValueError(
                f"Admm needs every >= 1 and a discount from 0 to 1. Received: every={every}, discount={discount}"
            )
        self.every, self.discount, self.squared = int(every), float(discount), bool(squared)

    def initial(self) -> list[np.ndarray]:
        """Return z, the nearest discrete weights, and u, zeros, of each layer."""
        found = []
        for layer in self.layers:
            z = keras.ops.convert_to_numpy(layer.projected(layer.activated()))
            found += [np.asarray(z, np.float32), np.zeros_like(z, np.float32)]
        return found

    def __call__(self, state: Sequence[Any], clock: Any) -> Any:
        """Return the penalty."""
        ops, total = keras.ops, 0.0
        for i, layer in enumerate(self.layers):
            gap = layer.activated() - state[2 * i] + state[2 * i + 1]
            squares = ops.sum(ops.square(gap))
            total = total + (squares if self.squared else ops.sqrt(ops.maximum(squares, 1e-12)))
        return (self.strength / 2) * total

    def update(self, state: Sequence[Any], steps: Any) -> list[Any]:
        """Return z and u."""
        ops, found = keras.ops, []
        due = ops.equal(steps % self.every, 0)
        for i, layer in enumerate(self.layers):
            z, u, weights = state[2 * i], state[2 * i + 1], layer.activated()
            new = layer.projected(weights + u)
            found += [ops.where(due, new, z), ops.where(due, self.discount * u + weights - new, u)]
        return found
