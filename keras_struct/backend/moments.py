"""Batch normalisation for backends without an operation of its own for it."""

from __future__ import annotations

from typing import Any

import keras


def normalized_by_moments(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
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
