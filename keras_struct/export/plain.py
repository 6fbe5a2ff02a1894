"""The same network in stock Keras layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.activations import relu1
from keras_struct.backend import keras_internals
from keras_struct.export.cells import SEARCHED, plain_searched
from keras_struct.export.symmetric import copy_symmetric, plain_symmetric
from keras_struct.layers.framed import Framed
from keras_struct.layers.masked import Masked

_PLAIN = {
    "GrowableDense": (keras.layers.Dense, {"max_units"}),
    "GrowableConv1D": (keras.layers.Conv1D, {"max_filters"}),
    "GrowableConv2D": (keras.layers.Conv2D, {"max_filters"}),
    "GrowableConv3D": (keras.layers.Conv3D, {"max_filters"}),
    "MaskedDense": (keras.layers.Dense, {"max_units", "dormant"}),
    "MaskedConv2D": (keras.layers.Conv2D, {"max_filters", "dormant"}),
}


def to_plain(model: Any) -> keras.Model:
    """Return the same network in stock Keras layers with static shapes.

    Args:
        model: A `StructuralModel`, or any model with growable layers in it.

    Returns:
        A `keras.Model` with copies of the weights, not compiled. It loads without this library and can be exported
        (SavedModel, TFLite, ONNX; for ONNX Keras asks that the model be called once before).

    Raises:
        ValueError: If a searched layer has not been chosen, or is a `DartsRNN`, for which there is no stock layer.
    """
    recursive = any(isinstance(layer, keras.Model) for layer in model.layers)
    copy = keras.models.clone_model(_functional(model), clone_function=_plain, recursive=recursive)
    _copy_weights(model, copy)
    return copy


def _copy_weights(model: Any, copy: Any) -> None:
    for layer in (layer for layer in model.layers if layer.weights):
        other = copy.get_layer(layer.name)
        if isinstance(layer, SEARCHED):
            continue  # has its weights
        if isinstance(layer, keras.Model):
            _copy_weights(layer, other)
        elif isinstance(layer, Framed):
            copy_symmetric(layer, other)
        elif isinstance(layer, Masked):
            other.kernel.assign(np.array(keras.ops.convert_to_numpy(layer.connected_kernel)))
            if layer.use_bias:
                other.bias.assign(np.array(keras.ops.convert_to_numpy(layer.bias)))
        else:
            other.set_weights([np.array(weight) for weight in layer.get_weights()])


def _functional(model: Any) -> keras.Model:
    """The model as one that clones into a plain `keras.Model`."""
    return keras.Model(*keras_internals.structured_ends(model), name=model.name)


def _plain(layer: Any) -> Any:
    if isinstance(layer, Framed):
        return plain_symmetric(layer)
    if isinstance(layer, SEARCHED):
        return plain_searched(layer)
    config = layer.get_config()
    if getattr(getattr(layer, "activation", None), "__name__", "") == relu1.__name__:
        config["activation"] = "relu"  # the same values; only the derivative at 0 differs
    kind, own = _PLAIN.get(type(layer).__name__, (type(layer), set()))
    return kind.from_config({key: value for key, value in config.items() if key not in own})
