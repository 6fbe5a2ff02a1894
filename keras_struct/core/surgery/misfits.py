"""Which unit rule of a layer is wrong, when an edit that follows its rules does not fit it, and what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.trials import built_with
from keras_struct.core.structure.graph import Call, StructureGraph
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule, Role
from keras_struct.core.surgery.build_shapes import planned_build_shapes
from keras_struct.core.surgery.reading import channel_axis
from keras_struct.core.surgery.trace import Network


@dataclass(frozen=True, eq=False)
class Trial:
    """How a layer did that was tried out as an edit would leave it.

    Attributes:
        network: The network before the edit.
        after: Its graph after the edit.
        call: The call of the layer.
        held: Shapes of its variables after the edit.
        wanted: Shapes that they have in a layer that is made again of its configuration; none if it cannot be.
        failure: What was wrong with its call, if anything.
    """

    network: Network
    after: StructureGraph
    call: Call
    held: Mapping[str, tuple[int, ...]]
    wanted: Mapping[str, tuple[int, ...]]
    failure: str | None

    @property
    def layer(self) -> Any:
        """The layer, as the edit would leave it."""
        return self.network.layers[self.call.layer]

    @cached_property
    def rules(self) -> dict[tuple[str, int], AxisRule]:
        """Its unit rules, by variable and axis."""
        before = self.network.graph.all_ports
        return {(port.variable, port.axis): rule for port, rule in before.items() if port.layer == self.call.layer}

    @cached_property
    def misfit(self) -> tuple[str, int] | None:
        """The first variable and axis whose extent the edit makes another than that of a new layer."""
        for path, shape in self.held.items():
            other = self.wanted.get(path, shape)
            if len(other) == len(shape):
                found = next((axis for axis, extent in enumerate(shape) if extent != other[axis]), None)
                if found is not None:
                    return path, found
        return None

    def followed(self, path: str, axis: int) -> int | None:
        """Number of the input whose width an axis of a new layer follows, if it follows any."""
        for place, number in enumerate(self.call.inputs):
            channels = 1 + channel_axis(self.layer, len(self.after.tensors[number].shape))
            with built_with(planned_build_shapes(self.network, self.after, self.call.layer, place, channels)):
                found = internals.shapes_by_config(self.layer)
            if found is not None and found[path][axis] != self.wanted[path][axis]:
                return place
        return None

    def width(self, graph: StructureGraph, number: int) -> int | None:
        """How many units there may be along a tensor."""
        shape: Shape = graph.tensors[number].shape
        return shape[channel_axis(self.layer, len(shape))] if shape else None


def refusal(trial: Trial) -> str:
    """What an error says of an edit that a layer does not follow: the layer, variable, axis, both extents, and the remedy."""
    kind = f"Cannot carry out the edit: layer '{trial.call.layer}' ({type(trial.layer).__name__})"
    if trial.failure is None:
        wrong = next(path for path, shape in trial.held.items() if trial.wanted.get(path, shape) != shape)
        return (
            f"{kind} could not be loaded after it. Made of its configuration, its '{wrong}' has shape {trial.wanted[wrong]}, and "
            f"the edit gives it {trial.held[wrong]}. {_axis_in_words(trial) or ''}"
        )
    kind = f"{kind} does not do with it what its unit rules say"
    if trial.misfit is not None and (trial.misfit not in trial.rules or trial.followed(*trial.misfit) is not None):
        return f"{kind}. {_axis_in_words(trial)}"
    return f"{kind}; {trial.failure} {_tie_in_words(trial) or _axis_in_words(trial) or _general(trial)}"


def _axis_in_words(trial: Trial) -> str | None:
    """Which axis of a variable is too short or too long for the layer, and the rule that would change that."""
    if trial.misfit is None:
        return None
    path, axis = trial.misfit
    rule, place = trial.rules.get(trial.misfit), trial.followed(path, axis)
    planned, wanted = trial.held[path][axis], trial.wanted[path][axis]
    extents = (
        f"Axis {axis} of its variable '{path}' would have {planned} entries, and has {wanted} in such a layer that is made for "
        "what enters then."
    )
    if rule is None:
        return f"{extents} No unit rule names that axis: add {_missing(trial, path, axis, place)}."
    if place is not None and rule.role == "produce" and not rule.inputs:
        return f"{extents} It follows the units that enter: if the layer outputs the same units, {_tied(trial, rule, place)}"
    if place is not None:
        return f"{extents} It follows input {place}, and its unit rule is {rule}: correct the rule."
    return (
        f"{extents} Say in its unit rule, {rule}, which attribute of the layer holds the number of units (size='units'), and "
        "have get_config return that attribute."
    )


def _missing(trial: Trial, path: str, axis: int, place: int | None) -> AxisRule:
    """The rule that an axis without any probably needs."""
    if place is None:
        makes = any(rule.role == "produce" for rule in trial.rules.values())
        return AxisRule(path, axis, "produce" if makes else "carry")
    tied = any(rule.role == "produce" and rule.inputs for rule in trial.rules.values())
    role: Role = "consume" if len(trial.held[path]) > 1 else ("produce" if tied else "carry")
    return AxisRule(path, axis, role) if place == 0 else AxisRule(path, axis, role, tied_to=place)


def _tied(trial: Trial, rule: AxisRule, place: int) -> str:
    tie = "input" if len(trial.call.inputs) == 1 else place
    return f"write {AxisRule(rule.variable, rule.axis, 'produce', rule.layout, tied_to=tie)}."


def _tie_in_words(trial: Trial) -> str | None:
    """Which units are too few or too many, if there were as many as enter, and no rule says that they are the same."""
    rule = next((rule for rule in trial.rules.values() if rule.role == "produce" and not rule.inputs), None)
    for place, number in enumerate(trial.call.inputs if rule is not None else ()):
        (entered, left), (enters, leaves) = (
            (trial.width(graph, number), trial.width(graph, trial.call.outputs[0]))
            for graph in (trial.network.graph, trial.after)
        )
        if rule is not None and entered == left and enters != leaves:
            extent = trial.held[rule.variable][rule.axis]
            return (
                f"Axis {rule.axis} of its variable '{rule.variable}' would have {extent} entries, for {enters} units that "
                f"enter: there were {entered} of both. If they are the same units, {_tied(trial, rule, place)}"
            )
    return None


def _general(trial: Trial) -> str:
    if any(rule.role == "produce" for rule in trial.rules.values()):
        return (
            "Correct its unit rules: variables whose axes must keep the same extent need a rule for each of these axes."
        )
    return (
        "Correct its unit rules: by these it passes units on. If it makes units, name the variable that makes them with an "
        "AxisRule of role 'produce'."
    )
