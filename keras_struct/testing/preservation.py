"""How far an edit moves the outputs of a model, and whether training goes on as it should."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current, keras_internals
from keras_struct.core.model.parts import parts_of


def outputs(model: Any, x: Any) -> list[np.ndarray]:
    """Outputs of a model in inference mode, as float64."""
    found = keras.tree.flatten(model(x, training=False))
    return [keras.ops.convert_to_numpy(y).astype(np.float64) for y in found]


def relative_change(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """Largest absolute change, divided by the largest absolute output before."""
    largest = max(np.abs(b).max() for b in before)
    return float(max(np.abs(a - b).max() for a, b in zip(after, before, strict=True)) / max(largest, 1e-300))


def silence(model: Any, axis: str, units: list[int]) -> None:
    """Set the outgoing weights of some units of an axis to zero."""
    network = parts_of(model).live.network
    graph = network.graph
    for port, rule in graph.ports(axis).items():
        if rule.role == "consume":
            variable = keras_internals.own_variables(network.layers[port.layer])[port.variable]
            value = current().read(variable).copy()
            np.moveaxis(value, port.axis, 0)[np.isin(graph.unit_along(port, axis), units)] = 0
            current().write(variable, value)


def rebuilt(model: Any) -> Any:
    """A model built afresh from the configuration of another, with its weights, optimizer state and random state."""
    fresh = type(model).from_config(model.get_config())
    fresh.compile(
        type(model.optimizer).from_config(model.optimizer.get_config()), model.loss, run_eagerly=model.run_eagerly
    )
    fresh.optimizer.build(fresh.trainable_variables)
    for target, source in zip(fresh.weights, model.weights, strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
    for target, source in zip(fresh.optimizer.variables, model.optimizer.variables, strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
    for target, source in zip(_random_states(fresh), _random_states(model), strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source.value)))
    return fresh


def _random_states(model: Any) -> list[Any]:
    weights = {id(variable) for variable in model.weights}
    return [v for v in model.variables if id(v) not in weights and "seed" in v.path]


def largest_difference(left: Any, right: Any) -> float:
    """Largest absolute difference of the weights and optimizer variables of two models, relative to each one's size."""
    pairs = [*zip(left.weights, right.weights, strict=True)]
    pairs += [*zip(left.optimizer.variables, right.optimizer.variables, strict=True)]
    worst = 0.0
    for a, b in pairs:
        one, other = (keras.ops.convert_to_numpy(v.value).astype(np.float64) for v in (a, b))
        worst = max(worst, float(np.abs(one - other).max(initial=0.0) / max(1.0, np.abs(other).max(initial=0.0))))
    return worst
