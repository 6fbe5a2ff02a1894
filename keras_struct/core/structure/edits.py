"""Structural edits: what shall change, as values without references to layers or models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from keras_struct.core.structure.remap import NEW

Edit: TypeAlias = object
"""An edit of any kind: a `Resize` of units, or of a class whose kind was registered with `keras_struct.register_edit`."""


class Values(Mapping[str, np.ndarray]):
    """New weights that travel with an edit: an array for each key `"layer/variable"`.

    Each array has the shape of the variable after the edit, except along the edited axis, where it has only the new
    entries: a kernel that produces `k` new units has shape `(fan_in, k)`, one that reads them `(k, units)`; behind a
    `Flatten` over `p` positions `(p * k, units)`. Where one variable both makes and reads the units (a layer inside a
    residual block), the key means the axis that makes them, unless another axis is appended: `"layer/kernel/2"`; such
    an array may have the old extent along the other axis, and gets zeros for what is new there.
    """

    def __init__(self, arrays: Mapping[str, Any] | None = None) -> None:
        self._arrays = {key: np.asarray(array) for key, array in (arrays or {}).items()}

    def __getitem__(self, key: str) -> np.ndarray:
        return self._arrays[key]

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values) or set(self) != set(other):
            return NotImplemented if not isinstance(other, Values) else False
        return all(np.array_equal(self[key], other[key]) for key in self)

    def __hash__(self) -> int:
        return hash(tuple((key, self[key].shape, self[key].tobytes()) for key in sorted(self)))

    def __repr__(self) -> str:
        return f"Values({{{', '.join(f'{key!r}: {array.shape}' for key, array in self.items())}}})"


@dataclass(frozen=True)
class Resize:
    """The units of an axis after the edit, and from which old unit each descends.

    Growing, pruning, splitting, duplicating and reordering are all one `Resize`. Where several new units descend from
    one old unit, each gets an equal share of its outgoing weights, so that the function is kept.

    Attributes:
        axis: Name of the unit axis, a key of `model.structure.axes`.
        source: For each unit after the edit its index before, or `NEW` (-1).
        values: Weights of the new units.
        shift: What is added to weights of units that have an ancestor, so that copies can differ: arrays under the same
            keys, of the shape of the whole variable after the edit, or of the edited units' part of it.
    """

    axis: str
    source: tuple[int, ...]
    values: Values = field(default_factory=Values)
    shift: Values = field(default_factory=Values)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", tuple(int(i) for i in self.source))
        for name in ("values", "shift"):
            if not isinstance(getattr(self, name), Values):
                object.__setattr__(self, name, Values(getattr(self, name)))

    @property
    def new_units(self) -> tuple[int, ...]:
        """Positions, after the edit, of the units without ancestor."""
        return tuple(i for i, old in enumerate(self.source) if old == NEW)

    def copies(self) -> np.ndarray:
        """For each unit after the edit, how many units share its ancestor (1 for a new unit)."""
        source = np.asarray(self.source)
        counts = np.bincount(source[source != NEW], minlength=1)
        return np.where(source == NEW, 1, counts[np.maximum(source, 0)])

    def to_json(self) -> str:
        """Return the edit as JSON; `Resize.from_json` gives an equal edit."""
        arrays = {"values": _listed(self.values), "shift": _listed(self.shift)}
        return json.dumps({"edit": "Resize", "axis": self.axis, "source": self.source, **arrays})

    @classmethod
    def from_json(cls, text: str) -> Resize:
        """Return the edit that `to_json` wrote."""
        data = json.loads(text)
        return cls(data["axis"], tuple(data["source"]), _unlisted(data["values"]), _unlisted(data["shift"]))


def _listed(values: Values) -> dict[str, Any]:
    return {k: {"shape": v.shape, "dtype": str(v.dtype), "data": v.ravel().tolist()} for k, v in values.items()}


def _unlisted(data: Mapping[str, Any]) -> Values:
    return Values({k: np.array(v["data"], v["dtype"]).reshape(v["shape"]) for k, v in data.items()})


def grow(axis: str, width: int, count: int, values: Mapping[str, Any] | None = None) -> Resize:
    """Return the edit that adds `count` new units behind the `width` units of `axis`.

    Raises:
        ValueError: If `count` is not a positive integer.
    """
    check_count(axis, count)
    return Resize(axis, (*range(width), *(NEW,) * int(count)), Values(values))


def check_count(axis: str, count: int) -> None:
    """Raise a ValueError unless `count` is a positive integer."""
    if count != int(count) or count < 1:
        raise ValueError(f"Cannot grow axis '{axis}' by {count} units: `count` must be a positive integer.")


def prune(axis: str, width: int, units: Sequence[int]) -> Resize:
    """Return the edit that removes `units` (indices) from the `width` units of `axis`.

    Raises:
        ValueError: If a unit does not exist, is named twice, or all units would go.
    """
    gone = _checked(axis, width, units, "prune")
    if len(gone) >= width:
        raise ValueError(
            f"Cannot prune all {width} units of axis '{axis}': keep at least one, or remove the layer itself."
        )
    return Resize(axis, tuple(i for i in range(width) if i not in gone))


def split(axis: str, width: int, units: Sequence[int] | int) -> Resize:
    """Return the edit that puts a copy of each of `units` behind the `width` units of `axis`.

    Both copies keep the incoming weights and share the outgoing ones, so the function is kept.

    Raises:
        ValueError: If a unit does not exist or is named twice.
    """
    listed = [units] if isinstance(units, int | np.integer) else list(units)
    _checked(axis, width, listed, "split")
    return Resize(axis, (*range(width), *(int(i) for i in listed)))


def _checked(axis: str, width: int, units: Sequence[int], verb: str) -> set[int]:
    listed = [int(i) for i in np.asarray(units).reshape(-1)]
    if not listed:
        raise ValueError(
            f"Cannot {verb} no units of axis '{axis}': `units` must name at least one of units 0 to {width - 1}."
        )
    if wrong := [i for i in listed if not 0 <= i < width]:
        raise ValueError(
            f"Cannot {verb} units {wrong} of axis '{axis}': it has {width} units, numbered 0 to {width - 1}. If the "
            "indices were measured before another edit, map them through that edit first."
        )
    if len(set(listed)) < len(listed):
        raise ValueError(f"Cannot {verb} units {listed} of axis '{axis}': a unit is named more than once.")
    return set(listed)
