"""What a layer makes of its inputs with other weights, bias and activation apart."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.refusal import AxisRefused

_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_WRAPPERS = (keras.layers.TimeDistributed, keras.layers.SpectralNormalization)


def computing(layer: Any) -> Any:
    """The layer that computes: the one inside a `TimeDistributed` or a `SpectralNormalization`, or the layer itself."""
    while isinstance(layer, _WRAPPERS):
        layer = layer.layer
    return layer


def is_linear(layer: Any, reads: bool = False) -> bool:
    """Whether `linear_response` knows a layer.

    Args:
        layer: The layer.
        reads: Whether units are to be added to what it reads, instead of to what it makes.
    """
    inner = computing(layer)
    if isinstance(inner, (keras.layers.Embedding, *_SEPARABLE)):
        return not reads  # tokens are no units, and those that a separable convolution reads need depthwise weights
    if isinstance(inner, keras.layers.Dense | keras.layers.EinsumDense):
        return True
    return internals.is_convolution(inner)


def linear_response(layer: Any, inputs: Any, kernel: Any) -> Any:
    """Sums of inputs, without bias and activation, with another kernel, in the layout in which the layer holds its own."""
    if isinstance(layer, keras.layers.TimeDistributed):
        shape = keras.ops.shape(inputs)
        found = linear_response(layer.layer, keras.ops.reshape(inputs, (-1, *shape[2:])), kernel)
        return keras.ops.reshape(found, (-1, shape[1], *keras.ops.shape(found)[1:]))
    layer = computing(layer)
    if isinstance(layer, keras.layers.Embedding):
        return keras.ops.take(kernel, keras.ops.cast(inputs, "int32"), axis=0)
    inputs = keras.ops.cast(inputs, kernel.dtype)
    if internals.is_convolution(layer):
        return current().convolved(layer, inputs, kernel)
    if isinstance(layer, keras.layers.Dense):
        return keras.ops.matmul(inputs, kernel)
    if isinstance(layer, keras.layers.EinsumDense):
        return keras.ops.einsum(layer.equation, inputs, kernel)
    if isinstance(layer, _SEPARABLE):
        depthwise = keras.ops.cast(keras.ops.stop_gradient(layer.depthwise_kernel), kernel.dtype)
        sampling = (layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        return keras.ops.separable_conv(inputs, depthwise, kernel, *sampling)
    raise AxisRefused(not_linear(layer, layer.name))


def unit_response(layer: Any, inputs: Any, fan_in: Any, axis: int, rank: int) -> Any:
    """Sums of inputs of units with these incoming weights.

    Args:
        layer: The layer that makes the units.
        inputs: What enters it.
        fan_in: Shape `(..., K)`, or `(..., blocks, K)` where a unit has several places along the kernel's axis, as `FanIn`.
        axis: The axis of the kernel along which units lie.
        rank: How many axes the kernel has.

    Returns:
        Sums with K channels, or blocks times K, one block after the other.
    """
    if len(fan_in.shape) > rank:
        fan_in = keras.ops.reshape(fan_in, (*keras.ops.shape(fan_in)[:-2], -1))
    return linear_response(layer, inputs, fan_in if axis == rank - 1 else keras.ops.moveaxis(fan_in, -1, axis))


def not_linear(layer: Any, name: str) -> str:
    """Why new units of a layer, or new inputs of it, cannot be computed, and what to do about it."""
    return (
        f"layer '{name}' ({type(layer).__name__}) is of a kind of which it is not known what it computes with other weights, as "
        "it is of Dense, EinsumDense, Embedding, Conv, and of SeparableConv for its own units. Use RandomFanIn() as initializer, "
        "and a trigger that looks at activations, weights or the loss; or leave the axis out of `axes`."
    )


def activated(layer: Any, outputs: Any) -> Any:
    """What the activation of a layer makes of sums of inputs."""
    activation = internals.activation_of(computing(layer))
    return outputs if activation is None else activation(outputs)


def takes_patches(layer: Any) -> bool:
    """Whether what enters a unit of a layer is a patch of its input."""
    return internals.is_convolution(layer)


def patch_kernel(layer: Any) -> np.ndarray:
    """Incoming weights with which the units of a convolution copy its patches, in the order of flattened weights."""
    return identity(tuple(int(extent) for extent in layer.kernel.shape[:-1]))


def identity(shape: tuple[int, ...]) -> np.ndarray:
    """For each entry of incoming weights `shape` a unit that has a 1 there, `(*shape, K)` float32."""
    return np.eye(prod(shape), dtype=np.float32).reshape(*shape, -1)


def seen_before_activation(operation: Any, args: list[Any], kwargs: dict[str, Any], see: Callable) -> Any:
    """Call a layer, and let `see` look at, or replace, what enters its activation."""
    inner = computing(operation)
    activation = internals.activation_of(inner)
    if activation is None or not isinstance(operation, keras.layers.Layer):
        return see(operation(*args, **kwargs))
    with internals.without_activation(inner):
        sums = operation(*args, **kwargs)
    return activation(see(sums))
