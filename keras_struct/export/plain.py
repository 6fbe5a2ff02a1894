"""The same network in stock Keras layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_struct import layers
from keras_struct.activations import relu1
from keras_struct.backend import keras_internals
from keras_struct.backend.layer_copies import copied
from keras_struct.export.cells import SEARCHED, plain_searched
from keras_struct.export.free import plain_free
from keras_struct.export.inference import NEUTRAL, Passing
from keras_struct.export.symmetric import copy_symmetric, plain_symmetric
from keras_struct.layers import CompactFreeNet, FreeNet
from keras_struct.layers.framed import Framed
from keras_struct.layers.masked import Masked
from keras_struct.surgery.copying import INFERENCE_HOOKS, check_hooks, copied_network, new_input

_PLAIN = {
    layers.GrowableDense: (keras.layers.Dense, ("max_units",)),
    layers.GrowableConv1D: (keras.layers.Conv1D, ("max_filters",)),
    layers.GrowableConv2D: (keras.layers.Conv2D, ("max_filters",)),
    layers.GrowableConv3D: (keras.layers.Conv3D, ("max_filters",)),
    layers.MaskedDense: (keras.layers.Dense, ("max_units", "dormant")),
    layers.MaskedConv2D: (keras.layers.Conv2D, ("max_filters", "dormant")),
}
OURS: tuple[Any, ...] = tuple(
    kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, keras.layers.Layer)
)
"""Layers of this library."""


def to_plain(model: Any, inference: bool = False) -> keras.Model:
    """Return the same network in stock Keras layers with static shapes.

    Args:
        model: A `StructuralModel`, or any model with growable layers in it.
        inference: Leave out layers that do something in training only: dropout, noise, random augmentation and penalties on
            activities. Some formats cannot hold them.

    Returns:
        A `keras.Model` with copies of the weights, not compiled. It loads without this library and can be exported
        (SavedModel, TFLite, ONNX). Layers of your own stay; a warning names them.

    Raises:
        ValueError: If a layer of this library has no stock form (a searched layer that has not been chosen, a `DartsRNN`, your
            own subclass of one), or the model has a `call` of its own.
    """
    dropped = NEUTRAL if inference else ()
    return _converted(model, lambda layer: Passing(layer) if isinstance(layer, dropped) else _plain(layer))


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
    check_hooks(model, keras.Model, INFERENCE_HOOKS)
    copy = copied_network(model, convert, _copy_weights)
    _report_own_layers(copy)
    copy(
        keras.tree.map_structure(new_input, keras_internals.structured_ends(copy)[0])
    )  # some exporters ask that a model has been called
    return copy


def _copy_weights(layer: Any, other: Any) -> bool:
    """Give a plain layer its weights, if they are not those of its original by name."""
    if isinstance(layer, (*SEARCHED, FreeNet)):
        return True  # has its weights
    if isinstance(layer, Framed):
        copy_symmetric(layer, other)
    elif isinstance(layer, Masked):
        other.kernel.assign(np.array(keras.ops.convert_to_numpy(layer.connected_kernel)))
        if layer.use_bias:
            other.bias.assign(np.array(keras.ops.convert_to_numpy(layer.bias)))
    else:
        return False
    other.trainable = layer.trainable
    return True


def _plain(layer: Any) -> Any:
    _check_has_plain_form(layer)
    if isinstance(layer, Framed):
        return plain_symmetric(layer)
    if isinstance(layer, SEARCHED):
        return plain_searched(layer)
    changes = {}
    if getattr(layer, "activation", None) is relu1:
        changes["activation"] = "relu"  # the same values; only the derivative at 0 differs
    if isinstance(layer, FreeNet):
        return plain_free(layer, changes.get("activation", layer.get_config()["activation"]))
    if isinstance(layer, keras.layers.Wrapper) and type(layer.layer) in _PLAIN:
        rest = {name: value for name, value in layer.get_config().items() if name != "layer"}
        return type(layer)(_plain(layer.layer), **rest)
    kind, own = _PLAIN.get(type(layer), (None, ()))
    if kind is None and isinstance(layer, OURS):
        raise ValueError(
            f"There is no stock layer for '{layer.name}', a {type(layer).__name__}. Save the model as it is, with "
            "model.save(...); it loads where this library is installed."
        )
    return copied(layer, kind, drop=own, **changes)


def _check_has_plain_form(layer: Any) -> None:
    if isinstance(layer, OURS) and type(layer) not in OURS:
        raise ValueError(
            f"Layer '{layer.name}' is a {type(layer).__name__}, your own subclass of a layer of this library, and has no stock "
            "form. Build the model with the library's layer in its place, or save it as it is, with model.save(...)."
        )
    inner = getattr(layer, "layer", None)
    if type(inner) in _PLAIN and not isinstance(inner, Masked):
        return
    if isinstance(layer, keras.layers.Wrapper) and any(isinstance(part, OURS) for part in _parts(layer)):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) wraps a layer of this library, and has no stock form. Wrap a stock "
            "layer, or save the model as it is, with model.save(...)."
        )
    if isinstance(layer, Masked) and keras_internals.is_adapted(layer):
        raise ValueError(
            f"Layer '{layer.name}' is masked and has LoRA or quantised weights: no stock layer computes that."
        )


def _parts(layer: Any) -> list[Any]:
    return keras_internals.inner_layers(layer)


def _report_own_layers(model: Any) -> None:
    """Say which layers of the user's own the files of a model will need."""
    own = [layer for layer in _leaves(model) if not keras_internals.is_stock(layer) and not isinstance(layer, OURS)]
    if own:
        listed = ", ".join(f"'{layer.name}' ({type(layer).__name__})" for layer in own)
        warnings.warn(
            f"The plain model has layers of your own: {listed}. A file of it loads where their classes are defined.",
            stacklevel=4,
        )
