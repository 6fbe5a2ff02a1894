"""Which variables an optimizer keeps for which weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.holders import move_slots, slots_built_by, unnoted

_COPIES_EVERYWHERE = {"average"}
_COPIES = {"ScheduleFreeAdamW": {"momentum"}}
_POWERS = dict.fromkeys(("velocity", "velocity_hat", "accumulator", "accumulated_grad"), 2) | {
    "accumulated_delta_var": 0
}


@dataclass(frozen=True)
class Slot:
    """One variable of the optimizer that belongs to one weight and has its shape.

    Attributes:
        variable: The optimizer's variable.
        reference: The weight.
        initial: Value of a fresh entry.
        copies: Whether the slot holds a copy of the weight (moving averages), so that new entries start from the weight.
        power: With which power of a gradient the slot goes: 1 for first moments, 2 for second ones, 0 for what does not.
    """

    variable: Any
    reference: Any
    initial: float
    copies: bool
    power: int = 1


def slots_of(optimizer: Any) -> list[Slot]:
    """Find the slots of a built optimizer.

    Args:
        optimizer: A built Keras optimizer.

    Returns:
        Its slots.

    Raises:
        ValueError: If the optimizer keeps variables whose shape does not follow the weights' (Adafactor).
    """
    holder = internals.optimizer_chain(optimizer)[-1]
    _refuse_unknown(holder)
    slots = [_slot(holder, *rest) for rest in slots_built_by(holder) or _as_of_a_twin(holder)]
    known = {id(slot.variable) for slot in slots}
    if stray := [v.path for v in holder.variables if id(v) not in known and len(v.shape) > 0]:
        raise ValueError(_unknown(holder, f"it keeps {stray[0]} and others that do not have the shape of a weight"))
    return slots


def _as_of_a_twin(holder: Any) -> list[tuple[Any, Any, Any, str]]:
    """Slots of an optimizer that was built unseen: those in the same places as those of one of its kind, built now."""
    twin = internals.optimizer_of_the_same_kind(holder)
    with unnoted():
        twin.build(list(holder._trainable_variables))
    places = {id(variable): i for i, variable in enumerate(twin.variables)}
    if len(twin.variables) != len(holder.variables):
        raise ValueError(_unknown(holder, "its variables differ from those of a freshly built optimizer of its kind"))
    return [(holder.variables[places[id(slot)]], *rest) for slot, *rest in slots_built_by(twin)]


def _refuse_unknown(optimizer: Any) -> None:
    if not internals.has_shaped_state(optimizer):
        raise ValueError(_unknown(optimizer, "its slots do not have the shape of the weights"))


def _unknown(optimizer: Any, why: str) -> str:
    return (
        f"StructuralModel cannot carry the state of the optimizer {type(optimizer).__name__} over a change of structure: "
        f"{why}. Compile with another one, for example Adam, AdamW, SGD with momentum, RMSprop, Lion or Muon."
    )


def _slot(optimizer: Any, variable: Any, reference: Any, initializer: Any, name: str) -> Slot:
    copies = name in _COPIES_EVERYWHERE | _COPIES.get(type(optimizer).__name__, set())
    start = keras.ops.convert_to_numpy(keras.initializers.get(initializer)(shape=(1,), dtype="float32"))
    return Slot(variable, reference, float(start[0]), copies, 0 if copies else _POWERS.get(name, 1))


def copy_state(source: Any, target: Any, weights: Sequence[tuple[Any, Any]]) -> None:
    """Copy the state of an optimizer to one of the same kind that was built for a copy of the model.

    The two may have been built for different weights, for example when layers were frozen in between.

    Args:
        source: A built optimizer.
        target: A built optimizer of the same kind.
        weights: Weights of the one model, each with its counterpart in the other.
    """
    counterparts = {id(old): id(new) for old, new in weights}
    held, followers = slots_of(source), slots_of(target)
    places = defaultdict(list)
    for slot in followers:
        places[id(slot.reference)].append(slot.variable)
    for slot in held:
        if waiting := places.get(counterparts.get(id(slot.reference), -1)):
            _copy(slot.variable, waiting.pop(0))
    for old, new in zip(_numbers(source, held), _numbers(target, followers), strict=True):
        _copy(old, new)


def without_frozen(optimizer: Any, weights: Sequence[Any]) -> Any:
    """Return an optimizer of some of the weights that another was built for, with its state of these.

    Args:
        optimizer: An optimizer.
        weights: The weights that are trained still.

    Returns:
        The optimizer itself if it is not built yet, or was built for as many weights.
    """
    if not optimizer.built or len(internals.optimizer_chain(optimizer)[-1]._trainable_variables) == len(weights):
        return optimizer
    new = internals.optimizer_of_the_same_kind(optimizer)
    new.build(weights)
    copy_state(optimizer, new, [(weight, weight) for weight in weights])
    internals.copy_exclusions(optimizer, new)
    return new


def refit(optimizer: Any, weights: Sequence[Any], copied: Mapping[int, Any]) -> Callable[[], None]:
    """Let a built optimizer train other weights from now on. It keeps the variables of those that it has trained before.

    Args:
        optimizer: A built optimizer.
        weights: What it is to train.
        copied: For the `id` of a new weight one that was trained before, whose state it is to start with.

    Returns:
        A function that takes it back.

    Raises:
        ValueError: If the state of the optimizer cannot follow a change of structure.
    """
    before = _by_weight(slots_of(optimizer))
    twin = internals.optimizer_of_the_same_kind(optimizer)
    with unnoted():
        twin.build(list(weights))
    after, stays = _by_weight(slots_of(twin)), {}
    for key, slots in after.items():
        for place, slot in enumerate(slots):
            if key in before:
                stays[id(slot.variable)] = before[key][place].variable
            elif (source := copied.get(key)) is not None and id(source) in before:
                _copy(before[id(source)][place].variable, slot.variable)
            elif slot.copies:
                _copy(slot.reference, slot.variable)
    numbers = zip(_numbers(twin, _flat(after)), _numbers(optimizer, _flat(before)), strict=True)
    stays |= {id(fresh): held for fresh, held in numbers}
    take_back = [
        internals.adopt_variables(optimizer, twin, stays),
        internals.exclude_copies(optimizer, copied, weights),
    ]
    take_back += [move_slots(new, own, stays) for new, own in _members(twin, optimizer)]

    def undo() -> None:
        for each in reversed(take_back):
            each()

    return undo


def _members(twin: Any, optimizer: Any) -> Iterator[tuple[Any, Any]]:
    return zip(internals.optimizer_chain(twin), internals.optimizer_chain(optimizer), strict=True)


def _flat(slots: Mapping[int, Sequence[Slot]]) -> list[Slot]:
    return [slot for held in slots.values() for slot in held]


def _by_weight(slots: Sequence[Slot]) -> dict[int, list[Slot]]:
    found = defaultdict(list)
    for slot in slots:
        found[id(slot.reference)].append(slot)
    return dict(found)


def _numbers(optimizer: Any, slots: Sequence[Slot]) -> list[Any]:
    """Variables of an optimizer that belong to no weight: the number of steps, the learning rate, a loss scale."""
    known = {id(slot.variable) for slot in slots}
    return [variable for variable in optimizer.variables if id(variable) not in known]


def _copy(source: Any, target: Any) -> None:
    """Copy a value through NumPy: on JAX, two variables must not hold the same array, which a step may give away."""
    target.assign(np.array(keras.ops.convert_to_numpy(source.value)))


def rebuild(optimizer: Any, weights: Sequence[Any]) -> None:
    """Build an optimizer that is not built yet.

    Raises:
        ValueError: If its state cannot follow a change of structure.
    """
    _refuse_unknown(internals.optimizer_chain(optimizer)[-1])
    if not optimizer.built:
        optimizer.build(list(weights))
