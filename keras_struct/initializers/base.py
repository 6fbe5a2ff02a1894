"""How new units get their weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keras_struct.structure.policy import Policy


@dataclass(frozen=True)
class Initializer(Policy):
    """Gives weights to new units of one axis. Subclasses are frozen dataclasses."""

    needs_inputs: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, measured: Any, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Return the new weights.

        Args:
            measured: `AxisMeasurement` of the axis.
            count: Number of new units.
            rng: Source of randomness.

        Returns:
            New entries by `"layer/variable"`; what is missing gets its default: biases and outgoing weights of zero.
        """


def random_fan_in(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw incoming weights uniformly (Glorot) and scale each unit to the mean norm of the existing ones.

    Args:
        weights: Existing incoming weights, shape `(..., units)`.
        count: How many to draw.
        rng: Source of randomness.

    Returns:
        Shape `(..., count)`, float64.
    """
    shape = weights.shape[:-1]
    fan_in, fan_out = int(np.prod(shape)), weights.shape[-1] + count
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return to_mean_norm(rng.uniform(-limit, limit, (*shape, count)), weights)


def to_mean_norm(new: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scale each new unit's weights `(..., count)` to the mean Euclidean norm of the existing units' `(..., units)`."""
    mean = _norms(weights).mean()
    return new * (mean / np.maximum(_norms(new), 1e-30)) if mean > 0 else new


def _norms(weights: np.ndarray) -> np.ndarray:
    flat = weights.reshape(-1, weights.shape[-1])
    return np.sqrt(np.einsum("ij,ij->j", flat, flat)).astype(np.float64)
