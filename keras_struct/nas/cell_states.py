"""What a cell may be: one of a supernet, a discrete one, or what a choice of operations left of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_struct.nas.cells import Path, Wiring, all_paths, gather, in_order, wiring_of_genes
from keras_struct.nas.genotypes import OPERATIONS, Gene


@dataclass(frozen=True)
class CellState:
    """Which operations a cell has, and how it treats what they return.

    Attributes:
        nodes: How many nodes there are.
        operations: Names of the operations, in the order of the columns of the weights.
        paths: Where they are.
        weighted: Whether they are added with weights, which come as an input.
        affine: Whether normalisations scale and shift.
        normalized_pools: Whether pools are normalised.
    """

    nodes: int
    operations: tuple[str, ...]
    paths: tuple[Path, ...]
    weighted: bool
    affine: bool
    normalized_pools: bool

    def changed(
        self,
        paths: Sequence[Sequence[Any]] | None = None,
        weighted: bool | None = None,
        affine: bool | None = None,
        normalized_pools: bool | None = None,
    ) -> CellState:
        """Return the state with what is given in place of its own.

        Args:
            paths: Operation, source and target of each path that is left.
            weighted: As the attribute.
            affine: As the attribute.
            normalized_pools: As the attribute.
        """
        return replace(
            self,
            paths=self.paths if paths is None else in_order([Path(*path) for path in paths]),
            weighted=self.weighted if weighted is None else weighted,
            affine=self.affine if affine is None else affine,
            normalized_pools=self.normalized_pools if normalized_pools is None else normalized_pools,
        )


def supernet_state(nodes: int, operations: Sequence[str]) -> CellState:
    """Return the state of a cell of a supernet: every operation on every edge.

    Raises:
        ValueError: If an operation is unknown or named twice, or there is none.
    """
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or len(set(operations)) < len(operations) or not set(operations) - {"none"}:
        raise ValueError(
            f"Expected some of the operations {', '.join(OPERATIONS)}, each once. Received: {list(operations)}"
        )
    names, paths = tuple(operations), all_paths(nodes, operations)
    return CellState(nodes, names, paths, weighted=True, affine=False, normalized_pools=True)


def discrete_state(genes: Sequence[Gene], reduction: bool) -> CellState:
    """Return the state of a cell with two operations a node."""
    names, paths = {gene[0] for gene in genes}, wiring_of_genes(genes, reduction)
    ordered = tuple(name for name in OPERATIONS if name in names)
    return CellState(len(genes) // 2, ordered, paths, weighted=False, affine=True, normalized_pools=False)


def check_wiring(wiring: Wiring, concat: Sequence[int]) -> None:
    """Raise unless a cell can have these paths, and output these states.

    Raises:
        ValueError: If a path leads backwards or by an unknown operation, or there is no such state.
    """
    for path in wiring.paths:
        if not 0 <= path.source < path.target < 2 + wiring.nodes or path.operation not in OPERATIONS:
            raise ValueError(
                f"A cell of {wiring.nodes} nodes cannot have {path}: a path leads from a state before its target, which is one "
                f"of 2 to {1 + wiring.nodes}, by one of the operations {', '.join(OPERATIONS)}."
            )
    if bad := [state for state in concat if not 0 <= state < 2 + wiring.nodes]:
        raise ValueError(f"A cell of {wiring.nodes} nodes has states 0 to {1 + wiring.nodes}, and cannot output {bad}.")


def wiring_after(wiring: Wiring, config: Mapping[str, Any], layer: str) -> Wiring:
    """Return the wiring after a choice of operations.

    Args:
        wiring: The wiring before it.
        config: `genes`, two a node; or `paths`, those that stay.
        layer: Name of the cell, for messages.

    Raises:
        ValueError: If the cell does not have an operation there.
    """
    if set(config) == {"genes"}:
        new = wiring_of_genes([(name, int(state)) for name, state in config["genes"]], wiring.reduction)
    elif "paths" in config and set(config) <= {"paths", "weighted"}:
        new = in_order([Path(*path) for path in config["paths"]])
    else:
        raise ValueError(f"Layer '{layer}' can change its `genes` or `paths`. Received: {dict(config)}")
    if missing := sorted(set(new) - set(wiring.paths)) or len(set(new)) < len(new):
        raise ValueError(
            f"Layer '{layer}' has weights for each operation on each edge once at most; it lacks {missing} of {list(new)}."
        )
    return replace(wiring, paths=new)


def weights_after(
    old: Wiring, new: Wiring, operations: Sequence[str], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what a choice of operations leaves of arrays of the shapes of a cell's variables, by their names."""
    found, rows = dict(values), gather(list(old.rows), list(new.rows))
    for name in {"gamma", "beta", "moving_mean", "moving_variance"} & set(values):
        found[name] = values[name][rows]
    for operation in operations:
        places = gather([old.keys[i] for i in old.weighted(operation)], [new.keys[i] for i in new.weighted(operation)])
        for name in (n for n in values if n.startswith(operation)):
            found[name] = values[name][places]
    return found
