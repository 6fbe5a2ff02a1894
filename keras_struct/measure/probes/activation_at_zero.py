"""What units emit whose inputs sum to zero."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import current
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.probes.paths import is_unitwise
from keras_struct.measure.probes.responses import activated, computing
from keras_struct.measure.probes.virtual import Reader, readers_of


def activations_at_zero(probe: Any, axis: str) -> list[tuple[float, float]]:
    """Return what a unit emits whose inputs sum to zero, and the derivative there, on each way to its readers.

    Args:
        probe: The `StructureProbe`.
        axis: Name of the axis.
    """
    ways = [reader.path for reader in _readers(probe, axis)] or [tuple(probe.chain(axis))]
    return [_activation_at_zero(probe, axis, way) for way in ways]


def _readers(probe: Any, axis: str) -> list[Reader]:
    try:
        return readers_of(probe, axis)
    except MeasurementError:  # gradients will say why; the chain behind the first layer is known all the same
        return []


def _activation_at_zero(probe: Any, axis: str, way: tuple[Any, ...]) -> tuple[float, float]:
    layer = computing(probe.network.layers[probe.first_call(axis).layer])
    labels = probe.network.graph.tensors[probe.first_call(axis).outputs[0]]
    shape = [1 if varies else extent or 1 for extent, varies in zip(labels.shape, labels.varies, strict=True)]
    zeros = keras.ops.zeros((1, *shape), layer.compute_dtype)

    def emit(sums: Any) -> Any:
        fresh = activated(layer, sums)
        for call in way:
            fresh = probe.apply_chain(call, fresh) if is_unitwise(call.behaviour) else fresh
        return fresh

    value = emit(zeros)
    (slope,) = current().vjp(emit, [zeros], keras.ops.ones_like(value))
    first, second = (float(keras.ops.convert_to_numpy(part).ravel()[0]) for part in (value, slope))
    return first, second
