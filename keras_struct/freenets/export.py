"""FreeNets as stock layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.export.forms import PlainForm, register_plain_form, stock_activation
from keras_struct.core.export.plain import converted, leaves, plain_layer
from keras_struct.freenets.acyclic import by_levels
from keras_struct.freenets.compact_free_net import CompactFreeNet
from keras_struct.freenets.free_net import FreeNet

L = keras.layers


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
    if not any(isinstance(layer, FreeNet) for layer in leaves(model)):
        raise ValueError(
            "to_compact leaves out the weights of edges that FreeNet layers have lost, and the model has no such layer. Use "
            "to_plain(model), or save_compact for a file without zeros."
        )
    return converted(
        model, lambda layer: CompactFreeNet.of(layer) if isinstance(layer, FreeNet) else plain_layer(layer)
    )


def plain_free(layer: FreeNet) -> keras.Model:
    """Return a model of stock layers that computes what a `FreeNet` does, with its weights.

    Neurons are computed level by level, small levels together in rounds, as `FreeNet` does.

    Args:
        layer: The layer.
    """
    activation = "relu" if stock_activation(layer) == "relu" else layer.get_config()["activation"]
    schedule = by_levels(layer.adjacency, layer.block)
    order = np.array(schedule.order)
    encoder, bias, kernel = layer.used_weights()
    kernel = kernel[np.ix_(order, order)].T  # from row to column, in the order of computation
    inputs = keras.Input((len(encoder),))
    rest = _dense(encoder[:, order], bias[order], f"{layer.name}_encoder")(inputs)
    cuts = np.cumsum(schedule.sizes)[:-1].tolist()
    parts = keras.ops.split(rest, cuts, axis=1) if cuts else [rest]
    found, start = None, 0
    for number, (size, rounds, part) in enumerate(zip(schedule.sizes, schedule.rounds, parts, strict=True)):
        here, activate = slice(start, start + size), L.Activation(activation)
        if found is not None:
            part = L.Add()([part, _dense(kernel[:start, here], None, f"{layer.name}_{number}")(found)])
        values = activate(part)
        if rounds > 1:
            inner = _dense(kernel[here, here], None, f"{layer.name}_{number}_within")
            for _ in range(rounds - 1):
                values = activate(L.Add()([part, inner(values)]))
        found = values if found is None else L.Concatenate()([found, values])
        start += size
    if (order != np.arange(len(order))).any():
        found = keras.ops.take(found, np.argsort(order).tolist(), axis=1)
    return keras.Model(inputs, found, name=layer.name)


def _dense(kernel: np.ndarray, bias: np.ndarray | None, name: str) -> keras.layers.Dense:
    """A dense layer that has its weights from the start."""
    layer = L.Dense(kernel.shape[1], use_bias=bias is not None, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer


register_plain_form(FreeNet, PlainForm(plain_free, complete=True))
