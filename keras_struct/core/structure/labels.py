"""Integer labels of units: which unit lies where along a tensor, and which labels mean the same unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIXED = -1
"""Label of a position that belongs to no editable unit."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class UnitLabels:
    """Which unit each entry of one sample of a tensor belongs to.

    Attributes:
        shape: Shape of the tensor without the batch axis; `None` for an unknown extent.
        ids: Labels, one array axis for each axis of `shape`: its full extent where the labels vary along that axis, and
            1 where they do not. An image of 64 channels has `ids.shape == (1, 1, 64)`.
        varies: For each axis, whether labels vary along it (an axis of extent 1 can still hold a unit).
        alike: Whether the entries of all units are equal, as in `zeros_like(x)`.
    """

    shape: Shape
    ids: np.ndarray
    varies: tuple[bool, ...]
    alike: bool = False

    @classmethod
    def fixed(cls, shape: Shape) -> UnitLabels:
        """Labels of a tensor in which nothing can be edited."""
        return cls(tuple(shape), np.full((1,) * len(shape), FIXED, np.int64), (False,) * len(shape))

    @classmethod
    def along(cls, shape: Shape, axis: int, ids: np.ndarray) -> UnitLabels:
        """Labels that vary along one axis only; the extent of `shape` there becomes `len(ids)`."""
        axis %= len(shape)
        extents = tuple(len(ids) if i == axis else extent for i, extent in enumerate(shape))
        layout = tuple(len(ids) if i == axis else 1 for i in range(len(shape)))
        return cls(extents, np.asarray(ids, np.int64).reshape(layout), tuple(i == axis for i in range(len(shape))))

    @property
    def labelled(self) -> bool:
        """Whether any entry belongs to an editable unit."""
        return any(self.varies) and bool((self.ids != FIXED).any())

    def varies_only_along(self, axis: int) -> bool:
        """Whether the labels, if any, lie along `axis` and nowhere else."""
        axis %= len(self.shape)
        return not any(v for i, v in enumerate(self.varies) if i != axis)

    def vector(self, axis: int) -> np.ndarray:
        """Labels along `axis`, of full extent; `FIXED` throughout when they do not vary there."""
        axis %= len(self.shape)
        if self.varies[axis]:
            if sum(self.varies) == 1:
                return self.ids.reshape(-1)
            return np.moveaxis(self.ids, axis, 0).reshape(self.ids.shape[axis], -1)[:, 0]
        extent = self.shape[axis]
        return np.full(0 if extent is None else extent, FIXED, np.int64)

    def full(self) -> np.ndarray:
        """Labels of every single entry; all extents must be known."""
        return np.broadcast_to(self.ids, tuple(int(extent) for extent in self.shape))  # type: ignore[arg-type]


class Equivalence:
    """Disjoint sets of labels, whole arrays at a time."""

    def __init__(self) -> None:
        self.parent = np.empty(0, np.int64)
        self.united = False

    def fresh(self, count: int) -> np.ndarray:
        """Return `count` labels that were not in use, each in a set of its own."""
        ids = np.arange(len(self.parent), len(self.parent) + count)
        self.parent = np.concatenate([self.parent, ids])
        return ids

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the representative of each label; `FIXED` stays `FIXED`."""
        ids = np.asarray(ids, np.int64)
        if not self.united:
            return ids
        known = ids != FIXED
        roots = ids.copy()
        while True:
            above = self.parent[roots[known]]
            if np.array_equal(above, roots[known]):
                return roots
            roots[known] = above

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        """Declare `left[i]` and `right[i]` the same unit, for every i. Neither may hold `FIXED`."""
        self.united = True
        while True:
            a, b = self.find(left), self.find(right)
            apart = a != b
            if not apart.any():
                return
            self.parent[np.maximum(a, b)[apart]] = np.minimum(a, b)[apart]


def occurrences(sequence: np.ndarray) -> np.ndarray:
    """For each position, how many earlier positions hold the same label.

    >>> occurrences(np.array([5, 7, 5, 5]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(sequence, kind="stable")
    ordered = sequence[order]
    first = np.searchsorted(ordered, ordered, side="left")
    result = np.empty(len(sequence), np.int64)
    result[order] = np.arange(len(sequence)) - first
    return result
