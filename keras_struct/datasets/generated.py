"""Data that are made, not measured."""

from __future__ import annotations

import numpy as np

from keras_struct.datasets.arrays import Dataset


def independent_features(
    n_features: int = 64,
    n_independent: int = 64,
    samples: int = 5000,
    test_fraction: float = 0.1,
    noise: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Two classes, told apart by the sum of features of which only some are independent.

    The first `n_independent` features of a sample are normally distributed; the others are random linear combinations
    of these, with normally distributed coefficients. All features are summed up, normally distributed noise is added,
    and samples above the mean of the result are class 1. However many features there are, they span `n_independent`
    dimensions.

    The text of the thesis is followed. The code of its authors differs in that it tests on 20 % of the samples and
    thresholds `y = .9 * sum + .1 * N(0, 1)`, where the noise does not grow with the spread of the sum.

    Args:
        n_features: Number of features.
        n_independent: How many of them are independent, from 1 to `n_features`.
        samples: Number of samples, to train and to test on.
        test_fraction: Share of the samples, the last ones, to test on; rounded to whole samples.
        noise: Standard deviation of the noise as a fraction of that of the sum.
        seed: Same seed, same data.

    Returns:
        The data set, features of shape `(samples, n_features)` in float32.

    Raises:
        ValueError: If `n_independent` is not from 1 to `n_features`, `noise` negative, `test_fraction` not between 0
            and 1, or too few samples are asked for to have some to train and some to test on.

    References:
        K. Maile, *Dynamic Architectural Optimization of Artificial Neural Networks*, PhD thesis, 2023, section 6.3.2.

    >>> data = independent_features(n_features=8, n_independent=3, samples=100)
    >>> data.x_train.shape, data.x_test.shape
    ((90, 8), (10, 8))
    >>> int(np.linalg.matrix_rank(data.x_train))
    3
    """
    _check(n_features, n_independent, noise)
    tested = _tested(samples, test_fraction)
    rng = np.random.default_rng(seed)
    independent = rng.standard_normal((samples, n_independent))
    combined = independent @ rng.standard_normal((n_independent, n_features - n_independent))
    x = np.concatenate([independent, combined], axis=1)
    total = x.sum(axis=1)
    total += noise * total.std() * rng.standard_normal(samples)
    y = (total > total.mean()).astype(np.int64)
    arrays = {"x_train": x[:-tested], "y_train": y[:-tested], "x_test": x[-tested:], "y_test": y[-tested:]}
    return Dataset.from_arrays(f"independent_{n_independent}_of_{n_features}", arrays)


def _check(n_features: int, n_independent: int, noise: float) -> None:
    if not 1 <= n_independent <= n_features:
        raise ValueError(
            f"`n_independent` must be from 1 to `n_features`, which is {n_features}. Received: "
            f"n_independent={n_independent}"
        )
    if not 0 <= noise < np.inf:
        raise ValueError(
            f"`noise` is a fraction of the standard deviation of the sum and must be 0 or more. Received: noise={noise}"
        )


def _tested(samples: int, test_fraction: float) -> int:
    """How many samples to test on."""
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"`test_fraction` must be between 0 and 1, both excluded, such as 0.1. Received: test_fraction={test_fraction}"
        )
    tested = round(test_fraction * samples)
    if not 0 < tested < samples - 1:
        raise ValueError(
            f"There must be at least 1 sample to test on and 2 to train on. Received: samples={samples}, of which "
            f"test_fraction={test_fraction} are {max(tested, 0)}. Ask for more samples."
        )
    return tested
