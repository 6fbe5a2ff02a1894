"""Incoming and outgoing weights of units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_struct.core.structure.arrays import Floats


@dataclass(frozen=True, eq=False)
class FanIn:
    """Incoming weights of the units of an axis in one layer that makes them.

    Attributes:
        key: `"layer/variable"`.
        read: The weights, or a function that returns them when they are first needed; see `weights`.
        expand: Takes new incoming weights `(..., count)` and returns the array that an edit expects under `key`.
    """

    key: str
    read: Floats | Callable[[], Floats]
    expand: Callable[[Floats], Floats]

    @cached_property
    def weights(self) -> Floats:
        """The weights, `(..., units)`: whatever comes in, units last."""
        return self.read if isinstance(self.read, np.ndarray) else self.read()

    @property
    def norms(self) -> Floats:
        """Euclidean norm of each unit's incoming weights, without bias; shape `(units,)`, float64."""
        flat = self.weights.reshape(-1, self.weights.shape[-1]).astype(np.float64)
        return np.sqrt((flat**2).sum(axis=0))


@dataclass(frozen=True, eq=False)
class FanOut:
    """Outgoing weights of the units of an axis in one layer that reads them.

    Attributes:
        key: `"layer/variable/axis"`.
        weights: Shape `(units, positions, ...)`: units first, then the places at which the layer reads each of them (one,
            or all positions behind a `Flatten`), then the other axes of the variable in their order.
        expand: Takes new outgoing weights `(count, positions, ...)` and returns the array that an edit expects under `key`.
    """

    key: str
    weights: Floats
    expand: Callable[[Floats], Floats]

    @property
    def norms(self) -> Floats:
        """Euclidean norm of each unit's outgoing weights; shape `(units,)`, float64."""
        flat = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        return np.sqrt((flat**2).sum(axis=1))
