"""The same network in stock Keras layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_struct.activations import relu1
from keras_struct.backend import keras_internals
from keras_struct.export.cells import SEARCHED, plain_searched
from keras_struct.export.free import plain_free
from keras_struct.export.symmetric import copy_symmetric, plain_symmetric
from keras_struct.layers import CompactFreeNet, FreeNet
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
    return _converted(model, _plain)


def to_compact(model: Any) -> keras.Model:
    """Return the same network for inference, its FreeNets with the weights of the edges that there are and no others.

    Args:
        model: A `StructuralModel`, or any model with `FreeNet` layers in it.

    Returns:
        A `keras.Model` with copies of the weights, not compiled: `CompactFreeNet` in the place of each `FreeNet`, other layers as
        `to_plain` writes them. It is saved and exported as any model; files load where this library is installed.

    Raises:
        ValueError: If there is no `FreeNet`, or another layer cannot be written.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> free = layers.FreeNet(3, adjacency=[[0, 0, 0], [1, 0, 0], [0, 0, 0]])
        >>> model = keras.Model(inputs, keras.layers.Dense(2)(free(inputs)))
        >>> model.count_params(), to_compact(model).count_params()  # 3 x 3 weights and as many entries of the mask; 1 edge
        (41, 24)
    """
    if not any(isinstance(layer, FreeNet) for layer in _leaves(model)):
        raise ValueError(
            "to_compact leaves out the weights of edges that FreeNet layers have lost, and the model has no such layer. Use "
            "to_plain(model), or save_compact for a file without zeros."
        )
    return _converted(model, lambda layer: CompactFreeNet.of(layer) if isinstance(layer, FreeNet) else _plain(layer))


def _leaves(model: Any) -> list[Any]:
    return [leaf for layer in model.layers for leaf in (_leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def _converted(model: Any, convert: Callable[[Any], Any]) -> keras.Model:
    if keras_internals.functional_of(model) is None:
        raise ValueError(
            f"Cannot export '{model.name}': expected a Functional model, or a Sequential one that is built. Received a "
            f"{type(model).__name__}. Build it first: call it on data, or give it a keras.Input."
        )
    recursive = any(isinstance(layer, keras.Model) for layer in model.layers)
    copy = keras.models.clone_model(_functional(model), clone_function=convert, recursive=recursive)
    _copy_weights(model, copy)
    return copy


def _copy_weights(model: Any, copy: Any) -> None:
    for layer in (layer for layer in model.layers if layer.weights):
        other = copy.get_layer(layer.name)
        if isinstance(layer, (*SEARCHED, FreeNet)):
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
    if isinstance(layer, FreeNet):
        return plain_free(layer, config["activation"])
    kind, own = _PLAIN.get(type(layer).__name__, (type(layer), set()))
    return kind.from_config({key: value for key, value in config.items() if key not in own})
