"""Wide residual network with 28 layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_struct.activations import relu1
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.units.conv import GrowableConv2D
from keras_struct.units.vgg import CHANNELS, check_arguments, scaled

GROUPS = (16, 32, 64)
"""Channels of each group of blocks at width 1."""
STRIDES = (1, 2, 2)
BLOCKS = 4
"""Blocks per group: 28 = 6 * 4 + 4."""


def WideResNet28(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    activation: str | Callable[[Any], Any] = relu1,
    classifier_activation: str | Callable[[Any], Any] | None = "softmax",
    name: str = "wide_resnet28",
) -> StructuralModel:
    """WRN-28: three groups of four pre-activation residual blocks.

    A block adds BN, activation, 3 x 3 convolution, BN, activation, 3 x 3 convolution to its shortcut. Where stride or
    channels change, the shortcut is a 1 x 1 convolution of the activated input. Convolutions have no bias; kernels
    start from `glorot_uniform` (Xavier). Layers are called `stem`, `group1_block1_conv1`, `group2_block1_shortcut` and
    so on, up to `predictions`.

    The first convolution of a block has an axis of its own. What is added up must have the same channels: the shortcut
    and the second convolutions of a group are edited together, as one axis, and in group 1 the stem belongs to them,
    as its output reaches their sums unchanged. `model.structure.axes` has the names; these three are called after the
    first layer that makes them: `stem`, `group2_block1_shortcut` and `group3_block1_shortcut`.

    Args:
        input_shape: Height, width and channels of an image; height and width at least 4, as two groups halve them.
        num_classes: Number of classes.
        width: Factor of the numbers of channels, which are rounded, to at least 1. 1.0 is WRN-28-1. It also widens the
            stem; in the paper the stem keeps its 16 channels at any width.
        activation: Of all hidden layers. The default, `keras_struct.activations.relu1`, is ReLU with derivative 1 at
            0, so that units train that start from zero weights.
        classifier_activation: Of the output; `None` for logits.
        name: Name of the model.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If `width` is not positive, `num_classes` is less than 1, or the images are too small.

    References:
        S. Zagoruyko, N. Komodakis, *Wide Residual Networks*, BMVC 2016.

    Examples:
        >>> small = WideResNet28(width=1 / 4)
        >>> small.structure.axes["stem"], small.structure.axes["group3_block1_conv1"]
        (4, 16)
        >>> event = small.grow("stem", 2)
        >>> small.get_layer("group1_block4_conv2").filters
        6
    """
    check_arguments(input_shape, num_classes, width, smallest=2 ** (len(GROUPS) - 1))
    inputs = keras.Input(input_shape)
    x = _convolution(scaled(GROUPS[0], width), 3, "stem")(inputs)
    for group, (channels, stride) in enumerate(zip(GROUPS, STRIDES, strict=True), 1):
        for block in range(1, BLOCKS + 1):
            prefix = f"group{group}_block{block}"
            x = _block(x, scaled(channels, width), stride if block == 1 else 1, activation, prefix)
    x = _activated(x, activation, "final_bn", "final_activation")
    x = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS, name="average")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return StructuralModel(inputs, outputs, name=name)


def _block(x: Any, channels: int, stride: int, activation: Any, name: str) -> Any:
    """A residual block; its shortcut is `x` itself where stride and channels stay."""
    y = _activated(x, activation, f"{name}_bn1", f"{name}_activation1")
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolution(channels, 1, f"{name}_shortcut", stride)(y)
    y = _convolution(channels, 3, f"{name}_conv1", stride)(y)
    y = _activated(y, activation, f"{name}_bn2", f"{name}_activation2")
    y = _convolution(channels, 3, f"{name}_conv2")(y)
    return keras.layers.Add(name=f"{name}_add")([shortcut, y])


def _activated(x: Any, activation: Any, bn: str, name: str) -> Any:
    """Batch normalization and activation."""
    return keras.layers.Activation(activation, name=name)(keras.layers.BatchNormalization(name=bn)(x))


def _convolution(channels: int, size: int, name: str, stride: int = 1) -> GrowableConv2D:
    """A convolution without bias, as a batch normalization follows, here or in the next block."""
    return GrowableConv2D(
        channels, size, strides=stride, padding="same", data_format=CHANNELS, use_bias=False, name=name
    )
