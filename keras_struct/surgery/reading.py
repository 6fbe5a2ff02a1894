"""Turn the rules of a layer into what it does to units."""

from __future__ import annotations

from typing import Any

from keras_struct.backend import keras_internals as internals
from keras_struct.structure.assemblies import Assembly, Give, Make, Read
from keras_struct.structure.behaviours import Behaviour, Opaque, Weighted
from keras_struct.structure.labels import Shape
from keras_struct.structure.meeting import Meet
from keras_struct.structure.rules import AxisRule
from keras_struct.surgery.activation import mixing_reason

ELASTIC: tuple[str, ...] = ()
RIGID: tuple[str, ...] = ("in", "out")
RIGID_OUT: tuple[str, ...] = ("out",)


def from_rules(layer: Any, rules: tuple[AxisRule, ...], output: Shape, rigid: tuple[str, ...] = ELASTIC) -> Behaviour:
    """Behaviour of a layer with one unit axis, from its rules."""
    size = next((rule.size for rule in rules if rule.role == "produce" and rule.size), None)
    produces = any(rule.role == "produce" for rule in rules)
    axis = channel_axis(layer, len(output))
    units = (int(getattr(layer, size)) if size else output[axis]) if produces else None
    return Weighted(rules, axis, output, units=units, mixes=mixing_reason(layer), rigid=rigid)


def from_own_rules(
    layer: Any, given: Any, inputs: list[Shape], outputs: list[Shape], rigid: tuple[str, ...]
) -> Behaviour:
    """Behaviour of a layer of the user's own, from the rules that it gives; it may have several inputs.

    Raises:
        TypeError: If these are no rules.
        ValueError: If they name variables, axes, inputs or attributes that the layer does not have.
    """
    rules = _as_rules(layer, given)
    _check(layer, rules, len(inputs))
    if len(outputs) != 1:
        return Opaque(
            f"layer '{layer.name}' ({type(layer).__name__}) has {len(outputs)} outputs, and unit rules describe one; make "
            "it a layer for each output",
            tuple(outputs),
        )
    if len(inputs) == 1:
        return from_rules(layer, rules, outputs[0], rigid)
    output, axis = outputs[0], channel_axis(layer, len(outputs[0]))
    made = tuple(rule for rule in rules if rule.role == "produce" or rule.made)
    read = tuple(rule for rule in rules if rule.role == "consume")
    carried = tuple(rule for rule in rules if rule.role == "carry" and not rule.made)
    reading = read + carried if made else read
    reads = tuple(
        Read(place, channel_axis(layer, len(inputs[place])), tuple(rule for rule in reading if rule.input == place))
        for place in dict.fromkeys(rule.input for rule in reading)
    )
    if made:
        size = next((rule.size for rule in made if rule.size), None)
        units = int(getattr(layer, size) if size else output[axis] or 0)
        make = Make(units, made, mixes=mixing_reason(layer))
        return Assembly(reads, (make,), (Give(output, axis),), rigid=bool(rigid))
    meeting = tuple(
        (place, channel_axis(layer, len(shape)))
        for place, shape in enumerate(inputs)
        if shape and shape[channel_axis(layer, len(shape))] == output[axis] and all(r.source != place for r in reads)
    )
    if not meeting:
        return Opaque(
            f"layer '{layer.name}' ({type(layer).__name__}) makes {output[axis]} units, which none of its inputs has; name "
            'the variable that makes them with an AxisRule of role "produce"',
            tuple(outputs),
        )
    return Meet(meeting, reads, carried, output, axis, bool(rigid), mixing_reason(layer))


def _as_rules(layer: Any, given: Any) -> tuple[AxisRule, ...]:
    if isinstance(given, list | tuple) and all(isinstance(rule, AxisRule) for rule in given):
        return tuple(given)
    raise TypeError(
        f"The unit rules of layer '{layer.name}' ({type(layer).__name__}) must be a tuple of AxisRule: "
        f"return (AxisRule('kernel', 0, 'consume'), AxisRule('kernel', 1, 'produce', size='units')). Received: {given!r}"
    )


def _check(layer: Any, rules: tuple[AxisRule, ...], inputs: int) -> None:
    """Refuse rules of variables, axes and inputs that the layer does not have."""
    held = internals.own_variables(layer)
    for rule in rules:
        kind = f"layer '{layer.name}' ({type(layer).__name__})"
        if rule.variable not in held:
            raise ValueError(f"A unit rule of {kind} names variable '{rule.variable}'. It has {sorted(held)}.")
        if not 0 <= rule.axis < len(held[rule.variable].shape):
            shape = tuple(held[rule.variable].shape)
            raise ValueError(
                f"A unit rule of {kind} names axis {rule.axis} of variable '{rule.variable}', whose shape is {shape}."
            )
        for name in rule.size.split(",") if rule.size else ():
            *inside, attribute = name.split("/")
            if not hasattr(internals.inner_layer(layer, inside), attribute):
                raise ValueError(
                    f"A unit rule of {kind} says that its attribute '{attribute}' holds how many units there are (`size`). "
                    "It has no such attribute: name the one that its constructor sets and get_config returns."
                )
        if not 0 <= rule.input < inputs:
            raise ValueError(f"A unit rule of {kind} names input {rule.input}. It has {inputs}, numbered from 0.")


def channel_axis(layer: Any, rank: int) -> int:
    """Axis, without batch, along which a layer's channels lie."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return 0 if first else rank - 1
