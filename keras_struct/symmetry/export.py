"""Equivariant layers as stock ones, with the kernels expanded."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.export.forms import PlainForm, register_plain_form
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.group_norm import GroupBatchNormalization
from keras_struct.symmetry.group_pooling import GroupPooling2D
from keras_struct.symmetry.mixed_conv import MixedEquivariantConv


def plain_symmetric(layer: Any) -> Any:
    """Return a stock layer (or a small stack) that computes the same, without weights yet."""
    if isinstance(layer, GroupPooling2D):
        return _pooling(layer)
    if isinstance(layer, GroupBatchNormalization):
        return keras.layers.BatchNormalization(
            axis=1 if layer.data_format == "channels_first" else -1,
            momentum=layer.momentum,
            epsilon=layer.epsilon,
            center=layer.center,
            scale=layer.scale,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    return keras.layers.Conv2D(
        layer.filters * layer.frame.order,
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
        activation=layer.activation,
        use_bias=layer.use_bias,
        name=layer.name,
        dtype=layer.dtype_policy,
    )


def copy_symmetric(layer: Any, plain: Any) -> None:
    """Give the stock layer the expanded weights."""
    if isinstance(layer, GroupPooling2D):
        return
    if isinstance(layer, GroupBatchNormalization):
        coset = layer.group.decomposition(layer.frame)[1]
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            if (value := getattr(layer, name)) is not None:
                numbers = np.array(keras.ops.convert_to_numpy(value))
                getattr(plain, name).assign((numbers[:, coset] if name in ("gamma", "beta") else numbers).ravel())
        return
    plain.kernel.assign(np.array(keras.ops.convert_to_numpy(layer.expanded_kernel())))
    if layer.use_bias:
        plain.bias.assign(np.array(keras.ops.convert_to_numpy(layer.expanded_bias())))


def _pooling(layer: GroupPooling2D) -> Any:
    """A mean is a fixed matrix; a maximum puts the elements of each coset side by side first."""
    shape = tuple(layer.input.shape[1:])
    if layer.data_format == "channels_first" and len(shape) > 1:
        raise ValueError(
            f"Layer '{layer.name}' cannot be written in stock layers with data_format='channels_first' before global pooling. "
            "Put the global pooling in front of it."
        )
    members, order, channels = layer.members, layer.frame.order, shape[-1]
    matrix = np.zeros((channels, channels // order, *members.shape), "float32")
    for field in range(channels // order):
        for coset, places in enumerate(members):
            for i, place in enumerate(places):
                matrix[field * order + place, field, coset, i] = 1.0
    if layer.mode == "mean":
        return _fixed(matrix.mean(axis=-1).reshape(channels, -1), layer.name)
    size = members.shape[1]
    stack = [
        keras.Input(shape),
        _fixed(matrix.reshape(channels, channels)),
        keras.layers.Reshape((-1, size)),
        keras.layers.GlobalMaxPooling1D(data_format="channels_first"),
        keras.layers.Reshape((*shape[:-1], channels // size)),
    ]
    return keras.Sequential(stack, name=layer.name)


def _fixed(matrix: np.ndarray, name: str | None = None) -> Any:
    """A dense layer with a kernel that stays."""
    return keras.layers.Dense(
        matrix.shape[1],
        use_bias=False,
        trainable=False,
        name=name,
        kernel_initializer=keras.initializers.Constant(matrix.tolist()),
    )


for kind in (GroupConv2D, MixedEquivariantConv, GroupBatchNormalization, GroupPooling2D):
    register_plain_form(kind, PlainForm(plain_symmetric, copy_symmetric))
