"""What policies get to see of one unit axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class FanIn:
    """Incoming weights of the units of an axis in one layer that makes them.

    Attributes:
        key: `"layer/variable"`.
        weights: Shape `(..., units)`: whatever comes in, units last.
        expand: Takes new incoming weights `(..., count)` and returns the array that an edit expects under `key`.
    """

    key: str
    weights: np.ndarray
    expand: Callable[[np.ndarray], np.ndarray]

    @property
    def norms(self) -> np.ndarray:
        """Euclidean norm of each unit's incoming weights, without bias; shape `(units,)`, float64."""
        flat = self.weights.reshape(-1, self.weights.shape[-1]).astype(np.float64)
        return np.sqrt((flat**2).sum(axis=0))


@dataclass(frozen=True)
class AxisMeasurement:
    """One unit axis of a running network. Expensive parts are computed when they are asked for.

    Attributes:
        axis: Its name.
        units: Its width, M.
        max_units: Largest width it may have, or `None`.
        kind: `"conv"` if its first layer is a convolution, else `"dense"`.
        fan_in: Incoming weights, one entry for each layer that makes the units.
        fan_out: Returns the outgoing weights, one array `(units, ...)` for each layer that reads them.
        gram: Returns the Gram matrix HᵀH/n of the post-activations, `(M, M)` float64.
        samples: Returns n, the number of rows of H: samples times positions.
        candidates: Takes incoming weights `(..., K)` of candidate units and returns, in float64, their products with the
            existing units HᵀC/n `(M, K)` and their mean squares `(K,)`.
    """

    axis: str
    units: int
    max_units: int | None
    kind: str
    fan_in: tuple[FanIn, ...]
    fan_out: Callable[[], tuple[np.ndarray, ...]] = tuple
    gram: Callable[[], np.ndarray] = field(default=lambda: _no_inputs())
    samples: Callable[[], int] = field(default=lambda: _no_inputs())
    candidates: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = field(default=lambda kernels: _no_inputs())

    @property
    def room(self) -> int:
        """How many units may still be added."""
        return 2**31 if self.max_units is None else max(0, self.max_units - self.units)


def _no_inputs():
    raise ValueError(
        "There are no inputs to measure on. Pass `probe=x` to compile, or train for some steps so that recent inputs are "
        "kept."
    )
