"""Images that are turned, to learn symmetries from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_struct.data.arrays import Dataset
from keras_struct.symmetry.groups import Group, act_on_grid, get

TRAIN, TEST = 12000, 50000


def rotated_mnist(mnist: Dataset, seed: int = 0) -> Dataset:
    """Make rotated MNIST of MNIST: each image turned by a random angle.

    Args:
        mnist: MNIST, or any images of shape `(samples, height, width)`.
        seed: Of the angles, from 0° to 360°, and of the choice of images.

    Returns:
        12000 images for training and 50000 for testing, or as many in proportion if there are fewer; shape
        `(samples, height, width, 1)`, interpolated linearly, black outside.

    References:
        Larochelle, Erhan, Courville, Bergstra, Bengio, *An Empirical Evaluation of Deep Architectures on Problems with Many
        Factors of Variation*, ICML 2007, whose own files differ in choice and angles.
    """
    from scipy.ndimage import rotate

    images, labels = np.concatenate([mnist.x_train, mnist.x_test]), np.concatenate([mnist.y_train, mnist.y_test])
    rng = np.random.default_rng(seed)
    order, share = rng.permutation(len(images)), min(1.0, len(images) / (TRAIN + TEST))
    angles = rng.uniform(0, 360, len(images))
    parts = (order[: int(share * TRAIN)], order[int(share * TRAIN) : int(share * (TRAIN + TEST))])
    x = [
        np.stack([rotate(images[i], angles[i], reshape=False, order=1) for i in part]).astype(np.float32)[..., None]
        for part in parts
    ]
    return Dataset("rotated_mnist", x[0], labels[parts[0]], x[1], labels[parts[1]], mnist.num_classes)


def turned(data: Dataset, group: str | Group, seed: int = 0) -> Dataset:
    """Turn and mirror each image by a random element of a group, exactly: what is to be learned is known.

    Args:
        data: Images of shape `(samples, height, width)` or `(samples, height, width, channels)`, square.
        group: The group.
        seed: Of the elements.

    Returns:
        The same images in the same order, with an axis of channels.

    Raises:
        ValueError: If the images are not square and the group has quarter turns.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis Figure 12).
    """
    chosen, rng = get(group), np.random.default_rng(seed)
    parts = {}
    for name in ("x_train", "x_test"):
        x = getattr(data, name)
        x = x[..., None] if x.ndim == 3 else x
        if chosen.rotations == 4 and x.shape[1] != x.shape[2]:
            raise ValueError(f"Quarter turns need square images. Received shape {x.shape}.")
        drawn = rng.integers(0, chosen.order, len(x))
        moved = x.copy()
        for i, element in enumerate(chosen.elements):
            moved[drawn == i] = act_on_grid(element, x[drawn == i], (1, 2))
        parts[name] = moved
    return replace(data, name=f"{data.name}, turned by {chosen}", **parts)
