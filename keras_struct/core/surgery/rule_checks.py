"""Refuse unit rules that do not fit the layer that gives them, when it is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule, Tie
from keras_struct.core.surgery.reading import channel_axis


def described(layer: Any) -> str:
    """A layer in messages."""
    return f"layer '{layer.name}' ({type(layer).__name__})"


def checked_rules(layer: Any, given: Any) -> tuple[AxisRule, ...]:
    """Return what a layer gives as its rules.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(given, list | tuple) and all(isinstance(rule, AxisRule) for rule in given):
        return tuple(given)
    raise TypeError(
        f"The unit rules of {described(layer)} must be a tuple of AxisRule: "
        f"return (AxisRule('kernel', 0, 'consume'), AxisRule('kernel', 1, 'produce', size='units')). Received: {given!r}"
    )


def check_names(layer: Any, rules: Sequence[AxisRule]) -> None:
    """Refuse rules of variables, axes and attributes that the layer does not have, and two rules for one axis.

    Raises:
        ValueError: If there are any.
    """
    held, seen, kind = internals.own_variables(layer), set(), described(layer)
    for rule in rules:
        if rule.variable not in held:
            raise ValueError(f"A unit rule of {kind} names variable '{rule.variable}'. It has {sorted(held)}.")
        shape = internals.shape_of(held[rule.variable])
        if rule.axis >= len(shape):
            raise ValueError(
                f"A unit rule of {kind} names axis {rule.axis} of variable '{rule.variable}', whose shape is {shape}."
            )
        if (rule.variable, rule.axis) in seen:
            raise ValueError(
                f"Two unit rules of {kind} name axis {rule.axis} of variable '{rule.variable}'. Give one: `tied_to` may name "
                "several inputs."
            )
        seen.add((rule.variable, rule.axis))
        _check_size(layer, rule, shape[rule.axis])


def _check_size(layer: Any, rule: AxisRule, extent: int) -> None:
    """Refuse an attribute that is not there, or does not hold the extent of its axis."""
    for name in rule.size.split(",") if rule.size else ():
        *inside, attribute = name.split("/")
        holder = internals.inner_layer(layer, inside)
        if not internals.has_attribute(holder, attribute):
            raise ValueError(
                f"A unit rule of {described(layer)} says that its attribute '{attribute}' holds how many units there are "
                "(`size`). It has no such attribute: name the one that its constructor sets and get_config returns."
            )
        if (value := getattr(holder, attribute)) not in (None, extent):
            raise ValueError(
                f"A unit rule of {described(layer)} says that its attribute '{name}' holds the extent of axis {rule.axis} of "
                f"variable '{rule.variable}' (`size`). The attribute is {value!r}, and the axis has {extent} entries: name "
                "another attribute, or another axis."
            )


def places_of(layer: Any, rule: AxisRule, inputs: int, names: Sequence[str] | None) -> tuple[int, ...]:
    """Return the numbers of the inputs that a rule names; those of a parameter that the call does not pass are none.

    Raises:
        ValueError: If the layer has no such input.
    """
    passed = ("",) * inputs if names is None else tuple(names)
    return tuple(dict.fromkeys(place for tie in rule.inputs for place in _places(layer, rule, tie, passed)))


def _places(layer: Any, rule: AxisRule, tie: Tie, passed: tuple[str, ...]) -> tuple[int, ...]:
    if isinstance(tie, int):
        if 0 <= tie < len(passed):
            return (tie,)
        raise ValueError(f"A unit rule of {described(layer)} names input {tie}. It has {len(passed)}, numbered from 0.")
    parameters = list(inspect.signature(layer.call).parameters)
    if tie in parameters:
        everything = passed == ("",) * len(passed) and tie == parameters[0]
        return tuple(place for place, name in enumerate(passed) if everything or name == tie)
    if tie == "input" and len(passed) == 1:
        return (0,)
    expected = "'input', 'output', the number of an input"
    if tie == "input":
        expected = f"to be told which of its {len(passed)} inputs: their number, from 0,"
    raise ValueError(
        f"A unit rule of {described(layer)} is tied to {tie!r}: {rule}. Expected {expected} or a parameter of its `call`, "
        f"{parameters}."
    )


def check_extents(
    layer: Any,
    rules: Sequence[AxisRule],
    places: Mapping[AxisRule, tuple[int, ...]],
    inputs: Sequence[Shape],
    output: Shape,
) -> None:
    """Refuse rules by which an axis would lie along more or fewer units than it has entries for.

    Args:
        layer: The layer.
        rules: Its rules.
        places: The inputs that each of them names.
        inputs: Shapes, without batch, of what enters.
        output: Shape of what leaves.

    Raises:
        ValueError: If there is one.
    """
    held = internals.own_variables(layer)
    widths = [_width(layer, shape) for shape in inputs]
    makes = any(rule.role == "produce" for rule in rules)
    for rule in rules:
        extent = internals.shape_of(held[rule.variable])[rule.axis]
        passed = not makes and rule.role == "carry" and not rule.inputs
        if rule.along_output or passed:
            _compare(layer, rule, extent, "of its output", _width(layer, output), widths)
        for place in places[rule] or (() if rule.along_output or passed else (0,)):
            which = "that enter it" if len(widths) == 1 else f"of its input {place}"
            _compare(layer, rule, extent, which, widths[place], widths)


def _width(layer: Any, shape: Shape) -> int | None:
    """How many units there may be along a tensor."""
    return shape[channel_axis(layer, len(shape))] if shape else None


def _compare(
    layer: Any, rule: AxisRule, extent: int, which: str, width: int | None, inputs: Sequence[int | None]
) -> None:
    factor = rule.layout.repeat * rule.layout.tile
    if width is None or width * factor == extent:
        return
    times = f", {factor} entries each" if factor > 1 else ""
    raise ValueError(
        f"A unit rule of {described(layer)} does not fit it: {rule} says that axis {rule.axis} of its variable "
        f"'{rule.variable}' lies along the units {which}, of which there are {width}{times}, and the axis has {extent} "
        f"entries. {_remedy(rule, extent, width, inputs)}"
    )


def _remedy(rule: AxisRule, extent: int, width: int, inputs: Sequence[int | None]) -> str:
    others = [place for place, other in enumerate(inputs) if other == extent]
    if len(inputs) > 1 and others:
        return f"Input {others[0]} has as many units: tied_to={others[0]}."
    if extent % width == 0:
        return f"If each unit has {extent // width} entries there, say how they lie: layout=Layout(tile={extent // width})."
    return "Name the axis that lies along these units, or leave the rule out."
