"""New units one by one through a layer with weights, by a copy of the layer that has a single unit."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals


def single_unit_copy(layer: Any, labels: Any) -> Any:
    """A copy of a layer for a single new unit, with the values that a unit without ancestor gets."""
    config = {key: value for key, value in layer.get_config().items() if key != "name"}
    single = type(layer).from_config(config)
    single.build((None, *(1 if varies else extent for extent, varies in zip(labels.shape, labels.varies, strict=True))))
    return single


def unit_by_unit(single: Any, outputs: Any, axis: int) -> Any:
    """Send each new unit through the one-unit copy of a layer, as if it were a sample."""
    moved = keras.ops.moveaxis(outputs, axis, 0)
    shape = keras.ops.shape(moved)
    folded = keras.ops.expand_dims(keras.ops.reshape(moved, (-1, *shape[2:])), axis)
    extra = {"training": False} if internals.takes_training(single) else {}
    result = keras.ops.squeeze(single(folded, **extra), axis)
    return keras.ops.moveaxis(keras.ops.reshape(result, shape), 0, axis)
