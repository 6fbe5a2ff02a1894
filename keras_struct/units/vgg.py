"""VGG-11 for small images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_struct.activations import relu1
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.units.conv import GrowableConv2D
from keras_struct.units.dense import GrowableDense

CONVOLUTIONS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Filters at width 1, between one pooling and the next."""
DENSE = (4096, 4096)
CHANNELS = "channels_last"


def VGG11(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    activation: str | Callable[[Any], Any] = relu1,
    classifier_activation: str | Callable[[Any], Any] | None = "softmax",
    batch_normalization: bool = False,
    name: str = "vgg11",
) -> StructuralModel:
    """VGG-11: eight 3 x 3 convolutions, five poolings and three dense layers.

    All hidden layers can be edited; they are called `conv1` to `conv8`, `dense1` and `dense2`, and so are their axes.
    The output layer is `predictions`. Kernels start from `glorot_uniform` (Xavier), biases from 0. The thesis lets it
    grow from width 1/4.

    Args:
        input_shape: Height, width and channels of an image; height and width at least 32, as each pooling halves them.
        num_classes: Number of classes.
        width: Factor of the numbers of filters and units, which are rounded, to at least 1.
        activation: Of all hidden layers. The default, `keras_struct.activations.relu1`, is ReLU with derivative 1 at
            0, so that units train that start from zero weights.
        classifier_activation: Of the output; `None` for logits.
        batch_normalization: Whether to normalize between each convolution and its activation. The convolutions have no
            bias then, as the normalization has one, and the activations are layers of their own.
        name: Name of the model.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If `width` is not positive, `num_classes` is less than 1, or the images are too small.

    References:
        K. Simonyan, A. Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, ICLR 2015,
        configuration A.

        K. Maile, *Dynamic Architectural Optimization of Artificial Neural Networks*, PhD thesis, 2023, section 6.3.4.

    Examples:
        >>> small = VGG11(width=1 / 16)
        >>> small.structure.axes["conv1"], small.structure.axes["dense1"]
        (4, 256)
        >>> event = small.grow("conv1", 2)
        >>> small.get_layer("conv1").filters
        6
    """
    check_arguments(input_shape, num_classes, width, smallest=2 ** len(CONVOLUTIONS))
    inputs = x = keras.Input(input_shape)
    number = 0
    for block, filters in enumerate(CONVOLUTIONS, 1):
        for count in filters:
            number += 1
            x = _convolution(x, scaled(count, width), activation, batch_normalization, number)
        x = keras.layers.MaxPooling2D(2, data_format=CHANNELS, name=f"pool{block}")(x)
    x = keras.layers.Flatten(data_format=CHANNELS, name="flatten")(x)
    for i, count in enumerate(DENSE, 1):
        x = GrowableDense(scaled(count, width), activation=activation, name=f"dense{i}")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return StructuralModel(inputs, outputs, name=name)


def _convolution(x: Any, filters: int, activation: Any, normalize: bool, number: int) -> Any:
    """Convolution and activation, with a batch normalization between them if requested."""
    conv = GrowableConv2D(
        filters,
        3,
        padding="same",
        data_format=CHANNELS,
        activation=None if normalize else activation,
        use_bias=not normalize,
        name=f"conv{number}",
    )
    if not normalize:
        return conv(x)
    x = keras.layers.BatchNormalization(name=f"bn{number}")(conv(x))
    return keras.layers.Activation(activation, name=f"activation{number}")(x)


def scaled(count: int, width: float) -> int:
    """A number of filters or units times a factor, rounded, at least 1."""
    return max(1, round(count * width))


def check_arguments(input_shape: Any, num_classes: int, width: float, smallest: int) -> None:
    """Check what the networks of this package have in common.

    Args:
        input_shape: As given by the user.
        num_classes: As given by the user.
        width: As given by the user.
        smallest: Least height and width of an image.

    Raises:
        ValueError: If one of them is not as it must be.
    """
    if not 0 < width < math.inf:
        raise ValueError(
            f"`width` multiplies the numbers of filters and must be positive, such as 0.25. Received: width={width}"
        )
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1. Received: num_classes={num_classes}")
    sizes = tuple(input_shape)
    if len(sizes) != 3 or not all(isinstance(size, int) for size in sizes) or sizes[2] < 1:
        raise ValueError(
            "`input_shape` must be the height, width and number of channels of an image as whole numbers, such as "
            f"(32, 32, 3), without the batch axis. Received: input_shape={input_shape}"
        )
    if min(sizes[:2]) < smallest:
        raise ValueError(
            f"Images must be at least {smallest} x {smallest}, as the network halves their height and width until less "
            f"than one place would be left. Received: input_shape={input_shape}. Enlarge or pad the images."
        )
