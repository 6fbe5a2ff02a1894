"""Compute everything an edit will write, check it, and change nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_struct.backend import current
from keras_struct.backend import keras_internals as internals
from keras_struct.backend.optimizer_slots import Slot
from keras_struct.structure.behaviours import Weighted
from keras_struct.structure.edits import Resize, Values
from keras_struct.structure.graph import StructureGraph
from keras_struct.structure.rearrangement import Rearrangement
from keras_struct.structure.reconfiguring import Reconfigure
from keras_struct.structure.remap import NEW
from keras_struct.structure.rewiring import Rewire
from keras_struct.structure.rules import Port
from keras_struct.surgery.checking import check_layers
from keras_struct.surgery.reconfiguring import plan_reconfiguring, relayed
from keras_struct.surgery.rewiring import following_masks, plan_rewiring
from keras_struct.surgery.trace import Network

NewSlots = Literal["initial", "mean"]


@dataclass(frozen=True)
class Plan:
    """What an edit will write.

    Attributes:
        graph: The structure afterwards.
        writes: Each variable with its value before and afterwards.
        sizes: Layers and an attribute, such as the number of units, with its new value.
        changes: What happens along each axis of a variable.
        stale: Whether compiled steps must be traced anew even if all variables keep their objects.
    """

    graph: StructureGraph
    writes: list[tuple[Any, np.ndarray, np.ndarray]]
    sizes: list[tuple[Any, str, Any]]
    changes: Mapping[Port, Rearrangement]
    stale: bool = False

    def added_parameters(self, variables: Collection[int]) -> int:
        """By how many parameters the variables with the given `id`s grow."""
        return sum(value.size - old.size for variable, old, value in self.writes if id(variable) in variables)


def plan(
    network: Network,
    edits: Sequence[Resize | Rewire | Reconfigure],
    slots: Sequence[Slot] = (),
    preserve: bool = True,
    new_slots: NewSlots = "initial",
    limits: Mapping[str, int] | None = None,
    checked: StructureGraph | None = None,
) -> Plan:
    """Work out edits of different axes and masks, which are carried out at once.

    Args:
        network: The model as a graph of units.
        edits: The edits.
        slots: Optimizer variables that follow the weights.
        preserve: Refuse edits that no choice of weights can make function-preserving.
        new_slots: What optimizer slots hold for units without ancestor: `"initial"`, as freshly built, or `"mean"`, the
            mean over the existing units. Copies of a unit inherit its slots.
        limits: Largest width of each axis.
        checked: The graph that says what may be edited, if `network` holds more than what is edited.

    Returns:
        The plan; nothing has been changed.

    Raises:
        ValueError: If an axis is unknown, fixed or edited twice, an index is out of range, no unit would be left, a limit
            would be passed, values have the wrong shape or dtype or are not finite, masks do not fit, or a layer of the
            user's own does not do what its unit rules say.
    """
    rewirings = [edit for edit in edits if isinstance(edit, Rewire)]
    resizings = [edit for edit in edits if isinstance(edit, Resize)]
    for edit in resizings:
        _check_edit(checked or network.graph, edit, preserve, limits or {})
    if len({edit.axis for edit in resizings}) < len(resizings):
        raise ValueError(f"Cannot edit an axis twice at once. Received edits of {[edit.axis for edit in resizings]}.")
    graph, changes = network.graph.edited(*resizings) if resizings else (network.graph, {})
    relaid = relayed(network, [edit for edit in edits if isinstance(edit, Reconfigure)], bool(resizings))
    if relaid is not None:
        graph, changes = relaid
    shares = _shares(network.graph, graph, resizings, changes)
    by_variable: dict[tuple[str, str], dict[int, Rearrangement]] = defaultdict(dict)
    for port, change in changes.items():
        by_variable[port.layer, port.variable][port.axis] = change
    for edit in resizings:
        known = {port: changes[port] for port in network.graph.ports(edit.axis) if port in changes}
        _check_keys(edit.values, known)
        _check_keys(edit.shift, known)
    writes: list[tuple[Any, np.ndarray, np.ndarray]] = []
    fresh: list[tuple[Port, Rearrangement, np.ndarray]] = []
    weights = {(layer, name): internals.own_variables(network.layers[layer])[name] for layer, name in by_variable}
    followers = {key: [slot for slot in slots if slot.reference is weight] for key, weight in weights.items()}
    old_values = iter(
        current().read_all([v for key in weights for v in (weights[key], *(s.variable for s in followers[key]))])
    )
    for (layer, name), axes in by_variable.items():
        old = next(old_values)
        value = _weight(old, f"{layer}/{name}", axes, {a: shares[Port(layer, name, a)] for a in axes})
        writes.append((weights[layer, name], old, value))
        fresh += [
            (Port(layer, name, a), change, value)
            for a, change in axes.items()
            if change.rule.role == "consume" or (change.rule.role == "produce" and value.ndim > 1)
        ]
        for slot in followers[layer, name]:
            held = next(old_values)
            writes.append((slot.variable, held, _slot(slot, held, axes, value, new_slots)))
    for edit in resizings:
        _check_not_dead(edit, graph, fresh)
    resized = {layer for layer, _ in by_variable}
    writes += plan_rewiring(network, rewirings, slots, resized)
    others = [edit for edit in edits if isinstance(edit, Reconfigure)]
    stale = relaid is not None or any(getattr(network.layers.get(edit.layer), "retraced", False) for edit in others)
    more, attributes = plan_reconfiguring(network, others, slots, resized | {edit.layer for edit in rewirings})
    following = following_masks(network, writes)
    attributes += _sizes(network, graph, changes) + following
    planned = Plan(graph, writes + more, attributes, changes, stale or bool(following))
    check_layers(network, planned)
    return planned


@dataclass(frozen=True)
class _Share:
    """What one edit does along one axis of one variable.

    Attributes:
        edit: The edit.
        axes: Axes of the variable that the edit changes.
        new: Which positions of the axis belong to its new units.
        places: Which positions belong to any of its units.
    """

    edit: Resize
    axes: tuple[int, ...]
    new: np.ndarray
    places: np.ndarray | None


def _shares(
    before: StructureGraph, after: StructureGraph, edits: Sequence[Resize], changes: Mapping[Port, Rearrangement]
) -> dict[Port, list[_Share]]:
    found: dict[Port, list[_Share]] = {port: [] for port in changes}
    for edit in edits:
        ports = [port for port in before.ports(edit.axis) if port in changes]
        for port in ports:
            axes = tuple(other.axis for other in ports if other[:2] == port[:2])
            new, places = changes[port].new, None
            if (len(edits) > 1 and new.any()) or edit.shift:
                places = after.unit_along(port, edit.axis) >= 0
                new = new & places
            found[port].append(_Share(edit, axes, new, places))
    return found


def _check_edit(graph: StructureGraph, edit: Resize, preserve: bool, limits: Mapping[str, int]) -> None:
    check_axis(graph, edit.axis)
    _check_source(graph, edit, limits)
    if preserve and (reason := graph.units[edit.axis].mixes) is not None:
        raise ValueError(
            f"Cannot edit axis '{edit.axis}' and keep the function: {reason}. Pass preserve=False to edit it all the same "
            "and accept another output."
        )


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


def _listed(axes: Mapping[str, int]) -> str:
    return ", ".join(f"'{name}' ({width} units)" for name, width in axes.items()) or "none"


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


def _check_keys(values: Values, ports: Mapping[Port, Rearrangement]) -> None:
    known = {key for port in ports for key in (port.key, f"{port.key}/{port.axis}")}
    if unknown := sorted(set(values) - known):
        raise ValueError(
            f"Values for {unknown} belong to no variable of the edited axis. Expected keys among {sorted(known)}."
        )


def _weight(
    old: np.ndarray, key: str, axes: Mapping[int, Rearrangement], shares: Mapping[int, Sequence[_Share]]
) -> np.ndarray:
    """New value of a weight: gather, divide outgoing weights among copies, then fill in what is new."""
    value = old
    for axis, change in axes.items():
        value = change.carry_out(value, axis, _new_entries(value, axis, change))
        if change.rule.role == "consume" and change.divides:
            value = value / _along(change.copies, axis, value.ndim).astype(value.dtype)
        value = _rescaled(value, change, old.shape[axis])
    for axis, change in sorted(axes.items(), key=lambda item: item[1].rule.role == "consume"):
        for share in shares[axis]:
            given = _given(share.edit.values, key, axis, change, share.axes)
            place = (slice(None),) * axis + (share.new,)
            if given is not None:
                value[place] = _checked(_fitted(given, old.shape, axis, axes), value[place], key)
            elif change.rule.role == "consume" and share.new.any():
                value[place] = 0
            shift = _given(share.edit.shift, key, axis, change, share.axes)
            if shift is not None:
                shift = _among_others(_fitted(shift, old.shape, axis, axes), axis, share.places)
                value = value + _checked(shift, value, key)
    return value


def _among_others(given: np.ndarray, axis: int, places: np.ndarray | None) -> np.ndarray:
    """What is given for the units of one axis only, among zeros for those of others beside them."""
    if places is None or given.ndim <= axis or given.shape[axis] != places.sum():
        return given
    whole = np.zeros((*given.shape[:axis], len(places), *given.shape[axis + 1 :]), given.dtype)
    whole[(slice(None),) * axis + (places,)] = given
    return whole


def _rescaled(value: np.ndarray, change: Rearrangement, before: int) -> np.ndarray:
    """Multiply by the power of the ratio of extents that the rule of an axis asks for."""
    factor = (len(change.source) / before) ** change.rule.power
    return value if factor == 1.0 else value * np.asarray(factor, value.dtype)


def _given(values: Values, key: str, axis: int, change: Rearrangement, axes: Sequence[int]) -> np.ndarray | None:
    """What an edit brings for one axis of a variable; a key without axis means the axis that makes the units."""
    given = values.get(f"{key}/{axis}")
    return values.get(key) if given is None and (len(axes) == 1 or change.rule.role == "produce") else given


def _new_entries(value: np.ndarray, axis: int, change: Rearrangement) -> float | np.ndarray:
    """What entries without ancestor hold: a number, or copies of existing entries, one after the other."""
    if change.rule.new != "existing":
        return change.rule.new
    return np.take(value, np.arange(int(change.new.sum())) % value.shape[axis], axis=axis)


def _fitted(given: np.ndarray, old: tuple[int, ...], axis: int, axes: Mapping[int, Rearrangement]) -> np.ndarray:
    """Fit values that were made for the old extents of other edited axes; what is new there gets zeros."""
    for other, change in axes.items():
        if other != axis and given.ndim == len(old) and given.shape[other] == old[other]:
            given = change.carry_out(given, other)
    return given


def _checked(given: np.ndarray, place: np.ndarray, key: str) -> np.ndarray:
    """Values in the shape and dtype of the entries that they are for."""
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        raise ValueError(f"Values for '{key}' have dtype {given.dtype}: expected numbers.")
    if given.shape != place.shape:
        raise ValueError(
            f"Values for '{key}' have shape {given.shape}: expected {place.shape}; `values` hold the new entries only, "
            "`shift` the whole variable."
        )
    if given.dtype == place.dtype:
        fitting = given
    else:
        with np.errstate(over="ignore"):
            fitting = given.astype(place.dtype)
    if not np.isfinite(fitting if fitting.dtype.kind == "f" else fitting.astype(np.float64)).all():
        raise ValueError(
            f"Values for '{key}' hold NaN or infinity (as {place.dtype}): compute them anew, or leave them out for the "
            "default."
        )
    return fitting


def _along(vector: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return vector.reshape([-1 if i == axis else 1 for i in range(rank)])


def _slot(
    slot: Slot, value: np.ndarray, axes: Mapping[int, Rearrangement], weight: np.ndarray, new_slots: NewSlots
) -> np.ndarray:
    """New value of an optimizer slot: the weight's gathers; a copy of the weight also takes its new entries."""
    for axis, change in axes.items():
        new, before = value.mean(axis=axis, keepdims=True) if new_slots == "mean" else slot.initial, value.shape[axis]
        value = change.carry_out(value, axis, new)
        if slot.copies and change.rule.role == "consume" and change.divides:
            value = value / _along(change.copies, axis, value.ndim).astype(value.dtype)
        if slot.copies:
            value = _rescaled(value, change, before)
    for axis, change in axes.items() if slot.copies else ():
        place = (slice(None),) * axis + (change.new,)
        value[place] = weight[place]
    return value


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


def _sizes(
    network: Network, graph: StructureGraph, changes: Mapping[Port, Rearrangement]
) -> list[tuple[Any, str, Any]]:
    found: list[tuple[Any, str, Any]] = []
    for port, change in changes.items():
        for layer, name in network.graph.sizes(port):
            *inside, attribute = name.split("/")
            found.append((internals.inner_layer(network.layers[layer], inside), attribute, len(change.source)))
    for call in graph.calls if changes else ():
        if isinstance(call.behaviour, Weighted) and call.behaviour.size is not None:
            *inside, attribute = call.behaviour.size.split("/")
            extent = graph.tensors[call.inputs[0]].shape[call.behaviour.axis]
            found.append((internals.inner_layer(network.layers[call.layer], inside), attribute, extent))
    return found
