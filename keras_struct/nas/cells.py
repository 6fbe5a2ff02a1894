"""Which operations lead from where to where inside a cell, and where the weights of each lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_struct.nas.genotypes import OPERATIONS, Gene

STAGES = {"sep_conv_3x3": 2, "sep_conv_5x5": 2, "sep_conv_7x7": 2, "dil_conv_3x3": 1, "dil_conv_5x5": 1}
"""How many times each operation convolves and normalises."""
POOLS = ("max_pool_3x3", "avg_pool_3x3")
Key = tuple[Any, ...]


@dataclass(frozen=True, order=True)
class Path:
    """One operation inside a cell.

    Attributes:
        operation: Its name.
        source: The state that it reads: 0 and 1 come of the cells before, 2 + i is node i.
        target: The state that it adds to.
    """

    operation: str
    source: int
    target: int

    @property
    def edge(self) -> int:
        """Row of the pair (source, target) among all pairs, target by target."""
        return edges_before(self.target) + self.source


def edges_before(target: int) -> int:
    """Return how many pairs (source, target) there are with targets before this one.

    >>> edges_before(2), edges_before(3), edges_before(6)
    (0, 2, 14)
    """
    return sum(range(2, target))


@dataclass(frozen=True)
class Wiring:
    """The operations of a cell.

    Attributes:
        paths: The operations, in the order in which weights are kept.
        nodes: How many nodes there are.
        reduction: Whether the cell halves resolution: paths from states 0 and 1 have stride 2.
        normalized_pools: Whether pools are normalised.
        normalized_nodes: Whether each node is.
    """

    paths: tuple[Path, ...]
    nodes: int
    reduction: bool
    normalized_pools: bool
    normalized_nodes: bool

    def stride(self, path: Path) -> int:
        """Stride of a path."""
        return 2 if self.reduction and path.source < 2 else 1

    def of(self, operation: str, source: int) -> list[int]:
        """Places among `paths` of an operation that reads a state."""
        return [i for i, path in enumerate(self.paths) if path.operation == operation and path.source == source]

    @cached_property
    def keys(self) -> list[Key]:
        """A name for each path, the same in any wiring that holds the path."""
        seen: Counter[Path] = Counter()
        found = []
        for path in self.paths:
            found.append((path.operation, path.source, path.target, seen[path]))
            seen[path] += 1
        return found

    def weighted(self, operation: str) -> list[int]:
        """Places of the paths of an operation that have weights of their own."""
        places = [i for i, path in enumerate(self.paths) if path.operation == operation]
        if operation == "skip_connect":
            return [i for i in places if self.stride(self.paths[i]) == 2]
        return places if operation in STAGES or operation == "conv_7x1_1x7" else []

    @cached_property
    def rows(self) -> dict[Key, int]:
        """Where statistics of each normalisation are kept."""
        keys: list[Key] = [("preprocess", 0), ("preprocess", 1)]
        for operation in OPERATIONS:
            if operation in POOLS and self.normalized_pools:
                sources = sorted({path.source for path in self.paths if path.operation == operation})
                keys += [(operation, source) for source in sources]
            places = self.weighted(operation)
            keys += [(*self.keys[i], stage) for stage in range(STAGES.get(operation, 1)) for i in places]
        if self.normalized_nodes:
            keys += [("node", i) for i in range(self.nodes)]
        return {key: row for row, key in enumerate(keys)}


def wiring_of_genes(genes: Sequence[Gene], reduction: bool) -> tuple[Path, ...]:
    """Return the paths of a discrete cell, two genes a node; `none` leads nowhere."""
    paths = [Path(name, source, 2 + i // 2) for i, (name, source) in enumerate(genes) if name != "none"]
    return in_order(paths)


def all_paths(nodes: int, operations: Sequence[str]) -> tuple[Path, ...]:
    """Return the paths of a cell in which every operation is on every edge; `none` leads nowhere."""
    targets = range(2, 2 + nodes)
    return in_order([Path(o, s, t) for t in targets for s in range(t) for o in operations if o != "none"])


def in_order(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return paths operation by operation, then source by source, so that weights that work together lie together."""
    return tuple(sorted(paths, key=lambda path: (OPERATIONS.index(path.operation), path.source, path.target)))


def gather(old: Sequence[Key], new: Sequence[Key]) -> np.ndarray:
    """Return where each of the new keys was among the old ones."""
    places = {key: i for i, key in enumerate(old)}
    return np.array([places[key] for key in new], np.int64)
