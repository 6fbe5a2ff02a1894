"""Which layers take the place of stock ones whose units could not be edited."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_copies import copied

_GROWABLE: dict[type, tuple[type, tuple[str, ...]]] = {}


def register_growable(stock: type, growable: type, drop: tuple[str, ...] = ()) -> None:
    """Let `StructuralModel.from_model` put a growable layer in the place of a stock one.

    Args:
        stock: Class of the stock layer.
        growable: Class of the other; it has the same weights.
        drop: Arguments of the stock layer's constructor that it does not have.
    """
    _GROWABLE[stock] = (growable, drop)


def growable(layer: Any) -> Any:
    """Return a copy of a layer, weights apart, whose units can be edited if there is a class for that."""
    if type(layer) is keras.layers.BatchNormalization and layer.axis == layer.input_spec.ndim - 1:
        return copied(layer, axis=-1)  # the same; see its unit rules
    kind, drop = _GROWABLE.get(type(layer), (None, ()))
    if kind is None or internals.groups_of(layer) != 1 or internals.is_adapted(layer):
        return copied(layer)
    return copied(layer, kind, drop=drop)
