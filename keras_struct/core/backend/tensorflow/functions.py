"""Which compiled functions of TensorFlow read which variables, so that an edit has just these traced again.

A `tf.function` keeps the variables that it met while it was traced. When an edit replaces the object behind a variable, or
what a layer does with it, whoever compiled the function would go on with the old one without a word: loops of a user's own,
`predict` of another model that shares layers, a distiller. Variables of structural models therefore note, whenever they are
read during tracing, the functions that are being traced.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

_Function = type(tf.function(lambda: None))
_ENTRIES = {"_call", "_get_concrete_function_garbage_collected"}
_read: weakref.WeakKeyDictionary[Any, set[int]] = weakref.WeakKeyDictionary()
_shaped: weakref.WeakKeyDictionary[Any, set[int]] = weakref.WeakKeyDictionary()
_of_graph: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()

_STALE = (
    "The structure of the network has changed since this concrete function was traced: it holds weights that are not part "
    "of the network any more. Call the tf.function itself, which is traced again by itself, or its get_concrete_function "
    "once more."
)


_any_width = False


@contextmanager
def any_width() -> Iterator[None]:
    """Trace a function of our own, which does not mind that it does not know the widths."""
    global _any_width
    before, _any_width = _any_width, True
    try:
        yield
    finally:
        _any_width = before


def takes_any_width() -> bool:
    """Whether what is being traced does not mind that it does not know the widths."""
    return _any_width


def note_value(variable: Any) -> None:
    """Remember that the functions that are being traced read a variable."""
    for function in _tracing():
        _read.setdefault(function, set()).add(id(variable))


def note_shape(variable: Any) -> None:
    """Remember that the functions that are being traced depend on the shape that a variable has now."""
    for function in _tracing():
        _shaped.setdefault(function, set()).add(id(variable))


def _tracing() -> Iterable[Any]:
    """The `tf.function`s that are being traced, innermost first."""
    graph = tf.compat.v1.get_default_graph()
    if graph not in _of_graph:
        _of_graph[graph] = [weakref.ref(function) for function in _functions_on_stack()]
    return [function for held in _of_graph[graph] if (function := held()) is not None]


def _functions_on_stack() -> Iterable[Any]:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _ENTRIES and isinstance(found := frame.f_locals.get("self"), _Function):
            yield found
        frame = frame.f_back


def trace_again(changed: Collection[int], reshaped: Collection[int]) -> None:
    """Have functions traced again when they are next called.

    Args:
        changed: `id`s of variables of which functions hold what is not valid any more.
        reshaped: `id`s of variables that only have another shape now, which matters to functions that requested it.
    """
    for notes, ids in ((_read, changed), (_shaped, reshaped)):
        for function, variables in list(notes.items()) if ids else ():
            if not variables.isdisjoint(ids):
                _forget_traces(function)


def _forget_traces(function: Any) -> None:
    for options in (function._variable_creation_config, function._no_variable_creation_config):
        if options is not None:
            for concrete in options.function_cache.values():
                concrete._call_flat = _refuse
            options.function_cache.clear()
    _read.pop(function, None)
    _shaped.pop(function, None)


def is_stale(concrete: Any) -> bool:
    """Whether a concrete function holds what is not valid any more."""
    return vars(concrete).get("_call_flat") is _refuse


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise ValueError(_STALE)


def retire(holder: tf.Variable) -> None:
    """Empty a `tf.Variable` that an edit replaced, so that who still reads it fails instead of going on with old values."""
    empty = np.zeros((0,) * holder.shape.rank, holder.dtype.as_numpy_dtype)
    tf.raw_ops.AssignVariableOp(resource=holder.handle, value=empty)
