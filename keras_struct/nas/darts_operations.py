"""Operations of DARTS cells, of all paths that leave one state at once. All images are channels-last."""

from __future__ import annotations

from typing import Any

import keras


def separable(x: Any, depthwise: Any, pointwise: Any, strides: int, dilation: int) -> Any:
    """Depthwise-separable convolutions that read the same images.

    Args:
        x: Images, `(batch, height, width, channels)`.
        depthwise: Kernels, `(paths, size, size, channels)`.
        pointwise: Kernels, `(paths, channels, filters)`.
        strides: Of the depthwise convolutions.
        dilation: Of the depthwise convolutions.

    Returns:
        Shape `(batch, height / strides, width / strides, paths · filters)`.
    """
    ops = keras.ops
    paths, size, _, channels = depthwise.shape
    if dilation == 2 and strides == 2:  # every tap falls on an even place
        x, dilation, strides = x[:, ::2, ::2], 1, 1
    x, padding = _padded(x, size, strides, dilation)
    kernel = ops.transpose(depthwise, (1, 2, 3, 0))
    y = ops.depthwise_conv(x, kernel, strides, padding, "channels_last", dilation)
    if paths == 1:
        return _pointwise(y, pointwise[0])
    y = _split(y, (channels, paths))
    return _joined(ops.einsum("bhwce,ecd->bhwed", y, pointwise))


def separable_each(x: Any, depthwise: Any, pointwise: Any) -> Any:
    """Depthwise-separable convolutions of stride 1, each of images of its own.

    Args:
        x: Images, `(batch, height, width, paths · channels)`.
        depthwise: Kernels, `(paths, size, size, channels)`.
        pointwise: Kernels, `(paths, channels, filters)`.

    Returns:
        Shape `(batch, height, width, paths · filters)`.
    """
    ops = keras.ops
    paths, size, _, channels = depthwise.shape
    kernel = ops.reshape(ops.transpose(depthwise, (1, 2, 0, 3)), (size, size, paths * channels, 1))
    y = ops.depthwise_conv(x, kernel, 1, "same", "channels_last")
    if paths == 1:
        return _pointwise(y, pointwise[0])
    return _joined(ops.einsum("bhwec,ecd->bhwed", _split(y, (paths, channels)), pointwise))


def factorized(x: Any, kernels: Any) -> Any:
    """Halve resolution: of even places one half of the filters is made, of odd ones the other.

    Args:
        x: Images of even height and width, `(batch, height, width, channels)`.
        kernels: `(paths, 2, channels, filters / 2)`.

    Returns:
        Shape `(batch, height / 2, width / 2, paths · filters)`.
    """
    ops = keras.ops
    halves = [ops.einsum("bhwc,ecd->bhwed", x[:, i::2, i::2], kernels[:, i]) for i in (0, 1)]
    return _joined(ops.concatenate(halves, axis=-1))


def asymmetric(x: Any, kernels: Any, strides: int) -> Any:
    """Convolve by 1 x 7, then by 7 x 1, each path with kernels of its own.

    Args:
        x: Images, `(batch, height, width, channels)`.
        kernels: `(paths, 2, 7, channels, channels)`.
        strides: Along width in the first, along height in the second.

    Returns:
        Shape `(batch, height / strides, width / strides, paths · channels)`.
    """
    ops, found = keras.ops, []
    for i in range(kernels.shape[0]):
        y = ops.conv(ops.pad(x, ((0, 0), (0, 0), (3, 3), (0, 0))), kernels[i, 0][None], (1, strides), "valid")
        y = ops.pad(y, ((0, 0), (3, 3), (0, 0), (0, 0)))
        found.append(ops.conv(y, kernels[i, 1][:, None], (strides, 1), "valid"))
    return ops.concatenate(found, axis=-1)


def pooled(x: Any, mode: str, strides: int) -> Any:
    """Pool windows of 3 x 3 around each place (each second one with stride 2); what is outside does not count."""
    ops = keras.ops
    if strides == 1:
        pool = ops.max_pool if mode == "max_pool_3x3" else ops.average_pool
        return pool(x, 3, 1, "same", "channels_last")
    if mode == "max_pool_3x3":
        lowest = -float("inf") if x.dtype in ("float32", "float64") else -6e4
        return ops.max_pool(ops.pad(x, _BEFORE, constant_values=lowest), 3, 2, "valid", "channels_last")
    share = ops.average_pool(ops.pad(ops.ones_like(x[:1, :, :, :1]), _BEFORE), 3, 2, "valid", "channels_last")
    return ops.average_pool(ops.pad(x, _BEFORE), 3, 2, "valid", "channels_last") / share


_BEFORE = ((0, 0), (1, 0), (1, 0), (0, 0))


def _padded(x: Any, size: int, strides: int, dilation: int) -> tuple[Any, str]:
    """Images that are padded alike on all sides, as the authors' code does; `same` would pad less in front for stride 2."""
    if strides == 1:
        return x, "same"
    one = dilation * (size // 2)
    return keras.ops.pad(x, ((0, 0), (one, one), (one, one), (0, 0))), "valid"


def _pointwise(x: Any, kernel: Any) -> Any:
    return keras.ops.conv(x, kernel[None, None], 1, "same", "channels_last")


def _split(x: Any, parts: tuple[int, int]) -> Any:
    shape = keras.ops.shape(x)
    return keras.ops.reshape(x, (-1, shape[1], shape[2], *parts))


def _joined(x: Any) -> Any:
    shape = keras.ops.shape(x)
    return keras.ops.reshape(x, (-1, shape[1], shape[2], x.shape[3] * x.shape[4]))
