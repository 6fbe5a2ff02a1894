"""Edits of units: which are possible, and what becomes of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keras_struct.core.structure.edits import Resize, Values
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.structure.rearrangement import Rearrangement
from keras_struct.core.structure.remap import NEW
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.edit_kinds import EditKind, Request, Structure, register_edit
from keras_struct.core.surgery.trace import Network


class Resizing(EditKind[Resize]):
    """Edits of units."""

    edit = Resize

    def rearrange(self, request: Request, edits: Sequence[Resize]) -> Structure | None:
        """Run the network again at the new widths.

        Raises:
            ValueError: If an axis is unknown, fixed or edited twice, an index is out of range, no unit would be left, a limit
                would be passed, or values belong to no variable of the axis.
        """
        graph = request.network.graph
        for edit in edits:
            _check_edit(request.editable or graph, edit, request.preserve, request.limits)
        if len({edit.axis for edit in edits}) < len(edits):
            raise ValueError(f"Cannot edit an axis twice at once. Received edits of {[edit.axis for edit in edits]}.")
        after, changes = graph.edited(*edits)
        for edit in edits:
            known = [port for port in graph.ports(edit.axis) if port in changes]
            _check_keys(edit.values, known)
            _check_keys(edit.shift, known)
        return Structure(after, changes)

    def check(
        self, request: Request, edits: Sequence[Resize], after: Structure, values: Mapping[tuple[str, str], np.ndarray]
    ) -> None:
        """Refuse a new unit that nothing enters and nothing leaves."""
        fresh = [
            (port, change, value)
            for port, change in after.changes.items()
            if _feeds(change, value := values[port.layer, port.variable])
        ]
        for edit in edits:
            _check_not_dead(edit, after.graph, fresh)

    def size(self, network: Network, edit: Resize) -> int:
        """Return the number of units."""
        return network.graph.axes.get(edit.axis, 0)

    def name(self, edit: Resize) -> str:
        """Return the axis."""
        return edit.axis

    def source(self, edit: Resize) -> tuple[int, ...]:
        """Return which unit each descends from."""
        return edit.source


register_edit(Resizing())


def check_axis(graph: StructureGraph, name: str) -> None:
    """Raise unless `name` is an axis that can be edited."""
    if name in graph.axes:
        return
    if (reason := graph.locked.get(name)) is not None:
        raise ValueError(f"Cannot edit axis '{name}': {reason}. Editable axes: {_listed(graph.axes)}.")
    tied = next((a.name for a in graph.units.values() if any(layer == name for layer, _ in a.producers)), None)
    hint = f" The units of layer '{name}' belong to axis '{tied}'." if tied else ""
    for path in (path for path in (*graph.axes, *graph.locked) if path.endswith(f"/{name}")):
        why = f", where {graph.locked[path]}" if path in graph.locked else ""
        hint += f" Layers inside others are named with these: '{path}'{why}."
    raise ValueError(f"Cannot edit axis {name!r}: there is no such axis.{hint} Editable axes: {_listed(graph.axes)}.")


def _check_edit(graph: StructureGraph, edit: Resize, preserve: bool, limits: Mapping[str, int]) -> None:
    check_axis(graph, edit.axis)
    _check_source(graph, edit, limits)
    if preserve and (reason := graph.units[edit.axis].mixes) is not None:
        raise ValueError(
            f"Cannot edit axis '{edit.axis}' and keep the function: {reason}. Pass preserve=False to edit it all the same "
            "and accept another output."
        )


def _check_source(graph: StructureGraph, edit: Resize, limits: Mapping[str, int]) -> None:
    width, wrong = graph.units[edit.axis].width, []
    wrong = [i for i in edit.source if not NEW <= i < width]
    if wrong:
        raise ValueError(
            f"Cannot edit axis '{edit.axis}': it has {width} units, numbered 0 to {width - 1}, but `source` names "
            f"{wrong}. If the indices were measured before another edit, map them through that edit first."
        )
    if not edit.source:
        raise ValueError(
            f"Cannot prune all {width} units of axis '{edit.axis}': keep at least one. To leave the layer out, call the "
            "layers behind it on what enters it, and put the result into a new StructuralModel(inputs, outputs); they keep "
            "their weights where shapes fit."
        )
    limit = limits.get(edit.axis)
    if limit is not None and len(edit.source) > limit and len(edit.source) > width:
        raise ValueError(
            f"Cannot grow axis '{edit.axis}' to {len(edit.source)} units: its limit is {limit}. Raise `max_units` (or "
            "`max_filters`) of its layers, or add fewer units."
        )


def _check_keys(values: Values, ports: Sequence[Port]) -> None:
    known = {key for port in ports for key in (port.key, f"{port.key}/{port.axis}")}
    if unknown := sorted(set(values) - known):
        raise ValueError(
            f"Values for {unknown} belong to no variable of the edited axis. Expected keys among {sorted(known)}."
        )


def _feeds(change: Rearrangement, value: np.ndarray) -> bool:
    """Whether entries of a weight lead to units or away from them: a bias does not."""
    return change.rule.role == "consume" or (change.rule.role == "produce" and value.ndim > 1)


def _check_not_dead(edit: Resize, graph: StructureGraph, fresh: list[tuple[Port, Rearrangement, np.ndarray]]) -> None:
    """Refuse a new unit that nothing enters and nothing leaves: its gradient would be zero for ever."""
    if not edit.new_units:
        return
    dead = np.asarray(edit.source) == NEW
    for port, change, value in fresh:
        if not dead.any():
            return
        if change.new.any():
            entries = np.compress(change.new, value, port.axis) != 0
            alive = entries.any(axis=tuple(axis for axis in range(value.ndim) if axis != port.axis))
            dead[graph.unit_along(port, edit.axis)[change.new][alive]] = False
    if np.any(dead):
        raise ValueError(
            f"Cannot add units {np.flatnonzero(dead).tolist()} of axis '{edit.axis}': neither incoming nor outgoing "
            "weights are given, so their gradient would be zero for ever. Pass `values`, or an initializer such as RandomFanIn()."
        )


def _listed(axes: Mapping[str, int]) -> str:
    return ", ".join(f"'{name}' ({width} units)" for name, width in axes.items()) or "none"
