"""One pass of unit labels through a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_struct.core.structure.labels import FIXED, Equivalence, UnitLabels
from keras_struct.core.structure.rules import AxisRule, Port
from keras_struct.core.structure.sharing import SharedVariable


class Propagation:
    """What is learned while labels run through a network: who makes, carries and reads which unit.

    Args:
        widths: Number of units of producing layers; a layer that is missing here makes as many as it was traced with.
        shared: Variables that belong to several layers.
    """

    def __init__(self, widths: Mapping[str, int] | None = None, shared: Sequence[SharedVariable] = ()) -> None:
        self.widths = dict(widths or {})
        self.shared = tuple(shared)
        self._first = {holder: each.holders[0] for each in self.shared for holder in each.holders}
        self.holders: dict[Port, dict[tuple[str, str], AxisRule]] = {}
        self.units = Equivalence()
        self.produced: dict[str, np.ndarray] = {}
        self.sequences: dict[Port, np.ndarray] = {}
        self.rules: dict[Port, AxisRule] = {}
        self.locks: list[tuple[np.ndarray, str]] = []
        self.mixes: list[tuple[np.ndarray, str]] = []
        self.rigid: list[np.ndarray] = []
        self.fixed_layers: dict[str, str] = {}

    def produce(self, layer: str, width: int) -> np.ndarray:
        """Labels of the units that `layer` makes; the same ones at every call of a shared layer."""
        if layer not in self.produced:
            self.produced[layer] = self.units.fresh(self.widths.get(layer, width))
        return self.produced[layer]

    def read(self, layer: str, labels: UnitLabels, axis: int) -> np.ndarray:
        """Labels along `axis`, for a layer that can only tell units apart there; units elsewhere become locked."""
        if labels.varies_only_along(axis):
            return labels.vector(axis)
        self.lock(labels.ids, f"its units lie along another axis than the one that layer '{layer}' works on")
        extent = labels.shape[axis % len(labels.shape)]
        return np.full(0 if extent is None else extent, FIXED, np.int64)

    def record(self, layer: str, rule: AxisRule, ids: np.ndarray) -> None:
        """Note which units lie along an axis of a variable; a second call, or layer, that uses it ties them to the first."""
        holder = (layer, rule.variable)
        port = Port(*self._first.get(holder, holder), rule.axis)
        positions = rule.layout.positions(ids)
        self.holders.setdefault(port, {})[holder] = rule
        if port not in self.rules:
            self.rules[port] = rule
            self.sequences[port] = positions
            return
        why = "is called on several tensors" if layer == port.layer else f"shares '{port.key}' with another"
        self.tie(self.sequences[port], positions, f"layer '{layer}' {why}")
        if (rule.role == "consume") != (self.rules[port].role == "consume"):
            self.mix(positions, f"'{port.key}' both makes and reads its units")

    def settle(self) -> None:
        """Lock units along variables of several layers of which not all say how these lie along units."""
        for each in self.shared:
            for port in [port for port in self.holders if port[:2] == each.holders[0]]:
                self.stiffen(self.sequences[port])
                silent = [h for h in each.holders if h not in self.holders[port] and not self._elsewhere(h)]
                if silent and (ids := self.sequences[port][self.sequences[port] != FIXED]).size:
                    self.locks.insert(0, (np.unique(ids), each.reason(port, silent[0])))

    def _elsewhere(self, holder: tuple[str, str]) -> bool:
        """Whether a layer says how it uses another one inside it, though not this variable of it, which it leaves alone."""
        layer, name = holder
        inside = name.rpartition("/")[0]
        said = {variable for held in self.holders.values() for other, variable in held if other == layer}
        return bool(inside) and name not in said and any(v.rpartition("/")[0] == inside for v in said)

    def tie(self, left: np.ndarray, right: np.ndarray, reason: str) -> np.ndarray:
        """Make labels that meet the same units, and lock those that meet fixed positions. Returns the joint labels."""
        left, right = np.broadcast_arrays(left, right)
        both = (left != FIXED) & (right != FIXED)
        self.units.unite(left[both], right[both])
        lonely = (left == FIXED) != (right == FIXED)
        if lonely.any():
            self.lock(
                np.where(left == FIXED, right, left)[lonely], f"{reason} and its units meet fixed positions there"
            )
        return np.where(lonely, FIXED, left)

    def lock(self, ids: np.ndarray, reason: str) -> None:
        """Forbid every edit of these units."""
        ids = np.unique(ids)
        if (ids := ids[ids != FIXED]).size:
            self.locks.append((ids, reason))

    def mix(self, ids: np.ndarray, reason: str) -> None:
        """Note that an operation mixes these units, so that no width edit can keep the function."""
        ids = np.unique(ids)
        if (ids := ids[ids != FIXED]).size:
            self.mixes.append((ids, reason))

    def stiffen(self, ids: np.ndarray) -> None:
        """Note that an operation needs to know the number of these units when it is traced."""
        ids = np.unique(ids)
        if (ids := ids[ids != FIXED]).size:
            self.rigid.append(ids)


def unnamed(layer: str, place: int) -> str:
    """Why units of an input that no rule names cannot be edited."""
    return (
        f"they enter layer '{layer}' by its input {place}, of which its unit rules say nothing; name what lies along them "
        f"with AxisRule(..., tied_to={place})"
    )
