"""Batches for searches that train weights and architecture on different samples."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import keras
import numpy as np

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class PairedBatches(keras.utils.PyDataset):
    """Each step a batch A, of a new order in every epoch, and a batch B, drawn independently.

    Order and draws depend on seed, epoch and step only, so that an interrupted search goes on as it would have.

    Args:
        x: Inputs, shape `(samples, ...)`.
        y: Targets.
        batch_size: Samples of each batch; the last ones of an epoch that fill none are left out.
        seed: Same seed, same batches.
        other: Inputs and targets that batches B are drawn from; by default `x` and `y`.
        augment: Changes the inputs of each batch at random: takes them and a generator.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        seed: int = 0,
        other: tuple[Any, Any] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__()
        self._first = np.asarray(x), np.asarray(y)
        self._second = self._first if other is None else (np.asarray(other[0]), np.asarray(other[1]))
        for inputs, targets in (self._first, self._second):
            if len(inputs) != len(targets) or len(inputs) < batch_size:
                raise ValueError(
                    f"Expected as many targets as inputs, and at least a batch of {batch_size}. Received {len(inputs)} inputs "
                    f"and {len(targets)} targets."
                )
        self._batch_size, self._seed, self._augment = batch_size, seed, augment
        self.epoch = 0

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self._first[0]) // self._batch_size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return inputs and targets, those of A in front of those of B."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._first[0]))
        first = order[index * self._batch_size : (index + 1) * self._batch_size]
        drawn = np.random.default_rng((self._seed, self.epoch, index, 1))
        second = drawn.choice(len(self._second[0]), self._batch_size, replace=False)
        x, y = (np.concatenate([a[first], b[second]]) for a, b in zip(self._first, self._second, strict=True))
        return (x if self._augment is None else self._augment(x, drawn)), y


def divided(count: int, share: float, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide samples at random into those for the weights and those for the architecture.

    Args:
        count: How many samples there are.
        share: Of the samples, those for the architecture; rounded up to whole samples.
        batch_size: Each part must fill a batch.
        seed: Same seed, same division.

    Returns:
        Indices of both parts.

    Raises:
        ValueError: If a part fills no batch.
    """
    size = ceil(round(count * share, 6))
    if min(size, count - size) < batch_size:
        raise ValueError(
            f"Of {count} samples {count - size} are for the weights and {size} for the architecture (a share of {share:.3g}), "
            f"and both must fill a batch of {batch_size}. Use smaller batches, more samples, or another `split`."
        )
    order = np.random.default_rng((seed, 7)).permutation(count)
    return np.sort(order[size:]), np.sort(order[:size])
