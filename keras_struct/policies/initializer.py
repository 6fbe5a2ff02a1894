"""How new units get their weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.edits import Resize, grow
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import Policy


@dataclass(frozen=True)
class Initializer(Policy):
    """Gives weights to new units of one axis. Subclasses are frozen dataclasses.

    A subclass implements `__call__`, and `capacity` if there is a limit to the units that it can make; one that copies
    or divides existing units overrides `propose` as well.

    Attributes:
        needs_inputs: Whether it looks at activations.
        needs_gradients: Whether it looks at gradients of the loss.
        limited_by: What limits `capacity`, and what to do about it, as a sentence for a warning.
    """

    usual: ClassVar[str] = "RandomFanIn()"
    needs_inputs: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False
    limited_by: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Return the new weights.

        Args:
            measured: `AxisMeasurement` of the axis.
            count: Number of new units.
            rng: Source of randomness.

        Returns:
            New entries by `"layer/variable"`; what is missing gets its default: zero for weights and biases.
        """

    def check(self, measured: AxisMeasurement) -> None:
        """Raise an AxisRefused if it cannot work on an axis at all. Called before training, and with each proposal."""
        return

    def capacity(self, measured: AxisMeasurement) -> int | None:
        """Return how many units can be made now, or `None` for as many as wanted."""
        return None

    def propose(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Resize | None:
        """Return the edit that adds `count` units, or fewer with a warning; `None` if none can be made.

        Raises:
            AxisRefused: If it cannot work on the axis.
            TypeError: If it does not return new weights by name.
        """
        self.check(measured)
        if (capacity := self.capacity(measured)) is not None and capacity < count:
            measured.warn(
                f"{type(self).__name__}:{measured.axis}",
                f"{type(self).__name__} makes {capacity} of the {count} units that axis '{measured.axis}' is to get: "
                f"{self.limited_by.rstrip('.')}. This is said once.",
            )
            count = capacity
        if count <= 0:
            return None
        if not isinstance(values := self(measured, count, rng), Mapping):
            raise TypeError(
                f"{type(self).__name__} must return new weights by the name of their variable, such as "
                f"{{fan.key: fan.expand(new) for fan in measured.fan_in}}. Received for axis '{measured.axis}': {values!r}"
            )
        return grow(measured.axis, measured.units, count, values)


def random_fan_in(weights: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw incoming weights uniformly (Glorot) and scale each unit to the mean norm of the existing ones.

    Args:
        weights: Existing incoming weights, shape `(..., units)`.
        count: How many to draw.
        rng: Source of randomness.

    Returns:
        Shape `(..., count)`, in the dtype of the weights, float32 at least.
    """
    shape = weights.shape[:-1]
    fan_in, fan_out = prod(shape), weights.shape[-1] + count
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    dtype = np.float32 if weights.dtype.itemsize <= 4 else np.float64
    return to_mean_norm((2 * rng.random((*shape, count), dtype) - 1) * dtype(limit), weights)


def to_mean_norm(new: Floats, weights: Floats) -> Floats:
    """Scale each new unit's weights `(..., count)` to the mean Euclidean norm of the existing units' `(..., units)`."""
    mean = _norms(weights).mean()
    return new * (mean / np.maximum(_norms(new), 1e-30)).astype(new.dtype) if mean > 0 else new


def _norms(weights: Floats) -> Floats:
    flat = weights.reshape(-1, weights.shape[-1])
    return np.sqrt(np.einsum("ij,ij->j", flat, flat)).astype(np.float64)


def others_random(measured: AxisMeasurement, count: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Random incoming weights for every layer that makes the units but the first."""
    return {fan.key: fan.expand(random_fan_in(fan.weights, count, rng)) for fan in measured.fan_in[1:]}


def outgoing(measured: AxisMeasurement, rows: Floats, scale: float = 1.0) -> dict[str, Floats]:
    """Turn directions into outgoing weights of `scale` times the mean norm of the existing ones.

    Args:
        measured: `AxisMeasurement` of the axis.
        rows: One direction for each new unit, over all layers that read the axis, `(count, fan_out)`.
        scale: Factor of the norm.

    Returns:
        New entries for an edit.
    """
    parts = split_rows(rows, [fan.weights.shape[1:] for fan in measured.fan_out()])
    norm = mean_fan_out_norm(measured)
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
    factor = scale * (norm if norm > 0 else 1.0) / lengths
    return {
        fan.key: fan.expand(part * factor.reshape(-1, *(1,) * (part.ndim - 1)))
        for fan, part in zip(measured.fan_out(), parts, strict=True)
    }


def mean_fan_out_norm(measured: AxisMeasurement) -> float:
    """Mean Euclidean norm of the outgoing weights of the existing units, over all layers that read them."""
    return float(np.sqrt(sum(fan.norms**2 for fan in measured.fan_out())).mean())


def split_rows(rows: Floats, shapes: Sequence[tuple[int, ...]]) -> list[Floats]:
    """Cut rows `(count, fan_out)` into outgoing weights `(count, *shape)` for each layer that reads the axis."""
    parts = np.split(rows, np.cumsum([prod(shape) for shape in shapes])[:-1], axis=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def join_rows(parts: Sequence[Floats]) -> Floats:
    """The reverse of `split_rows`."""
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def check_zero_fan_in(measured: AxisMeasurement, who: str) -> None:
    """Raise an AxisRefused if units without incoming weights would change the function, or never train."""
    if abs(measured.offset()) > 1e-7:
        raise AxisRefused(
            f"{who} gives new units no incoming weights, but what follows the units of axis '{measured.axis}' is "
            f"{measured.offset():.3g} at 0, so they would change the function. Use an activation with value 0 at 0 such as "
            "relu1 or tanh, or an initializer with zero outgoing weights such as RandomFanIn()."
        )
    if measured.slope() == 0:
        raise AxisRefused(
            f"{who} gives new units no incoming weights, but what follows the units of axis '{measured.axis}' has "
            "derivative 0 at 0 (plain ReLU does), so they would never train. Use keras_struct.activations.relu1, whose "
            "derivative at 0 is 1, or an initializer with zero outgoing weights such as RandomFanIn()."
        )
