"""What a layer makes of its inputs with other weights, bias and activation apart."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import keras
import numpy as np

from keras_struct.backend import keras_internals as internals
from keras_struct.statistics.errors import MeasurementError


def linear_response(layer: Any, inputs: Any, kernels: Any) -> Any:
    """Sums of inputs, without bias and activation, of units with these incoming weights `(..., K)`."""
    inputs = keras.ops.cast(inputs, kernels.dtype)
    if hasattr(layer, "convolution_op"):
        return layer.convolution_op(inputs, kernels)
    if isinstance(layer, keras.layers.Dense):
        return keras.ops.matmul(inputs, kernels)
    raise MeasurementError(
        f"Cannot compute new units of layer '{layer.name}' ({type(layer).__name__}): expected a Dense or Conv layer. Use "
        "an initializer without candidates, such as RandomFanIn(), or leave the axis out of `axes`."
    )


def is_linear(layer: Any) -> bool:
    """Whether `linear_response` knows the layer."""
    return isinstance(layer, keras.layers.Dense) or (
        hasattr(layer, "convolution_op") and getattr(layer, "groups", 1) == 1 and hasattr(layer, "filters")
    )


def activated(layer: Any, outputs: Any) -> Any:
    """What the activation of a layer makes of sums of inputs."""
    return outputs if getattr(layer, "activation", None) is None else layer.activation(outputs)


def takes_patches(layer: Any) -> bool:
    """Whether what enters a unit of a layer is a patch of its input."""
    return hasattr(layer, "convolution_op")


def patch_kernel(layer: Any) -> np.ndarray:
    """Incoming weights with which the units of a convolution copy its patches, in the order of flattened weights."""
    shape = tuple(int(extent) for extent in layer.kernel.shape[:-1])
    return np.eye(prod(shape), dtype=np.float32).reshape(*shape, -1)


def seen_before_activation(operation: Any, args: list[Any], kwargs: dict[str, Any], see: Callable) -> Any:
    """Call a layer, and let `see` look at, or replace, what enters its activation."""
    activation = getattr(operation, "activation", None)
    if activation is None or not isinstance(operation, keras.layers.Layer):
        return see(operation(*args, **kwargs))
    with internals.without_activation(operation):
        sums = operation(*args, **kwargs)
    return activation(see(sums))
