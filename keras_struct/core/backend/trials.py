"""Layers as an edit would leave them, for as long as they are tried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals

Facts = Sequence[tuple[Any, str, Any]]


@contextmanager
def as_planned(layer: Any, writes: Sequence[tuple[Any, np.ndarray, np.ndarray]], facts: Facts) -> Iterator[None]:
    """Let a layer have the variables and attributes that an edit would give it. Nothing is written, and all is put back.

    Args:
        layer: The layer.
        writes: Variables, its own among them, with their values before and after the edit.
        facts: Layers, it and those inside it among them, and an attribute with its value after the edit.
    """
    parts = [layer, *internals.inner_layers(layer)]
    own = set(map(id, internals.own_variables(layer).values()))
    values = [(variable, value) for variable, _, value in writes if id(variable) in own]
    shapes = [(variable, internals.shape_of(variable)) for variable, _ in values]
    facts = [fact for fact in facts if any(fact[0] is part for part in parts)]
    before = [(part, attribute, getattr(part, attribute)) for part, attribute, _ in facts]
    specs = [(part, part.input_spec) for part in parts]
    try:
        _change([(variable, value.shape) for variable, value in values], facts)
        for part in parts:
            internals.loosen_spec(part)
        with _scope(values):
            yield
    finally:
        _change(shapes, before)
        for part, spec in specs:
            part.input_spec = spec


def _change(shapes: Sequence[tuple[Any, Any]], facts: Facts) -> None:
    for variable, shape in shapes:
        internals.set_shape(variable, shape)
    for part, attribute, value in facts:
        internals.set_fact(part, attribute, value)


def _scope(values: Sequence[tuple[Any, np.ndarray]]) -> Any:
    """A scope in which variables have these values, whatever their shapes."""
    scope = keras.StatelessScope(initialize_variables=False)
    for variable, value in values:
        scope.state_mapping[id(variable)] = keras.ops.convert_to_tensor(value, dtype=variable.dtype)
    return scope


@contextmanager
def built_with(shapes: Sequence[tuple[Any, Mapping[str, Any]]]) -> Iterator[None]:
    """Let layers have been built with other shapes, as far as Keras will know when it saves or copies them."""
    before = [(layer, internals.build_shapes(layer)) for layer, _ in shapes]
    try:
        for layer, recorded in shapes:
            internals.set_build_shapes(layer, dict(recorded))
        yield
    finally:
        for layer, old in before:
            internals.set_build_shapes(layer, old or {})
