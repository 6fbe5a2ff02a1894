"""Samples to train on and samples to test on."""

from __future__ import annotations

import numpy as np


def stratified_split(labels: np.ndarray, test_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to test on, with the same share of every class.

    Args:
        labels: Shape `(samples,)`, integers.
        test_fraction: Share of every class to test on, rounded to whole samples.
        seed: Same seed, same split.

    Returns:
        Two increasing vectors of indices that together are all.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(test_fraction * len(members))]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
