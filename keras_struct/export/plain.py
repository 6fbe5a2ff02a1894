"""The same network in stock Keras layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.activations import relu1
from keras_struct.backend import keras_internals

_PLAIN = {
    "GrowableDense": (keras.layers.Dense, "max_units"),
    "GrowableConv1D": (keras.layers.Conv1D, "max_filters"),
    "GrowableConv2D": (keras.layers.Conv2D, "max_filters"),
    "GrowableConv3D": (keras.layers.Conv3D, "max_filters"),
}


def to_plain(model: Any) -> keras.Model:
    """Return the same network in stock Keras layers with static shapes.

    Args:
        model: A `StructuralModel`, or any model with growable layers in it.

    Returns:
        A `keras.Model` with copies of the weights, not compiled. It loads without this library and can be exported
        (SavedModel, TFLite, ONNX; for ONNX Keras asks that the model be called once before).
    """
    recursive = any(isinstance(layer, keras.Model) for layer in model.layers)
    copy = keras.models.clone_model(_functional(model), clone_function=_plain, recursive=recursive)
    copy.set_weights([np.array(weight) for weight in model.get_weights()])
    return copy


def _functional(model: Any) -> keras.Model:
    """The model as one that clones into a plain `keras.Model`."""
    return keras.Model(*keras_internals.structured_ends(model), name=model.name)


def _plain(layer: Any) -> Any:
    config = layer.get_config()
    if getattr(getattr(layer, "activation", None), "__name__", "") == relu1.__name__:
        config["activation"] = "relu"  # the same values; only the derivative at 0 differs
    kind, own = _PLAIN.get(type(layer).__name__, (type(layer), None))
    return kind.from_config({key: value for key, value in config.items() if key != own})
