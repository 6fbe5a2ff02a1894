"""Turn the rules that a layer of the user's own gives into what it does to units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_struct.core.structure.assemblies import Assembly, Give, Make, Read
from keras_struct.core.structure.behaviours import Behaviour, Opaque
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.meeting import Meet
from keras_struct.core.structure.rules import AxisRule
from keras_struct.core.surgery.activation import declared_mixing, mixing_reason
from keras_struct.core.surgery.reading import channel_axis, from_rules
from keras_struct.core.surgery.rule_checks import check_extents, check_names, checked_rules, places_of

Places = Mapping[AxisRule, tuple[int, ...]]
"""The inputs that each rule names."""


def from_own_rules(
    layer: Any,
    given: Any,
    inputs: list[Shape],
    outputs: list[Shape],
    rigid: tuple[str, ...],
    names: Sequence[str] | None = None,
) -> Behaviour:
    """Behaviour of a layer of the user's own, from the rules that it gives; it may have several inputs.

    Args:
        layer: The layer.
        given: What it says its rules are.
        inputs: Shapes, without batch, of the tensors that go in.
        outputs: Shapes of those that come out.
        rigid: Where the number of units must be known when the layer is traced.
        names: For each tensor that goes in, the parameter that it is passed for; by default all are passed for the first.

    Raises:
        TypeError: If these are no rules.
        ValueError: If they name variables, axes, inputs or attributes that the layer does not have, or say that units lie
            along an axis whose extent is not their number.
    """
    rules = checked_rules(layer, given)
    check_names(layer, rules)
    places = {rule: places_of(layer, rule, len(inputs), names) for rule in rules}
    rules = tuple(
        rule for rule in rules if places[rule] or rule.along_output or not rule.inputs
    )  # others enter no call
    if len(outputs) != 1:
        return Opaque(
            f"layer '{layer.name}' ({type(layer).__name__}) has {len(outputs)} outputs, and unit rules describe one; make "
            "it a layer for each output",
            tuple(outputs),
        )
    if not outputs[0]:
        return _measuring(layer, rules, places, inputs)
    if any(rule.role == "produce" for rule in rules):
        found = _making(layer, rules, places, inputs, outputs[0], rigid)
    else:
        found = _passing(layer, rules, places, inputs, outputs[0], rigid)
    check_extents(layer, rules, places, inputs, outputs[0])
    return found


def _is_plain(inputs: list[Shape], output: Shape) -> bool:
    return len(inputs) == 1 and len(inputs[0]) == len(output)


def _measuring(layer: Any, rules: tuple[AxisRule, ...], places: Places, inputs: list[Shape]) -> Behaviour:
    """A layer that outputs one number a sample."""
    if any(rule.along_output for rule in rules):
        return Opaque(
            f"layer '{layer.name}' ({type(layer).__name__}) outputs one number a sample, and its unit rules say that it outputs "
            "units; leave out those of role 'produce'",
            ((),),
        )
    return Assembly(_reads(layer, rules, places, inputs), (), (Give((), made=()),))


def _making(
    layer: Any, rules: tuple[AxisRule, ...], places: Places, inputs: list[Shape], output: Shape, rigid: tuple[str, ...]
) -> Behaviour:
    """A layer that makes units, which may be those of some of its inputs."""
    made = tuple(rule for rule in rules if rule.along_output)
    tied = tuple(dict.fromkeys(place for rule in made for place in places[rule]))
    if _is_plain(inputs, output) and not tied:
        return from_rules(layer, rules, output, rigid)
    reads = _reads(layer, [rule for rule in rules if not rule.along_output], places, inputs)
    axis = channel_axis(layer, len(output))
    make = Make(output[axis] or 0, made, "", tied, mixing_reason(layer), channel_axis(layer, 0))
    return Assembly(reads, (make,), (Give(output, axis),), rigid=bool(rigid))


def _passing(
    layer: Any, rules: tuple[AxisRule, ...], places: Places, inputs: list[Shape], output: Shape, rigid: tuple[str, ...]
) -> Behaviour:
    """A layer that passes units on: those of the inputs that meet in it."""
    width = output[channel_axis(layer, len(output))]
    consumed = {place for rule in rules if rule.role == "consume" for place in places[rule] or (0,)}
    alone = len(inputs) == 1
    meeting = tuple(
        (place, channel_axis(layer, len(shape)))
        for place, shape in enumerate(inputs)
        if shape and shape[channel_axis(layer, len(shape))] == width and (alone or place not in consumed)
    )
    if not meeting:
        return Opaque(
            f"layer '{layer.name}' ({type(layer).__name__}) makes {width} units, which none of its inputs has; name "
            'the variable that makes them with an AxisRule of role "produce"',
            (output,),
        )
    if _is_plain(inputs, output):
        return from_rules(layer, rules, output, rigid)
    met = {place for place, _ in meeting}
    carried = tuple(r for r in rules if r.along_output or (r.role == "carry" and met.issuperset(places[r])))
    reads = _reads(layer, [rule for rule in rules if rule not in carried], places, inputs)
    return Meet(meeting, reads, carried, output, channel_axis(layer, len(output)), bool(rigid), mixing_reason(layer))


def _reads(layer: Any, rules: Sequence[AxisRule], places: Places, inputs: list[Shape]) -> tuple[Read, ...]:
    """What each input is read by: rules that name none mean the first."""
    by_place: dict[int, list[AxisRule]] = {}
    for rule in rules:
        for place in places[rule] or (0,):
            by_place.setdefault(place, []).append(rule)
    mixes = declared_mixing(layer)
    return tuple(
        Read(place, channel_axis(layer, len(inputs[place])), tuple(r), mixes=mixes) for place, r in by_place.items()
    )
