"""Turn the rules of a layer into what it does to units."""

from __future__ import annotations

from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.behaviours import Behaviour, Weighted
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule
from keras_struct.core.surgery.activation import declared_mixing, mixing_reason

ELASTIC: tuple[str, ...] = ()
RIGID: tuple[str, ...] = ("in", "out")
RIGID_OUT: tuple[str, ...] = ("out",)


def from_rules(layer: Any, rules: tuple[AxisRule, ...], output: Shape, rigid: tuple[str, ...] = ELASTIC) -> Behaviour:
    """Behaviour of a layer with one unit axis, from its rules."""
    axis = channel_axis(layer, len(output))
    units = output[axis] if any(rule.role == "produce" for rule in rules) else None
    read = declared_mixing(layer)
    return Weighted(rules, axis, output, units=units, mixes=mixing_reason(layer), mixes_inputs=read, rigid=rigid)


def channel_axis(layer: Any, rank: int) -> int:
    """Axis, without batch, along which a layer's channels lie."""
    return 0 if internals.channels_first(layer) else rank - 1
