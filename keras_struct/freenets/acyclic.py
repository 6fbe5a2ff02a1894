"""Graphs of neurons in an order: edges lead from earlier to later ones."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class BlockSchedule:
    """In which order the neurons of a graph are computed, and which of them at once.

    A block of neurons reads the blocks before it by one matrix product. Edges within a block are followed in rounds: each
    computes all neurons of the block from their values in the round before, and after as many rounds as the longest path in the
    block has neurons, the values are exact, because no edge leads back.

    Attributes:
        sizes: How many neurons each block has.
        rounds: How often each block is computed.
        order: Neurons in the order in which they are computed; `None` for the order of their numbers.
        levels: With `order`, a level for each neuron: the schedule is right for all graphs whose edges lead to higher levels.
    """

    sizes: tuple[int, ...]
    rounds: tuple[int, ...]
    order: tuple[int, ...] | None = None
    levels: tuple[int, ...] | None = None

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return sum(self.sizes)

    @property
    def steps(self) -> int:
        """How many computations follow one another."""
        return sum(self.rounds)

    @property
    def forbidden(self) -> np.ndarray:
        """Edges with which the schedule would be wrong, `(neurons, neurons)`, bool."""
        levels = np.arange(self.neurons) if self.levels is None else np.array(self.levels)
        return levels[:, None] <= levels[None, :]


def in_order(neurons: int, block: int) -> BlockSchedule:
    """Return the schedule that is right for every graph: blocks of neurons in the order of their numbers.

    >>> in_order(5, 2).sizes, in_order(5, 2).rounds
    ((2, 2, 1), (2, 2, 1))
    """
    sizes = tuple(min(block, neurons - start) for start in range(0, neurons, block))
    return BlockSchedule(sizes, sizes)


def by_levels(adjacency: np.ndarray, block: int) -> BlockSchedule:
    """Return a schedule for one graph: neurons of the same level at once, and levels in blocks of `block` neurons or more.

    >>> found = by_levels(np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]), 2)
    >>> found.sizes, found.rounds, found.order
    ((2, 2), (1, 1), (0, 1, 2, 3))
    """
    levels = levels_of(adjacency)
    sizes, rounds = [0], [0]
    for count in np.bincount(levels):
        if sizes[-1] >= block:
            sizes.append(0)
            rounds.append(0)
        sizes[-1] += int(count)
        rounds[-1] += 1
    order = np.argsort(levels, kind="stable")
    return BlockSchedule(tuple(sizes), tuple(rounds), tuple(order.tolist()), tuple(levels.tolist()))


def schedule_for(adjacency: np.ndarray, block: int, now: BlockSchedule | None = None) -> BlockSchedule:
    """Return how to compute a graph: by levels where that takes an eighth of the steps at most, else in order.

    Args:
        adjacency: The graph.
        block: How many neurons a block has, about.
        now: The schedule that compiled steps have. It is kept where it is right and takes no more than twice as many steps as
            the best one, so that few edits need new compiled steps.
    """
    neurons = len(adjacency)
    best = by_levels(adjacency, block)
    if 8 * best.steps > neurons:
        best = in_order(neurons, block)
    if now is None or now.neurons != neurons or (now.forbidden & np.asarray(adjacency, bool)).any():
        return best
    return now if now.steps <= 2 * best.steps else best
