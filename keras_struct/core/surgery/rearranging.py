"""New values of weights and optimizer slots whose entries come, go or move with units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.optimizer_slots import Slot
from keras_struct.core.structure.behaviours import Weighted
from keras_struct.core.structure.edits import Resize, Values
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.structure.rearrangement import Rearrangement
from keras_struct.core.structure.rules import AxisRule, Port
from keras_struct.core.surgery.edit_kinds import Fact, NewSlots, Request, Structure, Write
from keras_struct.core.surgery.trace import Network


def rearranged_weights(request: Request, after: Structure) -> dict[tuple[str, str], tuple[Write, list[Write]]]:
    """Return what is written to each weight, by layer and variable, and to its optimizer slots.

    Args:
        request: What is planned.
        after: The structure afterwards, with what happens along each axis.
    """
    network, resizings = request.network, [edit for edit in request.edits if isinstance(edit, Resize)]
    by_variable: dict[tuple[str, str], dict[int, Rearrangement]] = defaultdict(dict)
    for port, change in after.changes.items():
        by_variable[port.layer, port.variable][port.axis] = change
    shares = _shares(network.graph, after, resizings)
    weights = {(layer, name): internals.own_variables(network.layers[layer])[name] for layer, name in by_variable}
    slots = {key: request.followers(weight) for key, weight in weights.items()}
    held = iter(current().read_all([v for key in weights for v in (weights[key], *(s.variable for s in slots[key]))]))
    found = {}
    for (layer, name), axes in by_variable.items():
        old = next(held)
        value = _weight(old, f"{layer}/{name}", axes, {a: shares[Port(layer, name, a)] for a in axes})
        moved = []
        for slot in slots[layer, name]:
            before = next(held)
            moved.append(Write(slot.variable, before, _slot(slot, before, axes, value, request.new_slots)))
        found[layer, name] = (Write(weights[layer, name], old, value), moved)
    return found


def rearranged_sizes(network: Network, after: Structure) -> list[Fact]:
    """Return the attributes of layers that say how many units they have, as far as they change."""
    found = []
    for port, change in after.changes.items():
        for layer, name in network.graph.sizes(port):
            found.append(_inside(network.layers[layer], name, len(change.source)))
    for call in after.graph.calls if after.changes else ():
        if isinstance(call.behaviour, Weighted) and call.behaviour.size is not None:
            extent = after.graph.tensors[call.inputs[0]].shape[call.behaviour.axis]
            found.append(_inside(network.layers[call.layer], call.behaviour.size, extent))
    return found


def _inside(layer: object, path: str, value: int | None) -> Fact:
    *inside, attribute = path.split("/")
    return Fact(internals.inner_layer(layer, inside), attribute, value)


@dataclass(frozen=True)
class _Share:
    """What one edit does along one axis of one variable.

    Attributes:
        edit: The edit.
        axes: Axes of the variable that the edit changes.
        new: Which positions of the axis belong to its new units, as an index; `None` if there are none.
        places: Which positions belong to any of its units.
    """

    edit: Resize
    axes: Sequence[int]
    new: np.ndarray | slice | None
    places: np.ndarray | None


def _shares(before: StructureGraph, after: Structure, edits: Sequence[Resize]) -> dict[Port, list[_Share]]:
    changes = after.changes
    found: dict[Port, list[_Share]] = {port: [] for port in changes}
    for edit in edits:
        axes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for port in (ports := [port for port in before.ports(edit.axis) if port in changes]):
            axes[port[:2]].append(port.axis)
        for port in ports:
            change, places = changes[port], None
            new: np.ndarray | slice | None = change.appended
            if len(edits) > 1 or edit.shift:
                places = after.graph.unit_along(port, edit.axis) >= 0
                new = mask if (mask := change.new & places).any() else None
            elif new is None and change.new.any():
                new = change.new
            found[port].append(_Share(edit, axes[port[:2]], new, places))
    return found


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
            place = (slice(None),) * axis + (slice(0) if share.new is None else share.new,)
            if given is not None:
                value[place] = _checked(_fitted(given, old.shape, axis, axes), value[place], key, change.rule)
            elif change.rule.role == "consume" and share.new is not None:
                value[place] = 0
            shift = _given(share.edit.shift, key, axis, change, share.axes)
            if shift is not None:
                shift = _among_others(_fitted(shift, old.shape, axis, axes), axis, share.places)
                value = value + _checked(shift, value, key, change.rule)
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


def _checked(given: np.ndarray, place: np.ndarray, key: str, rule: AxisRule) -> np.ndarray:
    """Values in the shape and dtype of the entries that they are for."""
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        raise ValueError(f"Values for '{key}' have dtype {given.dtype}: expected numbers.")
    if given.shape != place.shape:
        raise ValueError(
            f"Values for '{key}' have shape {given.shape}: expected {place.shape}; `values` hold the new entries only, "
            f"`shift` the whole variable. New entries lie along axis {rule.axis}, of role '{rule.role}' by its unit rule."
        )
    if given.dtype == place.dtype:
        fitting = given
    else:
        with np.errstate(over="ignore"):
            fitting = given.astype(place.dtype)
    if not np.isfinite(fitting if fitting.dtype.kind == "f" else fitting.astype(np.float64)).all():
        raise ValueError(
            f"Values for '{key}' hold NaN or infinity (as {place.dtype}): compute them again, or leave them out for the "
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
