"""Which unit rules of a layer are to blame when an edit changes what a model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, islice, product
from typing import Any, get_args

import keras

from keras_struct.core.structure.rules import AxisRule, Role
from keras_struct.core.surgery.registry import own_rules, temporary_rules
from keras_struct.models import StructuralModel
from keras_struct.testing.preservation import outputs, relative_change

TOLERANCE = 1e-5
TRIALS = 64
"""How many sets of roles are tried."""


def wrong_roles(layer: Any, build: Callable[[], keras.Model], x: Any, y: Any) -> str | None:
    """Return which other roles would keep the function, in words; `None` if the roles are not to blame, or none is found.

    Args:
        layer: The layer whose rules are in doubt.
        build: Returns a model with a copy of the layer in it.
        x: Inputs of one batch.
        y: Targets.
    """
    kind = type(layer)
    rules = tuple(own_rules(next(held for held in build().layers if type(held) is kind)))
    axes = len(StructuralModel.from_model(build()).structure.axes)
    if _keeps(build, x, y, axes):
        return None
    for changed in islice(_alternatives(rules), TRIALS):
        with temporary_rules(kind, changed):
            if _keeps(build, x, y, axes):
                pairs = [(old, new) for old, new in zip(rules, changed, strict=True) if old != new]
                told = " and ".join(f"{new} in place of {old}" for old, new in pairs)
                return f"The function is kept with {told}: check the roles of the unit rules"
    return None


def _alternatives(rules: tuple[AxisRule, ...]) -> Iterator[tuple[AxisRule, ...]]:
    """The rules with the role of one of them changed, then of two."""
    for count in (1, 2):
        for places in combinations(range(len(rules)), count):
            others = [[role for role in get_args(Role) if role != rules[place].role] for place in places]
            for roles in product(*others):
                changed = list(rules)
                for place, role in zip(places, roles, strict=True):
                    changed[place] = replace(rules[place], role=role)
                yield tuple(changed)


def _keeps(build: Callable[[], keras.Model], x: Any, y: Any, axes: int) -> bool:
    """Whether units come and split without an effect on the outputs, along each of at least so many axes of a model."""
    try:
        model = StructuralModel.from_model(build())
        model.compile("sgd", "mse", run_eagerly=True)
        model.train_on_batch(x, y)
        if len(model.structure.axes) < axes:
            return False
        for axis in model.structure.axes:
            before = outputs(model, x)
            model.grow(axis, 1)
            model.split(axis, [0])
            if relative_change(before, outputs(model, x)) > TOLERANCE:
                return False
    except ValueError:
        return False
    return True
