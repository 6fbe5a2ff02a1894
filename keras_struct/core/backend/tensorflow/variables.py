"""Elastic variables: their shape is unknown along unit axes, so that compiled steps survive edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager.context import context
from tensorflow.python.eager.execute import execute
from tensorflow.python.ops.gen_resource_variable_ops import assign_variable_op

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.tensorflow import functions


class ElasticVariable(keras.Variable):
    """Keras variable of a structural model: compiled functions that read it are known, and it may be of unknown extent.

    Layers that are traced see the static shape, unknown along unit axes. Otherwise operations that compare shapes would see
    a number here and none in the activations: convolutions, for one, would take the two for different and fall back to a
    path that is three times slower. Whoever else asks for the shape, such as an optimizer, sees the present one.
    """

    @property
    def value(self) -> Any:
        """As of any Keras variable."""
        if not tf.executing_eagerly():
            functions.note_value(self)
        return super().value

    @property
    def shape(self) -> tf.TensorShape:
        """The present shape; to layers that are being traced the static one."""
        if tf.executing_eagerly():
            return super().shape
        if internals.in_layer_call() or functions.takes_any_width():
            return self._value.shape
        functions.note_shape(self)
        return super().shape


def watch(variables: Iterable[Any]) -> None:
    """Know from now on which compiled functions read some variables."""
    for variable in variables:
        if type(variable) is keras.Variable:
            variable.__class__ = ElasticVariable


def retire(replaced: Sequence[tuple[Any, Any]], reshaped: Iterable[Any], changed: Iterable[Any] = ()) -> None:
    """Let compiled functions, whoever holds them, follow an edit, or fail where they cannot.

    Args:
        replaced: Variables with the objects that were behind them.
        reshaped: Variables of another shape.
        changed: Variables of layers that compute something else now.
    """
    stale = {id(variable) for variable, _ in replaced} | set(map(id, changed))
    functions.trace_again(stale, set(map(id, reshaped)))
    for _, holder in replaced:
        functions.retire(holder)


def follow_reference(slot: Any, reference: Any) -> None:
    """Give a new variable of an optimizer the same open axes as its weight has."""
    if isinstance(reference, ElasticVariable) and tf.executing_eagerly():
        static = reference._value.shape
        if static.rank == len(slot.shape):
            set_elastic(slot, [axis for axis, extent in enumerate(static) if extent is None])


def read(variable: Any) -> np.ndarray:
    """Copy the value of a Keras variable."""
    holder = variable._value
    return tf.raw_ops.ReadVariableOp(resource=holder.handle, dtype=holder.dtype).numpy()


def read_all(variables: Sequence[Any]) -> list[np.ndarray]:
    """Read the values of Keras variables, where they are on one device in one operation: it is starting one that costs time.

    The arrays are views that must not be written to; they stay as they are when the variables change.
    """
    if not variables:
        return []
    holders = [variable._value for variable in variables]
    attributes = ("N", len(holders), "dtypes", [holder.dtype.as_datatype_enum for holder in holders])
    try:
        handles = [holder.handle for holder in holders]
        values = execute(b"_ReadVariablesOp", len(holders), handles, attributes, context())
    except tf.errors.OpError:  # on several devices, or in a TensorFlow that has it no more
        return [read(variable) for variable in variables]
    return [np.asarray(value) for value in values]


def write(variable: Any, value: np.ndarray) -> bool:
    """Give a Keras variable a value of any shape.

    Returns:
        Whether a compiled step that uses the variable must be traced again.
    """
    holder = variable._value
    fits = _fits(holder.shape, value.shape)
    if fits:
        array = np.asarray(value, dtype=holder.dtype.as_numpy_dtype, order="C")
        assign_variable_op(holder.handle, array)
    else:
        variable._value = _holder(variable, tf.convert_to_tensor(value, dtype=holder.dtype), value.shape)
    internals.set_shape(variable, value.shape)
    return not fits


def _fits(static: tf.TensorShape, shape: tuple[int, ...]) -> bool:
    """Whether a static shape, unknown along unit axes, allows for a shape."""
    if static.rank != len(shape):
        return False
    known = [extent if wanted is None else wanted for wanted, extent in zip(static.as_list(), shape, strict=True)]
    return tuple(known) == shape


def set_elastic(variable: Any, axes: Iterable[int]) -> bool:
    """Make the shape of a variable unknown along `axes` and known elsewhere; its value stays bit-identical.

    Returns:
        Whether the object behind the variable was replaced.
    """
    holder, loose = variable._value, set(axes)
    shape = [None if axis in loose else extent for axis, extent in enumerate(variable.shape)]
    if holder.shape.as_list() == shape:
        return False
    watch([variable])
    variable._value = _holder(variable, holder.read_value(), shape)
    return True


def _holder(variable: Any, value: Any, shape: Any) -> tf.Variable:
    old = variable._value
    return tf.Variable(
        value,
        shape=tf.TensorShape(shape),
        dtype=old.dtype,
        trainable=variable.trainable,
        name=variable.name,
        aggregation=old.aggregation,
        synchronization=old.synchronization,
    )
