"""The one array operation behind every width edit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEW = -1
"""Stands in `source` for an entry without ancestor."""


def remap(
    array: np.ndarray, axis: int, source: Sequence[int] | np.ndarray, new: float | np.ndarray = 0.0
) -> np.ndarray:
    """Rearrange `array` along `axis` so that entry `i` descends from entry `source[i]`.

    The same call rearranges a weight, its optimizer slots, its moving statistics and recorded activations.

    Args:
        array: Shape `(..., old_width, ...)` with `old_width` at `axis`.
        axis: Non-negative axis to rearrange.
        source: For each new entry its old index, or `NEW` (-1) for an entry without ancestor.
        new: Value of the entries without ancestor; broadcasts against the result's new entries, whose shape is that of
            the result with the number of new entries at `axis`.

    Returns:
        Shape `(..., len(source), ...)`, same dtype as `array`.

    Raises:
        ValueError: If `axis` or an index in `source` is out of range.

    >>> remap(np.array([10., 11., 12.]), axis=0, source=[0, 2, -1], new=7.)
    array([10., 12.,  7.])
    """
    array = np.asarray(array)
    index = np.asarray(source, dtype=np.int64)
    if not 0 <= axis < array.ndim:
        raise ValueError(
            f"Cannot remap axis {axis} of an array of shape {array.shape}: the axis must be 0 to {array.ndim - 1}."
        )
    width = array.shape[axis]
    if index.size and (index.min() < NEW or index.max() >= width):
        raise ValueError(
            f"Cannot remap axis {axis} of an array of shape {array.shape}: `source` must hold indices from 0 to "
            f"{width - 1}, or -1 for a new entry, but holds {index.min()} to {index.max()}."
        )
    fresh = index == NEW
    result = np.take(array, index, axis=axis)
    if fresh.any():
        result[(slice(None),) * axis + (fresh,)] = new
    return result
