"""Turn a Keras model into one of growable layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.optimizer_slots import copy_state as copy_slots
from keras_struct.core.model.growable import growable
from keras_struct.core.surgery.copying import check_hooks, copied_network
from keras_struct.core.surgery.trace import trace


def structural_kind(model: Any, kind: type) -> type:
    """The class of a converted model: that of the model, if it is a `kind` made of inputs and outputs, otherwise `kind`.

    Raises:
        ValueError: If methods of the model's own class would be lost.
    """
    own = type(model)
    found = own if issubclass(own, kind) and internals.constructor_takes_ends(own) else kind
    check_hooks(model, found)
    return found


def convert_layers(model: Any, replace: Callable[[Any], Any] = lambda layer: None) -> Any:
    """Return a copy of a model, weights included, in which convolutions are growable.

    Args:
        model: The model.
        replace: Takes a layer and returns another one for its place, or `None`. It may have more variables of its own.

    Raises:
        ValueError: If the model is not built, or is a subclassed model without a graph of layers.
    """
    trace(model)

    def convert(layer: Any) -> Any:
        other = replace(layer)
        return growable(layer) if other is None else other

    return copied_network(model, convert)


def weight_pairs(model: Any, copy: Any) -> list[tuple[Any, Any]]:
    """Weights of a model with those of a copy, whose layers may have more variables of their own."""
    if len(model.weights) == len(copy.weights):
        return list(zip(model.weights, copy.weights, strict=True))
    pairs = []
    for layer in (layer for layer in model.layers if layer.weights):
        other = copy.get_layer(layer.name)
        if isinstance(layer, keras.Model):
            pairs += weight_pairs(layer, other)
        else:
            held = internals.own_variables(other)
            pairs += [
                (variable, held[name]) for name, variable in internals.own_variables(layer).items() if name in held
            ]
    return pairs


def copy_compile_state(model: Any, new: Any) -> None:
    """Compile `new`, a copy of `model`, in the same way, with a copy of the optimizer's state.

    Losses and functions are shared; metrics, which have a state, and the optimizer are made again.
    """
    if not internals.is_compiled(model):
        return
    given = internals.compile_arguments(model)
    new.compile(
        optimizer=None if model.optimizer is None else internals.optimizer_of_the_same_kind(model.optimizer),
        loss=given["loss"],
        loss_weights=given["loss_weights"],
        metrics=_anew(given["metrics"]),
        weighted_metrics=_anew(given["weighted_metrics"]),
        run_eagerly=given["run_eagerly"],
        steps_per_execution=given["steps_per_execution"],
        auto_scale_loss=False,  # the optimizer is wrapped already if it is to be
    )
    if model.optimizer is not None and model.optimizer.built:
        copy_slots(model.optimizer, new.optimizer, weight_pairs(model, new))
        internals.copy_exclusions(model.optimizer, new.optimizer)


def _anew(metrics: Any) -> Any:
    def copy(metric: Any) -> Any:
        return type(metric).from_config(metric.get_config()) if isinstance(metric, keras.metrics.Metric) else metric

    return keras.tree.map_structure(copy, metrics)
