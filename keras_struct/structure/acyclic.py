"""Graphs of neurons in an order: edges lead from earlier to later ones."""

from __future__ import annotations

import numpy as np


def checked_adjacency(adjacency: np.ndarray, neurons: int) -> np.ndarray:
    """Return the edges of a graph as booleans, 1 at (j, i) for the edge from i to j.

    Raises:
        ValueError: If the shape is another, entries are neither 0 nor 1, or an edge does not lead to a later neuron.

    >>> checked_adjacency(np.array([[0, 0], [1, 0]]), 2).astype(int).tolist()
    [[0, 0], [1, 0]]
    """
    found = np.asarray(adjacency)
    if found.shape != (neurons, neurons):
        raise ValueError(
            f"Expected an adjacency matrix of shape ({neurons}, {neurons}), a row and a column for each neuron. Received shape "
            f"{found.shape}."
        )
    if found.dtype != bool and not np.isin(found, (0, 1)).all():
        raise ValueError(f"An adjacency matrix holds booleans, or 0 and 1 only. Received dtype {found.dtype}.")
    found = found.astype(bool)
    wrong = np.argwhere(np.triu(found))
    if len(wrong):
        later, earlier = wrong[0]
        raise ValueError(
            f"An edge must lead from an earlier to a later neuron, below the diagonal of the matrix, so that there is no cycle. "
            f"Received an edge from {earlier} to {later}, and {len(wrong) - 1} more like it. Number the neurons in an order in "
            "which they can be computed, and put 1 at (later, earlier)."
        )
    return found


def levels_of(adjacency: np.ndarray) -> np.ndarray:
    """Return for each neuron the number of edges on the longest path that ends there.

    >>> levels_of(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])).tolist()
    [0, 1, 2]
    """
    found = np.zeros(len(adjacency), int)
    for later, row in enumerate(np.asarray(adjacency, bool)):
        if row.any():
            found[later] = 1 + found[: len(row)][row].max()
    return found
