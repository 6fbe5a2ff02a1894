"""Batch normalisation of many small parts of a cell, whose statistics lie in one variable."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import current
from keras_struct.nas.cells import Key

MOMENTUM, EPSILON = 0.9, 1e-5
"""As in the authors' code: momentum 0.1 in the other way of counting."""


class CellNormalization:
    """What a cell normalises with during one call.

    Args:
        cell: A layer with `wiring`, `channels`, `moving_mean` and `moving_variance`, and `gamma` and `beta` if it is `affine`.
        training: Whether statistics are those of the batch, and are remembered.
    """

    def __init__(self, cell: Any, training: bool) -> None:
        self._cell, self._training = cell, training
        self._seen: list[tuple[int, Any, Any]] = []

    def __call__(self, x: Any, key: Key, count: int) -> Any:
        """Normalise some parts that lie side by side.

        Args:
            x: Images, `(batch, height, width, count · channels)`.
            key: Which normalisation the first part has.
            count: How many parts.
        """
        cell, ops = self._cell, keras.ops
        row = cell.wiring.rows[key]
        rows, size = slice(row, row + count), (count * cell.channels,)
        gamma = ops.reshape(cell.gamma[rows], size) if cell.affine else ops.ones(size, x.dtype)
        beta = ops.reshape(cell.beta[rows], size) if cell.affine else ops.zeros(size, x.dtype)
        if self._training:
            result, mean, variance = current().batch_normalization(x, gamma, beta, EPSILON)
            self._seen.append((row, mean, variance))
            return result
        mean, variance = (ops.reshape(part[rows], size) for part in (cell.moving_mean, cell.moving_variance))
        factor = ops.cast(ops.rsqrt(variance + EPSILON), x.dtype) * gamma
        return x * factor + (beta - ops.cast(mean, x.dtype) * factor)

    def finish(self) -> None:
        """Remember the statistics of the batch."""
        if not self._training:
            return
        ops, cell = keras.ops, self._cell
        self._seen.sort(key=lambda entry: entry[0])
        for variable, place in ((cell.moving_mean, 1), (cell.moving_variance, 2)):
            seen = ops.concatenate([ops.reshape(entry[place], (-1, cell.channels)) for entry in self._seen])
            variable.assign(variable * MOMENTUM + ops.cast(seen, variable.dtype) * (1 - MOMENTUM))
