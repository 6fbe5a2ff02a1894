"""Batches for searches that train weights and architecture on different samples of the same data."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class PairedBatches(keras.utils.PyDataset):
    """Each step a batch A, of a new order in every epoch, and a batch B, drawn independently from the same data.

    Order and draws depend on seed, epoch and step only, so that an interrupted search goes on as it would have.

    Args:
        x: Inputs, shape `(samples, ...)`.
        y: Targets.
        batch_size: Samples of each batch; the last ones of an epoch that fill none are left out.
        seed: Same seed, same batches.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, seed: int = 0) -> None:
        super().__init__()
        if len(x) != len(y) or len(x) < batch_size:
            raise ValueError(
                f"Expected as many targets as inputs, and at least a batch of {batch_size}. Received {len(x)} inputs and "
                f"{len(y)} targets."
            )
        self._x, self._y, self._batch_size, self._seed = np.asarray(x), np.asarray(y), batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self._x) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return inputs and targets, those of A in front of those of B."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._x))
        first = order[index * self._batch_size : (index + 1) * self._batch_size]
        drawn = np.random.default_rng((self._seed, self.epoch, index, 1))
        second = drawn.choice(len(self._x), self._batch_size, replace=False)
        both = np.concatenate([first, second])
        return self._x[both], self._y[both]
