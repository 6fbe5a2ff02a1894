"""What an edit does along one axis of one variable."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_struct.core.structure.labels import FIXED, occurrences
from keras_struct.core.structure.remap import NEW, remap
from keras_struct.core.structure.rules import AxisRule, Port


@dataclass(frozen=True)
class Rearrangement:
    """What an edit does along one axis of one variable.

    Attributes:
        rule: The rule of that axis.
        source: For each position after the edit its position before, or `NEW`.
        copies: For each position, among how many units its ancestor was divided.
    """

    rule: AxisRule
    source: np.ndarray
    copies: np.ndarray

    def __post_init__(self) -> None:
        if not self.rule.inherits:
            first = np.zeros(len(self.source), bool)
            first[np.unique(self.source, return_index=True)[1]] = True
            object.__setattr__(self, "source", np.where(first, self.source, NEW))

    @cached_property
    def new(self) -> np.ndarray:
        """Whether each position is without ancestor."""
        return self.source == NEW

    @cached_property
    def divides(self) -> bool:
        """Whether any ancestor was divided among several units."""
        return bool((self.copies > 1).any())

    @cached_property
    def _kept(self) -> int | None:
        """How many positions stay in their place, if all others are new and follow them."""
        kept = len(self.source) - int(self.new.sum())
        return kept if np.array_equal(self.source[:kept], np.arange(kept)) else None

    @property
    def appended(self) -> slice | None:
        """The new positions, if all others stay in their place in front of them."""
        return None if self._kept is None or self._kept == len(self.source) else slice(self._kept, None)

    def carry_out(self, array: np.ndarray, axis: int, new: float | np.ndarray = 0.0) -> np.ndarray:
        """Rearrange an array along `axis`, as `remap`."""
        if self._kept is None or self._kept != array.shape[axis]:
            return remap(array, axis, self.source, new)
        before = (slice(None),) * axis
        result = np.empty((*array.shape[:axis], len(self.source), *array.shape[axis + 1 :]), array.dtype)
        result[(*before, slice(None, self._kept))] = array
        result[(*before, slice(self._kept, None))] = new
        return result


def follow(old: np.ndarray, new: np.ndarray, ancestors: np.ndarray, port: Port) -> np.ndarray | None:
    """Match the k-th occurrence of each unit with the k-th of its ancestor; `None` when nothing moves."""
    wanted = np.where(new == FIXED, FIXED, ancestors[new])
    fresh = (new != FIXED) & (wanted == NEW)
    if (
        len(old) == len(new)
        and np.array_equal(old, wanted)
        and not fresh.any()
        and len(np.unique(new)) == len(np.unique(old))
    ):
        return None
    if len(new) > len(old) and fresh[len(old) :].all() and np.array_equal(wanted[: len(old)], old):
        return np.where(fresh, NEW, np.arange(len(new)))
    span = max(len(old), len(new)) + 1
    order = np.argsort(keys_old := old * span + occurrences(old))
    keys_new = wanted * span + occurrences(new)
    found = np.searchsorted(keys_old[order], keys_new)
    source = np.where(fresh, NEW, order[np.minimum(found, len(old) - 1)] if len(old) else NEW)
    if (~fresh & (keys_old[source] != keys_new)).any():
        raise ValueError(
            f"The edit cannot be followed through '{port.key}': after it, units would lie there more often than before."
        )
    return source
