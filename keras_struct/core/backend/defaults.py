"""What a backend does where it needs nothing of its own: operations of Keras, and steps that only TensorFlow takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import keras


def set_elastic(variable: Any, axes: Iterable[int]) -> bool:
    """Nothing to do: compiled steps are compiled again for a new shape, eager ones take any. Returns False."""
    return False


def watch(variables: Iterable[Any]) -> None:
    """Nothing to do: no compiled function keeps a variable."""


def slot_scope() -> Any:
    """Nothing to do: an optimizer is not built in a function that is being traced."""
    return nullcontext()


def follow_reference(slot: Any, reference: Any) -> None:
    """Nothing to do: see `set_elastic`."""


def prepare_optimizer(optimizer: Any) -> None:
    """Nothing to do: an optimizer looks at shapes when it runs."""


def refuse_distribution(model: Any) -> None:
    """Nothing to do: `keras.distribution` is checked by the caller."""


def add_bias(outputs: Any, bias: Any, channels_first: bool = False) -> Any:
    """Add one number to each channel."""
    rank = len(outputs.shape)
    shape = (1, -1) + (1,) * (rank - 2) if channels_first else (1,) * (rank - 1) + (-1,)
    return keras.ops.add(outputs, keras.ops.reshape(bias, shape))


def batch_normalization(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise each channel of images by its own mean and variance.

    Args:
        x: Shape `(batch, height, width, channels)`.
        gamma: Factors, `(channels,)`.
        beta: What is added, `(channels,)`.
        epsilon: Added to the variances.

    Returns:
        The result, and mean and unbiased variance of each channel.
    """
    ops = keras.ops
    mean, variance = ops.moments(x, axes=(0, 1, 2))
    result = ops.batch_normalization(x, mean, variance, -1, offset=beta, scale=gamma, epsilon=epsilon)
    shape = ops.shape(x)
    count = ops.cast(shape[0] * shape[1] * shape[2], variance.dtype)
    return result, mean, variance * count / ops.maximum(count - 1, 1)


def samples_between(tensor: Any, start: int, end: int) -> Any:
    """Samples of a batch."""
    return tensor[start:end]


def entries(tensor: Any) -> Any:
    """The tensor: there are no ragged ones."""
    return tensor


def convolved(layer: Any, inputs: Any, kernel: Any) -> Any:
    """What a convolution makes of inputs with another kernel."""
    return layer.convolution_op(inputs, kernel)


def gathered(x: Any, indices: Any, axis: int) -> Any:
    """Entries of a tensor or variable at places that are counted from the start."""
    return keras.ops.take(x, indices, axis=axis)


def outside(function: Callable) -> Any:
    """Run a function; nothing is traced around it."""
    return function()
