"""Read incoming and outgoing weights by unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.rules import Port
from keras_struct.measure.measurements.fans import FanIn, FanOut


def fan_in(probe: Any, axis: str, port: Port) -> FanIn:
    """Return the incoming weights of the units of an axis in one variable, read when they are needed.

    Args:
        probe: The `StructureProbe`.
        axis: Name of the axis.
        port: The axis of the variable along which the units lie.
    """

    def read() -> np.ndarray:
        graph, weights = probe.network.graph, _wide(current().read_all([probe.variable(port)])[0])
        places, width = graph.places(port, axis), graph.units[axis].width
        if len(places) < weights.shape[port.axis]:
            weights = np.take(weights, places, axis=port.axis)
        units_last = weights if port.axis == weights.ndim - 1 else np.moveaxis(weights, port.axis, -1)
        blocks = units_last.shape[-1] // width
        return units_last if blocks == 1 else units_last.reshape(*units_last.shape[:-1], blocks, width)

    def expand(new: np.ndarray) -> np.ndarray:
        flat = new if new.ndim == probe.rank(port) else new.reshape(*new.shape[:-2], -1)
        placed = flat if port.axis == flat.ndim - 1 else np.moveaxis(flat, -1, port.axis)
        return placed.astype(fan.weights.dtype)

    fan = FanIn(port.key, read, expand)
    return fan


def fan_out(probe: Any, axis: str, port: Port) -> FanOut:
    """Return the outgoing weights of the units of an axis in one variable; arguments as `fan_in`."""
    units = probe.network.graph.unit_along(port, axis)
    rows = np.moveaxis(current().read(probe.variable(port)), port.axis, 0)
    rows = _wide(rows[np.argsort(units, kind="stable")][(units < 0).sum() :])
    rows = rows.reshape(probe.network.graph.units[axis].width, -1, *rows.shape[1:])

    def expand(new: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(new, 1, 0).reshape(-1, *new.shape[2:])
        return np.moveaxis(flat, 0, port.axis).astype(rows.dtype)

    return FanOut(f"{port.key}/{port.axis}", rows, expand)


def _wide(weights: np.ndarray) -> np.ndarray:
    """Weights in float32 at least: NumPy computes little in half precision, and nothing in bfloat16."""
    return weights.astype(np.float32) if weights.dtype.itemsize < 4 else weights
