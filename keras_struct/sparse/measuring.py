"""Measure connections of masked layers on what is kept of a model in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.model.observation import Observation
from keras_struct.sparse.coactivation import Coactivation
from keras_struct.sparse.coactivity import Activity
from keras_struct.sparse.gradients import ConnectionGradients
from keras_struct.sparse.measurements import ConnectionMeasurement


def measure_connections(seen: Observation, layers: Mapping[str, Any]) -> dict[str, ConnectionMeasurement]:
    """Return a measurement of the connections of each masked layer, gradients computed as far as a policy asks."""
    batch, inputs = seen.gradient_batch, seen.pieces()
    lazy = None if batch is None else cache(partial(_gradients, seen, layers, batch))
    found = {}
    for name, layer in layers.items():
        mask, weights = current().read(layer.mask), current().read(layer.kernel)
        measured = ConnectionMeasurement(
            name, mask, weights, layer.dormant, partial(_rate, seen.model), possible=layer.possible_connections()
        )
        if lazy is not None:
            gradients, squares = partial(_kernel_gradient, lazy, name), partial(_kernel_squares, lazy, name)
            measured = replace(measured, gradients=gradients, squared_gradients=squares)
        if inputs is not None:
            measured = replace(measured, activity=partial(count_coactivity, seen, name, inputs))
        found[name] = measured
    return found


def count_coactivity(seen: Observation, layer: str, inputs: Any, threshold: float | None = None) -> Coactivation:
    """Count samples in which both ends of each connection of a masked layer are active."""
    return Activity(seen.probe, layer, threshold).measure(inputs)


def _gradients(seen: Observation, layers: Mapping[str, Any], batch: tuple[Any, Any, Any]) -> ConnectionGradients:
    return ConnectionGradients(seen.model, layers, seen.loss_function(), batch)


def _rate(model: Any) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _kernel_gradient(lazy: Callable[[], ConnectionGradients], layer: str) -> np.ndarray:
    return lazy().gradients[layer]


def _kernel_squares(lazy: Callable[[], ConnectionGradients], layer: str) -> np.ndarray:
    return lazy().squares[layer]
