"""From weights of operations to the discrete cell that they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_struct.nas.genotypes import Gene


def edges_of(nodes: int, inputs: int) -> list[slice]:
    """Return the rows of the edges that lead to each node: node i has one from each input and each node before.

    >>> edges_of(4, 2)[-1]
    slice(9, 14, None)
    """
    found, start = [], 0
    for node in range(nodes):
        found.append(slice(start, start + inputs + node))
        start += inputs + node
    return found


def chosen(
    weights: np.ndarray, operations: Sequence[str], inputs: int = 2, kept: int = 2
) -> Iterator[list[tuple[int, int]]]:
    """Yield for each node the edges that stay and their operations, in the order of decreasing strength.

    An edge is as strong as the strongest of its operations except `none`. Ties go to what comes first.

    Args:
        weights: Activated weights, `(edges, operations)`; what has been pruned is -inf.
        operations: Names of the columns.
        inputs: How many states there are before the first node.
        kept: How many edges of each node stay.

    Yields:
        Pairs (row, column).
    """
    allowed = [column for column, name in enumerate(operations) if name != "none"]
    nodes, edges = 0, 0
    while edges < len(weights):
        edges += inputs + nodes
        nodes += 1
    for rows in edges_of(nodes, inputs):
        best = weights[rows][:, allowed]
        strongest = np.argsort(-best.max(axis=1), kind="stable")[:kept]
        yield [(rows.start + int(edge), allowed[int(best[edge].argmax())]) for edge in strongest]


def genes_of(weights: np.ndarray, operations: Sequence[str], inputs: int = 2, kept: int = 2) -> tuple[Gene, ...]:
    """Return the genes of the discrete cell that weights of operations mean; see `chosen`.

    >>> genes_of(np.array([[0.1, 0.9], [0.8, 0.2]]), ["none", "skip_connect"])
    (('skip_connect', 0), ('skip_connect', 1))
    """
    found, start = [], 0
    for node, pairs in enumerate(chosen(weights, operations, inputs, kept)):
        found += [(operations[column], row - start) for row, column in pairs]
        start += inputs + node
    return tuple(found)


def projection(weights: np.ndarray, operations: Sequence[str], inputs: int = 2, kept: int = 2) -> np.ndarray:
    """Return 1 where the discrete cell has an operation, 0 elsewhere: its nearest weights among those of its number of ones.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2.2): Π_S, onto the set S of equations 14 to 16.
    """
    found = np.zeros_like(weights)
    for pairs in chosen(weights, operations, inputs, kept):
        for place in pairs:
            found[place] = 1
    return found
