"""The network as a graph of units: which can be edited, and what an edit means for every variable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from keras_struct.core.structure.axes import TANGLED, UnitAxis, lock_tangled
from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.labels import FIXED, UnitLabels
from keras_struct.core.structure.propagation import Propagation
from keras_struct.core.structure.rearrangement import Rearrangement, follow
from keras_struct.core.structure.remap import NEW
from keras_struct.core.structure.rules import AxisRule, Port
from keras_struct.core.structure.sharing import SharedVariable

_INPUT = (
    "it is an input of the model; for other inputs build the layers again with another keras.Input, and copy the weights "
    "of those that keep their shapes"
)
_OUTPUT = (
    "its units are an output of the model; for another number of them put a new head on: keras_struct.transfer(model, "
    "num_classes=...), or a new last layer on the output of the layer before"
)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one layer: tensors are numbered, `inputs` and `outputs` hold their numbers.

    Attributes:
        layer: Path of the layer.
        behaviour: What it does to units.
        inputs: Tensors that enter.
        outputs: Tensors that leave.
        masks: Places among the inputs of those that only say which positions count.
    """

    layer: str
    behaviour: Behaviour
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    masks: tuple[int, ...] = ()


class StructureGraph:
    """Units, and how the operations of a network make, pass, merge and read them.

    The network is run on labels of units (see `structure/README.md`). The graph is immutable: `edited` returns another.

    Args:
        inputs: Labels or shapes (without batch) of the input tensors, by tensor number.
        calls: The operations in an order in which they can be run.
        outputs: Numbers of the output tensors; their units are fixed.
        input_names: Name of each input tensor.
        widths: Number of units of producers that differ from the traced ones.
        shared: Variables that belong to several layers.
    """

    def __init__(
        self,
        inputs: Mapping[int, tuple[int | None, ...]],
        calls: Sequence[Call],
        outputs: Sequence[int],
        input_names: Mapping[int, str] | None = None,
        widths: Mapping[str, int] | None = None,
        shared: Sequence[SharedVariable] = (),
    ) -> None:
        self._inputs = dict(inputs)
        self._calls = tuple(calls)
        self._outputs = tuple(outputs)
        self._input_names = dict(input_names or {})
        self._run(Propagation(widths, shared))

    def _run(self, propagation: Propagation) -> None:
        tensors = {number: UnitLabels.fixed(shape) for number, shape in self._inputs.items()}
        for call in self._calls:
            for place in call.masks:
                propagation.lock(tensors[call.inputs[place]].ids, f"layer '{call.layer}' takes them for a mask")
            entering = [tensors[n] for place, n in enumerate(call.inputs) if place not in call.masks]
            results = call.behaviour.run(propagation, call.layer, entering)
            tensors.update(zip(call.outputs, results, strict=True))
        for number in self._outputs:
            propagation.lock(tensors[number].ids, _OUTPUT)
        propagation.settle()
        self._propagation = propagation
        self.tensors: Mapping[int, UnitLabels] = MappingProxyType(tensors)

    @cached_property
    def _roots(self) -> dict[str, np.ndarray]:
        return {layer: self._propagation.units.find(ids) for layer, ids in self._propagation.produced.items()}

    @cached_property
    def _sequences(self) -> dict[Port, np.ndarray]:
        return {port: self._propagation.units.find(ids) for port, ids in self._propagation.sequences.items()}

    @cached_property
    def units(self) -> Mapping[str, UnitAxis]:
        """Every unit axis by name, locked ones included."""
        return MappingProxyType({axis.name: axis for axis in self._partition[0]})

    @property
    def axes(self) -> Mapping[str, int]:
        """Width of each editable axis, by the name of the first layer that produces it."""
        return MappingProxyType({name: axis.width for name, axis in self.units.items() if axis.locked is None})

    @property
    def locked(self) -> Mapping[str, str]:
        """Why each of the other axes is fixed: inputs, outputs, and what an operation without unit rules touches."""
        inputs = dict.fromkeys(self._input_names.values(), _INPUT)
        axes = {name: axis.locked for name, axis in self.units.items() if axis.locked is not None}
        return MappingProxyType({**inputs, **self._propagation.fixed_layers, **axes})

    @cached_property
    def _partition(self) -> tuple[list[UnitAxis], dict[str, list[tuple[str, int]]]]:
        """Axes, and for each producer the axes that its units consist of, with the place of each block."""
        members: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for layer, roots in self._roots.items():
            for place, root in enumerate(roots.tolist()):
                members[root].append((layer, place))
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for root, places in members.items():
            groups[tuple(layer for layer, _ in places)].append(root)
        blocks: dict[str, list[tuple[str, int]]] = defaultdict(list)
        axes: list[UnitAxis] = []
        for signature, roots_of_group in groups.items():
            axes.append(self._axis(signature, roots_of_group, members, blocks, {a.name for a in axes}))
        for found in blocks.values():
            found.sort(key=lambda block: block[1])
        tangled = {layer for axis in axes if axis.locked == TANGLED for layer, _ in axis.producers}
        return [lock_tangled(axis, tangled) for axis in axes], blocks

    def _axis(self, signature, roots, members, blocks, taken) -> UnitAxis:
        name = next(
            n for k in range(len(taken) + 1) if (n := signature[0] if k == 0 else f"{signature[0]}:{k}") not in taken
        )
        starts = [place for _, place in members[roots[0]]]
        contiguous = all(
            place == start + i
            for i, root in enumerate(roots)
            for (_, place), start in zip(members[root], starts, strict=True)
        )
        producers = tuple(zip(signature, starts, strict=True))
        ids = np.asarray(roots)
        locked = self._reason(self._propagation.locks, ids)
        if not contiguous and locked is None:
            locked = TANGLED
        for layer, start in producers:
            blocks[layer].append((name, start))
        elastic = not any(self._hit(rigid, ids) for rigid in self._propagation.rigid)
        return UnitAxis(name, len(roots), producers, locked, self._reason(self._propagation.mixes, ids), elastic)

    def _hit(self, ids: np.ndarray, roots: np.ndarray) -> bool:
        return bool(np.isin(self._propagation.units.find(ids), roots).any())

    def _reason(self, entries: list[tuple[np.ndarray, str]], roots: np.ndarray) -> str | None:
        return next((reason for ids, reason in entries if self._hit(ids, roots)), None)

    def _members(self, axis: UnitAxis) -> np.ndarray:
        layer, start = axis.producers[0]
        return self._roots[layer][start : start + axis.width]

    def ports(self, axis: str) -> dict[Port, AxisRule]:
        """Axes of variables along which the units of `axis` lie, in the order in which the network meets them."""
        return {port: self._propagation.rules[port] for port in self._ports_by_axis[axis]}

    @cached_property
    def _ports_by_axis(self) -> dict[str, list[Port]]:
        found = {}
        for name, axis in self.units.items():
            members = self._members(axis)
            found[name] = [port for port, roots in self._sequences.items() if np.isin(roots, members).any()]
        return found

    def places(self, port: Port, axis: str) -> np.ndarray:
        """Positions of the units of `axis` along one axis of a variable."""
        if all(port not in ports for name, ports in self._ports_by_axis.items() if name != axis):
            return np.flatnonzero(self._sequences[port] != FIXED)
        return np.flatnonzero(np.isin(self._sequences[port], self._members(self.units[axis])))

    def unit_along(self, port: Port, axis: str) -> np.ndarray:
        """For each position along one axis of a variable, the index of the unit of `axis` there, or -1 for another."""
        return self.unit_of(axis, self._sequences[port])

    def find_units(self, axis: str, ids: np.ndarray) -> np.ndarray:
        """Where each unit of `axis` stands first in a sequence of labels."""
        roots = self._propagation.units.find(ids)
        order = np.argsort(roots, kind="stable")
        return order[np.searchsorted(roots[order], self._members(self.units[axis]))]

    def unit_of(self, axis: str, ids: np.ndarray) -> np.ndarray:
        """For each of a sequence of labels the index of the unit of `axis` that it means, or -1 for another."""
        members, roots = self._members(self.units[axis]), self._propagation.units.find(ids)
        order = np.argsort(members)
        place = np.minimum(np.searchsorted(members[order], roots), len(members) - 1)
        return np.where(members[order][place] == roots, order[place], -1)

    def holds(self, axis: str, ids: np.ndarray) -> bool:
        """Whether units of `axis` are among a sequence of labels."""
        return bool(np.isin(self._propagation.units.find(ids), self._members(self.units[axis])).any())

    def widths_from(self, extents: Mapping[Port, int]) -> dict[str, int]:
        """Widths that give axes of variables these extents, as far as one axis of units alone lies along them."""
        widths: dict[str, int] = {}
        for port, extent in extents.items():
            roots = self._sequences[port]
            for name in self.axes:
                members = self._members(self.units[name])
                if np.isin(roots, members).all():
                    widths[name] = extent * len(members) // len(roots)
        return widths

    @property
    def input_numbers(self) -> tuple[int, ...]:
        """Numbers of the input tensors, in the model's order."""
        return tuple(self._inputs)

    @property
    def input_names(self) -> Mapping[int, str]:
        """Names of the input tensors."""
        return MappingProxyType(self._input_names)

    @property
    def output_numbers(self) -> tuple[int, ...]:
        """Numbers of the output tensors, in the model's order."""
        return self._outputs

    @property
    def calls(self) -> tuple[Call, ...]:
        """The operations, in an order in which they can be run."""
        return self._calls

    def sizes(self, port: Port) -> list[tuple[str, str]]:
        """Layers with the attribute that holds the extent of an axis of a variable."""
        held = self._propagation.holders[port]
        return [(layer, name) for (layer, _), rule in held.items() if rule.size for name in rule.size.split(",")]

    @property
    def all_ports(self) -> Mapping[Port, AxisRule]:
        """Every axis of a variable that lies along units, editable or not."""
        return MappingProxyType(self._propagation.rules)

    @property
    def extents(self) -> Mapping[Port, int]:
        """How many positions there are along each axis of a variable that lies along units."""
        return {port: len(ids) for port, ids in self._propagation.sequences.items()}

    def edited(self, *edits: Resize) -> tuple[StructureGraph, dict[Port, Rearrangement]]:
        """Carry out edits of different axes at once, on labels only.

        Args:
            *edits: Edits of axes of this graph; their indices are checked by the caller.

        Returns:
            The graph after the edit, and for each axis of a variable that changes what happens to it.

        Raises:
            ValueError: If the operations of the network do not fit together afterwards.
        """
        sources = {edit.axis: np.asarray(edit.source) for edit in edits}
        producers = dict.fromkeys(layer for axis in sources for layer, _ in self.units[axis].producers)
        gathers = {layer: self._gather(layer, sources) for layer in producers}
        widths = {**self._propagation.widths, **{layer: len(source) for layer, source in gathers.items()}}
        after = StructureGraph(
            self._inputs, self._calls, self._outputs, self._input_names, widths, self._propagation.shared
        )
        after._inherit(self, {axis: len(source) for axis, source in sources.items()})
        ancestors = self._ancestors(after, gathers)
        copies = self._copies(after, edits)
        changes: dict[Port, Rearrangement] = {}
        for port in dict.fromkeys(port for axis in sources for port in self._ports_by_axis[axis]):
            old, new = self._sequences[port], after._sequences[port]
            if (source := follow(old, new, ancestors, port)) is not None:
                changes[port] = Rearrangement(
                    self._propagation.rules[port], source, np.where(new == FIXED, 1, copies[new])
                )
        return after, changes

    def extended(
        self,
        inputs: Mapping[int, tuple[int | None, ...]],
        calls: Sequence[Call],
        shared: Sequence[SharedVariable],
    ) -> StructureGraph:
        """Return the graph with more inputs, calls behind its own, and the variables that several layers share then."""
        inputs, calls = {**self._inputs, **inputs}, (*self._calls, *calls)
        return StructureGraph(inputs, calls, self._outputs, self._input_names, self._propagation.widths, shared)

    def with_calls(self, replaced: Mapping[Call, Call]) -> StructureGraph:
        """Return the graph with some calls replaced by others of the same tensors."""
        calls = [replaced.get(call, call) for call in self._calls]
        propagation = self._propagation
        return StructureGraph(
            self._inputs, calls, self._outputs, self._input_names, propagation.widths, propagation.shared
        )

    def _inherit(self, before: StructureGraph, changed: Mapping[str, int]) -> None:
        """Take over which units form an axis: a width edit changes how many they are, and nothing else."""
        axes, blocks = before._partition
        widths = {axis.name: changed.get(axis.name, axis.width) for axis in axes}
        moved: dict[str, list[tuple[str, int]]] = {}
        starts: dict[tuple[str, str], list[int]] = defaultdict(list)
        for layer, found in blocks.items():
            place, moved[layer] = 0, []
            for name, _ in found:
                moved[layer].append((name, place))
                starts[layer, name].append(place)
                place += widths[name]
        placed = []
        for axis in axes:
            queues = {layer: iter(starts[layer, axis.name]) for layer, _ in axis.producers}
            producers = tuple((layer, next(queues[layer])) for layer, _ in axis.producers)
            same = widths[axis.name] == axis.width and producers == axis.producers
            placed.append(axis if same else replace(axis, width=widths[axis.name], producers=producers))
        self.__dict__["_partition"] = (placed, moved)
        self.__dict__["_ports_by_axis"] = before._ports_by_axis

    def _gather(self, layer: str, sources: Mapping[str, np.ndarray]) -> np.ndarray:
        """Where each unit of a producer comes from."""
        parts = []
        for name, start in self._partition[1][layer]:
            inside = sources[name] if name in sources else np.arange(self.units[name].width)
            parts.append(np.where(inside == NEW, NEW, inside + start))
        return np.concatenate(parts)

    def _ancestors(self, after: StructureGraph, gathers: Mapping[str, np.ndarray]) -> np.ndarray:
        ancestors = np.full(len(after._propagation.units.parent) + 1, NEW)
        for layer, new in after._roots.items():
            old = self._roots[layer]
            source = gathers.get(layer)
            ancestors[new] = old if source is None else np.where(source == NEW, NEW, old[source])
        return ancestors

    def _copies(self, after: StructureGraph, edits: Sequence[Resize]) -> np.ndarray:
        copies = np.ones(len(after._propagation.units.parent) + 1, np.int64)
        for edit in edits:
            copies[after._members(after.units[edit.axis])] = edit.copies()
        return copies
