"""Individuals that no other is better than."""

from __future__ import annotations

import numpy as np


def pareto_front(costs: np.ndarray) -> np.ndarray:
    """Return which rows no other row is at least as good as everywhere, and better somewhere; lower is better.

    >>> pareto_front(np.array([[1., 5.], [2., 3.], [3., 4.]])).tolist()
    [True, True, False]
    """
    better = (costs[:, None] <= costs[None, :]).all(axis=2) & (costs[:, None] < costs[None, :]).any(axis=2)
    return np.asarray(~better.any(axis=0))
