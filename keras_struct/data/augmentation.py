"""Random changes of images, and images on one scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_struct.data.arrays import Dataset


@dataclass(frozen=True)
class ImageAugmentation:
    """Shifts, mirrors and covers images at random, each on its own: what is customary for CIFAR.

    To be called with images of shape `(samples, height, width, channels)` and a `numpy.random.Generator`; returns as many, of the
    same shape and dtype.

    Attributes:
        padding: Images are shifted by at most so many pixels along each axis; zeros come in. (Padding by as many and cropping.)
        flip: Whether left and right are exchanged in half of the images.
        cutout: Side in pixels of a square that is set to zero, anywhere, also reaching over the edge; 0 for none.

    Raises:
        ValueError: If a number is negative, or images have another number of axes.

    References:
        He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, section 4.2; DeVries, Taylor, *Improved
        Regularization of Convolutional Neural Networks with Cutout*, 2017.

    Examples:
        >>> changed = datasets.ImageAugmentation(padding=1, cutout=2)(np.ones((5, 8, 8, 3)), np.random.default_rng(0))
        >>> changed.shape
        (5, 8, 8, 3)
    """

    padding: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.padding < 0 or self.cutout < 0:
            raise ValueError(
                f"`padding` and `cutout` are pixels, not negative. Received {self.padding} and {self.cutout}."
            )

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return changed copies of images."""
        images = np.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"Expected images of shape (samples, height, width, channels). Received {images.shape}.")
        count, height, width, _ = images.shape
        p = self.padding
        tops, lefts = generator.integers(0, 2 * p + 1, (2, count))
        mirrored = np.less(generator.random(count), 0.5 * self.flip)
        padded = np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)))
        columns: Any = np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width)) + lefts[:, None]
        rows = np.arange(height) + tops[:, None]
        changed = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.cutout:
            near = [
                np.abs(np.arange(extent) + 0.5 - generator.integers(0, extent + 1, (count, 1))) < self.cutout / 2
                for extent in (height, width)
            ]
            changed[np.logical_and(np.expand_dims(near[0], 2), np.expand_dims(near[1], 1))] = 0
        return changed


class AugmentedBatches(keras.utils.PyDataset):
    """Batches of a data set, in another order and changed again in every epoch, for `keras.Model.fit`.

    Args:
        x: Inputs, shape `(samples, ...)`.
        y: Targets.
        batch_size: Samples of a batch; the last ones of an epoch that fill none are left out.
        augment: Changes the inputs of a batch: takes them and a `numpy.random.Generator`.
        seed: Same seed, same batches.

    Raises:
        ValueError: If the samples fill no batch, or inputs and targets differ in number.

    Examples:
        >>> len(datasets.AugmentedBatches(np.zeros((10, 8, 8, 3)), np.zeros(10), 4, datasets.ImageAugmentation()))
        2
    """

    def __init__(self, x: Any, y: Any, batch_size: int, augment: Any, seed: int = 0) -> None:
        super().__init__()
        self._x, self._y = np.asarray(x), np.asarray(y)
        if len(self._x) != len(self._y) or not 0 < batch_size <= len(self._x):
            raise ValueError(
                f"Expected as many targets as inputs, and at least a batch of {batch_size}. Received {len(self._x)} inputs and "
                f"{len(self._y)} targets."
            )
        self._batch_size, self._augment, self._seed, self._epoch = batch_size, augment, seed, 0

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self._x) // self._batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of a step."""
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._x))
        chosen = order[index * self._batch_size : (index + 1) * self._batch_size]
        drawn = np.random.default_rng((self._seed, self._epoch, index, 1))
        return self._augment(self._x[chosen], drawn), self._y[chosen]

    def on_epoch_end(self) -> None:
        """Go on to the order of the next epoch."""
        self._epoch += 1


def standardized(data: Dataset) -> Dataset:
    """Return a data set whose inputs have mean 0 and standard deviation 1 in every channel, over the samples to train on.

    Examples:
        >>> data = datasets.standardized(datasets.load("digits"))
        >>> abs(float(data.x_train.mean())) < 1e-5
        True
    """
    axes = tuple(range(max(1, data.x_train.ndim - 1))) if data.x_train.ndim > 3 else None
    mean, deviation = data.x_train.mean(axes), data.x_train.std(axes) + 1e-7
    return replace(data, x_train=(data.x_train - mean) / deviation, x_test=(data.x_test - mean) / deviation)
