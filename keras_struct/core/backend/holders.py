"""Who holds variables: every Keras optimizer and model, known from the moment it is built or makes its functions.

An edit must reach whoever trains or runs the same weights: the optimizer of a distiller or of a new head, an extractor that
shares layers, another model. Keras keeps no list of them, so the methods by which they take hold of variables note them in
weak sets. Those that did so before this module was imported are found once, among the objects of the process.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals

_Held = weakref.WeakKeyDictionary[Any, tuple[Any, frozenset[int]]]
_optimizers: _Held = weakref.WeakKeyDictionary()
_models: _Held = weakref.WeakKeyDictionary()
_networks: weakref.WeakSet[Any] = weakref.WeakSet()
_unnoted = 0
_slots: weakref.WeakKeyDictionary[Any, list[tuple[Any, Any, Any, str]]] = weakref.WeakKeyDictionary()
before_functions: list[Callable[[Any], None]] = []
"""Called with a model before it makes a function that trains or runs it."""


def optimizers_of(variables: frozenset[int] | set[int]) -> list[Any]:
    """Built optimizers that train some of the variables with these `id`s."""
    return [held for held in list(_optimizers) if held.built and not variables.isdisjoint(_trained(held))]


def models_of(variables: frozenset[int] | set[int]) -> list[Any]:
    """Models that were trained or run and hold some of the variables with these `id`s."""
    return [held for held in list(_models) if not variables.isdisjoint(_contained(held))]


def variables_changed() -> None:
    """Forget which variables models hold: layers came or went."""
    for model in list(_models):
        _models[model] = (None, frozenset())


def running_models() -> list[Any]:
    """Models that were trained or run."""
    return list(_models)


def slots_built_by(optimizer: Any) -> list[tuple[Any, Any, Any, str]]:
    """Variables that an optimizer was seen to build for weights: each with its weight, initializer and name."""
    found, held = _slots.get(optimizer, []), set(map(id, optimizer.variables))
    return found if all(id(slot) in held for slot, *_ in found) else []


def move_slots(source: Any, target: Any, stays: Mapping[int, Any]) -> Callable[[], None]:
    """Note the variables that one optimizer was seen to build for another, which takes them over.

    Args:
        source: The one that built them.
        target: The one that has them now.
        stays: For the `id` of a variable of the one the variable of the other that stays in its place.

    Returns:
        A function that takes it back.
    """
    before = _slots.get(target)
    _slots[target] = [(stays.get(id(slot), slot), *rest) for slot, *rest in _slots.get(source, [])]

    def take_back() -> None:
        if before is None:
            _slots.pop(target, None)
        else:
            _slots[target] = before

    return take_back


def networks_with(operations: Iterable[Any]) -> list[Any]:
    """Functional models that call some of these layers or operations."""
    ids = set(map(id, operations))
    return [network for network in list(_networks) if any(id(op) in ids for op in internals.operations_of(network))]


@contextmanager
def unnoted() -> Iterator[None]:
    """Build optimizers for a moment, without their being taken for holders."""
    global _unnoted
    _unnoted += 1
    try:
        yield
    finally:
        _unnoted -= 1


def _trained(optimizer: Any) -> frozenset[int]:
    """`id`s of what an optimizer was built for, remembered as long as that is the same list."""
    trained = internals.trained_by(optimizer)
    known, ids = _optimizers[optimizer]
    if known is not trained:
        ids = frozenset(map(id, trained))
        _optimizers[optimizer] = (trained, ids)
    return ids


def _contained(model: Any) -> frozenset[int]:
    """`id`s of a model's variables, remembered once it is built: a process may hold thousands of models that are not used."""
    known, ids = _models[model]
    if not known and model.built:
        ids = frozenset(map(id, model.variables))
        _models[model] = (True, ids)
    return ids


def _note(held: _Held, name: str, cls: type, told: Sequence[Callable[[Any], None]] = ()) -> None:
    original: Callable[..., Any] = getattr(cls, name)

    @wraps(original)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _unnoted:
            held[self] = (None, frozenset())
        for tell in told:
            tell(self)
        return original(self, *args, **kwargs)

    setattr(cls, name, noted)


def _note_networks() -> None:
    """Note every Functional model when it is made."""
    original = keras.Function.__init__

    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _networks.add(self)

    keras.Function.__init__ = __init__


def _scope_slots(cls: Any) -> None:
    """Have optimizers build slots outside of a traced function, where weights have their full shape, and note them."""
    original = cls.add_variable_from_reference

    @wraps(original)
    def add_variable_from_reference(
        self: Any, reference_variable: Any, name: str | None = None, initializer: Any = "zeros", **kwargs: Any
    ) -> Any:
        with current().slot_scope():
            slot = original(self, reference_variable, name=name, initializer=initializer, **kwargs)
            if not internals.needs_static_shapes(self):
                current().follow_reference(slot, reference_variable)
        _slots.setdefault(self, []).append((slot, reference_variable, initializer, name or ""))
        return slot

    cls.add_variable_from_reference = add_variable_from_reference


def _begin() -> None:
    """Find who holds variables already, and note who will."""
    for item in gc.get_objects():
        kind = type(item)
        if issubclass(kind, keras.optimizers.Optimizer):
            _optimizers[item] = (None, frozenset())
        elif issubclass(kind, keras.Model):
            _models[item] = (None, frozenset())
        if issubclass(kind, keras.Function) and internals.operations_of(item):
            _networks.add(item)
    _note(_optimizers, "build", keras.optimizers.Optimizer)
    _note_networks()
    _scope_slots(keras.optimizers.Optimizer)
    for name in ("make_train_function", "make_test_function", "make_predict_function"):
        _note(_models, name, keras.Model, before_functions)


_begin()
