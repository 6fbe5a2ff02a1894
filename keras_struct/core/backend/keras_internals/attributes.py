"""Attributes that only some layers, operations and cells of Keras have, or only some versions of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import keras
from keras.src.utils.naming import to_snake_case

T = TypeVar("T")


def layer_classes(named: Mapping[str, T]) -> dict[type, T]:
    """A table by classes of Keras's layers instead of their names, without those that the installed Keras lacks."""
    found = {getattr(keras.layers, name, None): value for name, value in named.items()}
    return {kind: value for kind, value in found.items() if kind is not None}


def has_attribute(layer: Any, name: str) -> bool:
    """Whether a layer has an attribute that somebody says it has."""
    return hasattr(layer, name)


def groups_of(layer: Any) -> int:
    """Into how many groups a convolution divides its channels; 1 for other layers."""
    return getattr(layer, "groups", 1)


def activation_of(layer: Any) -> Any:
    """The activation of a layer, or `None` if it has none."""
    return getattr(layer, "activation", None)


def activations_of(layer: Any) -> tuple[Any, Any]:
    """The activation of a layer and that of its gates, each `None` if it has none."""
    return activation_of(layer), getattr(layer, "recurrent_activation", None)


def channels_first(layer: Any) -> bool:
    """Whether a layer or cell has its channels before the positions."""
    return getattr(layer, "data_format", None) == "channels_first"


def is_convolution(layer: Any) -> bool:
    """Whether each unit of a layer reads a patch of all channels, in one place after the other: Conv, not its kin."""
    return isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.Conv3D)


def slides_kernel(layer: Any) -> bool:
    """Whether a layer has a kernel for each place: a convolution of any kind."""
    return hasattr(layer, "kernel_size")


def has_lora(layer: Any) -> bool:
    """Whether a layer has LoRA weights."""
    return bool(getattr(layer, "lora_enabled", False))


def is_adapted(layer: Any) -> bool:
    """Whether a layer computes with more, or with coarser, weights than those that it was made with: LoRA, quantisation."""
    return has_lora(layer) or bool(getattr(layer, "quantization_mode", None))


def has_gates(attention: Any) -> bool:
    """Whether the outputs of an attention are gated."""
    return bool(getattr(attention, "_use_gate", False) or getattr(attention, "use_gate", False))


def is_cell(layer: Any) -> bool:
    """Whether a layer is a recurrent cell, which takes its state beside its input."""
    return hasattr(layer, "state_size") and not isinstance(layer, keras.layers.RNN)


def output_size_of(cell: Any) -> Any:
    """What a recurrent cell says of the size of its output; `None` if it leaves that to its state."""
    return getattr(cell, "output_size", None)


def input_spec_of(layer: Any) -> keras.layers.InputSpec | None:
    """What a layer or operation expects of its only input; `None` if it says nothing of one."""
    spec = getattr(layer, "input_spec", None)
    return spec if isinstance(spec, keras.layers.InputSpec) else None


def normalizes_by_mean_square(layer: Any) -> bool:
    """Whether a layer normalisation has no offset, whatever `center` says (`rms_scaling` of older versions)."""
    return bool(getattr(layer, "rms_scaling", False))


def symbolic_inputs_of(layer: Any, of_model: bool = False) -> list[Any]:
    """The symbolic tensors that enter a model, or the first call of a layer; none where it was not built, or called."""
    try:
        return keras.tree.flatten(layer.inputs if of_model else layer.input)
    except (AttributeError, ValueError):
        return []


def is_compiled(model: Any) -> bool:
    """Whether a model was compiled."""
    return bool(getattr(model, "compiled", False))


def name_of_class(kind: type) -> str:
    """The name that Keras gives the first layer of a class."""
    return to_snake_case(kind.__name__)
