"""Measure connections of masked layers on what is kept of a model in training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import keras

from keras_struct.backend import current
from keras_struct.models.observation import Observation
from keras_struct.probes.coactivity import Activity
from keras_struct.probes.connections import ConnectionGradients, ConnectionMeasurement
from keras_struct.statistics.coactivation import Coactivation


def measure_connections(seen: Observation, layers: Mapping[str, Any]) -> dict[str, ConnectionMeasurement]:
    """Return a measurement of the connections of each masked layer, gradients computed as far as a policy asks."""
    batch = seen.gradient_batch
    lazy = None if batch is None else cache(partial(_gradients, seen, layers, batch))
    found = {}
    for name, layer in layers.items():
        facts: dict[str, Any] = {"rate": partial(_rate, seen.model)}
        if lazy is not None:
            facts["gradients"] = lambda name=name: lazy().gradients[name]
            facts["squared_gradients"] = lambda name=name: lazy().squares[name]
        if (inputs := seen.pieces()) is not None:
            facts["activity"] = partial(count_coactivity, seen, name, inputs)
        mask, weights = current().read(layer.mask), current().read(layer.kernel)
        possible = layer.possible_connections()
        found[name] = ConnectionMeasurement(name, mask, weights, layer.dormant, possible=possible, **facts)
    return found


def count_coactivity(seen: Observation, layer: str, inputs: Any, threshold: float | None = None) -> Coactivation:
    """Count samples in which both ends of each connection of a masked layer are active."""
    return Activity(seen.probe, layer, threshold).measure(inputs)


def _gradients(seen: Observation, layers: Mapping[str, Any], batch: tuple[Any, Any, Any]) -> ConnectionGradients:
    return ConnectionGradients(seen.model, layers, seen.loss_function(), batch)


def _rate(model: Any) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
