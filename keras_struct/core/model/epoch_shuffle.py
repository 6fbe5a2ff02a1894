"""Array data in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import keras
import numpy as np


class EpochShuffledArrays(keras.utils.PyDataset):
    """Batches of array data, shuffled by a permutation drawn from a seed and the number of the epoch.

    A resumed run therefore sees the batches that it would have seen.

    Args:
        arrays: Structure of arrays, `(x, y)` or `(x, y, sample_weight)`, all with the same number of samples.
        batch_size: Samples in a batch; the last one can be smaller.
        seed: Seed of the order.
        epoch: Returns the number of the current epoch.
    """

    def __init__(self, arrays: tuple[Any, ...], batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        super().__init__()
        self.arrays = arrays
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self._samples = len(keras.tree.flatten(arrays)[0])
        self._order: tuple[int, np.ndarray] = (-1, np.arange(self._samples))

    def __len__(self) -> int:
        return ceil(self._samples / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        epoch = self.epoch()
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(self._samples))
        chosen = self._order[1][index * self.batch_size : (index + 1) * self.batch_size]
        return keras.tree.map_structure(lambda array: np.asarray(array)[chosen], self.arrays)


def is_array_data(x: Any) -> bool:
    """Whether `x` is an array or a structure of arrays, not a dataset or generator."""
    flat = keras.tree.flatten(x)
    return bool(flat) and all(isinstance(part, np.ndarray) or keras.ops.is_tensor(part) for part in flat)


def epoch_shuffled(x: Any, y: Any, seed: int, epoch: Callable[[], int], options: dict[str, Any]) -> dict[str, Any]:
    """Turn array data of a call of `fit` into an `EpochShuffledArrays`.

    Args:
        x: Inputs.
        y: Targets, or `None`.
        seed: Seed of the order.
        epoch: Returns the number of the current epoch.
        options: Other arguments of `fit`.

    Returns:
        All arguments of `fit`, with the validation split taken off the end as Keras does.
    """
    options = dict(options)
    weight = options.pop("sample_weight", None)
    arrays = tuple(part for part in (x, y, weight) if part is not None)
    if split := options.pop("validation_split", 0.0):
        place = int(len(keras.tree.flatten(x)[0]) * (1.0 - split))
        options["validation_data"] = keras.tree.map_structure(lambda a: a[place:], arrays)
        arrays = keras.tree.map_structure(lambda a: a[:place], arrays)
    batch_size = options.pop("batch_size", None) or 32
    options.setdefault("validation_batch_size", batch_size)
    return {**options, "x": EpochShuffledArrays(arrays, batch_size, seed, epoch), "y": None, "shuffle": False}
