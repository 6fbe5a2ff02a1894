"""Calls of layers and operations, and what they pass."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras.src.backend.common import global_state


def extra_arguments(node: Any) -> bool:
    """Whether a call passes a tensor beside the layer's inputs and its mask, by keyword."""
    named = {name: value for name, value in node.arguments.kwargs.items() if name != "mask"}
    return any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten(named))


def passed_variables(node: Any) -> list[Any]:
    """Variables that a call passes to an operation of `keras.ops`."""
    if isinstance(node.operation, keras.layers.Layer):
        return []
    return [value for value in call_arguments(node) if isinstance(value, keras.Variable)]


def call_arguments(node: Any) -> list[Any]:
    """Everything that a call passes, symbolic tensors and others, in order."""
    return keras.tree.flatten((node.arguments.args, dict(node.arguments.kwargs)))


def argument_names(node: Any) -> list[str]:
    """For each symbolic tensor that enters a call, the parameter that it is passed for."""
    parameters = list(inspect.signature(node.operation.call).parameters)
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    names = [keras.tree.map_structure(lambda _, n=n: n, part) for n, part in zip(parameters, args, strict=False)]
    named = {key: keras.tree.map_structure(lambda _, key=key: key, part) for key, part in kwargs.items()}
    pairs = zip(keras.tree.flatten((names, named)), keras.tree.flatten((list(args), kwargs)), strict=True)
    return [name for name, value in pairs if isinstance(value, keras.KerasTensor)]


def filled_arguments(node: Any, values: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call with its symbolic tensors replaced, by their `id`."""
    args, kwargs = node.arguments.fill_in(values)
    return list(args), dict(kwargs)


def set_operation_argument(operation: Any, name: str, value: Any) -> None:
    """Give an operation of `keras.ops` another argument, also in what it will save."""
    object.__setattr__(operation, name, value)
    config = getattr(getattr(operation, "_auto_config", None), "config", None)
    if config is not None and name in config:
        config[name] = keras.saving.serialize_keras_object(value)


def takes_training(operation: Any) -> bool:
    """Whether a layer's `call` has a `training` argument."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def in_layer_call() -> bool:
    """Whether a layer is being called."""
    return global_state.get_global_attribute("current_call_ctx") is not None
