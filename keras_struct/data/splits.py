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


def stratified_sample(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Indices of a random choice with the same share of every class, as far as whole numbers allow.

    Args:
        labels: Shape `(samples,)`, integers.
        size: How many to choose, from the number of classes to the number of samples; at least one of every class.
        seed: Same seed, same choice.

    Returns:
        An increasing vector of indices.
    """
    rng = np.random.default_rng(seed)
    found, counts = np.unique(labels, return_counts=True)
    shares = zip(found, _whole_shares(counts, size), strict=True)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in shares]
    return np.sort(np.concatenate(chosen))


def _whole_shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total`, in proportion to `counts`, each at least 1: those furthest off are corrected."""
    exact = total * counts / counts.sum()
    shares = np.maximum(exact.astype(np.int64), 1)
    while shares.sum() < total:
        shares[np.argmax(exact - shares)] += 1
    while shares.sum() > total:
        shares[np.argmax(np.where(shares > 1, shares - exact, -np.inf))] -= 1
    return shares
