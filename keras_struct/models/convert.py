"""Turn a Keras model into one of growable layers."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.layers import GrowableConv1D, GrowableConv2D, GrowableConv3D
from keras_struct.surgery.trace import trace

_GROWABLE = {
    keras.layers.Conv1D: GrowableConv1D,
    keras.layers.Conv2D: GrowableConv2D,
    keras.layers.Conv3D: GrowableConv3D,
}


def convert_layers(model: Any) -> Any:
    """Return a copy of a model, weights included, in which convolutions are growable.

    Raises:
        ValueError: If the model is not built, or is a subclassed model without a graph of layers.
    """
    trace(model)
    copy = keras.models.clone_model(model, clone_function=_growable, recursive=_nested(model))
    copy.set_weights(model.get_weights())
    return copy


def _nested(model: Any) -> bool:
    return any(isinstance(layer, keras.Model) for layer in model.layers)


def _growable(layer: Any) -> Any:
    kind = _GROWABLE.get(type(layer))
    if kind is None or layer.groups != 1 or getattr(layer, "lora_enabled", False):
        return type(layer).from_config(layer.get_config())
    return kind.from_config({k: v for k, v in layer.get_config().items() if k != "groups"})


def copy_compile_state(model: Any, new: Any) -> None:
    """Compile `new` as `model` is, with a copy of the optimizer's state."""
    if not getattr(model, "compiled", False):
        return
    new.compile_from_config({"jit_compile": False, **_compile_config(model)})
    old = model.optimizer
    if old is not None and old.built:
        for target, source in zip(new.optimizer.variables, old.variables, strict=True):
            target.assign(source)


def _compile_config(model: Any) -> dict[str, Any]:
    config = dict(model.get_compile_config())
    config["jit_compile"] = False
    return config
