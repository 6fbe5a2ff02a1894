"""FreeNets as stock layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.layers import FreeNet
from keras_struct.structure.acyclic import by_levels

L = keras.layers


def plain_free(layer: FreeNet, activation: Any) -> keras.Model:
    """Return a model of stock layers that computes what a `FreeNet` does, with its weights.

    Neurons are computed level by level, small levels together in rounds, as `FreeNet` does.

    Args:
        layer: The layer.
        activation: Its activation, as a stock one.
    """
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
