"""What operations of `keras.ops`, such as `x + y` between symbolic tensors, do to units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.core.structure.behaviours import Alike, Behaviour, Concatenate, Elementwise, Merge, Opaque, Permute
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.reshaping import NewAxes, Reduce, Reshape, Slice, Split, Stack
from keras_struct.core.surgery.products import dot, einsum, matmul, tensordot

_COMPARING = {"Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual"}
_MERGING = {"Add", "Subtract", "Multiply", "Maximum", "Minimum", "LogicalAnd", "LogicalOr", "LogicalXor", *_COMPARING}
_WITH_NUMBER = {*_MERGING, "TrueDivide", "Divide", "Power"}
_ALIKE = {"ZerosLike", "OnesLike", "FullLike"}
_UNARY = set(
    "Absolute Abs Negative Square Exp Expm1 Sin Cos Tanh Arctan Sigmoid LogSigmoid Relu ReLU Relu6 LeakyRelu Elu Selu "
    "Celu Gelu Silu Softplus Softsign Squareplus HardSigmoid HardSilu HardTanh HardShrink SoftShrink TanhShrink "
    "Threshold SparsePlus SparseSigmoid Clip Cast StopGradient Identity Cosh Sinh Arcsinh Erf Floor Ceil Round Sign "
    "LogicalNot Isnan Isfinite".split()
)


def operation_behaviour(
    operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]
) -> Behaviour:
    """Behaviour of an operation that is not a layer; `Opaque` unless it treats each entry by itself.

    Args:
        operation: The operation.
        inputs: Shapes, without batch, of the symbolic tensors that go in.
        outputs: Shapes of those that come out.
        arguments: Everything that is passed, symbolic tensors and others.
    """
    name = type(operation).__name__
    if (product := _PRODUCTS.get(name)) is not None:
        found = product(operation, inputs, outputs, arguments)
        return _opaque(operation, outputs) if found is None else found
    if (shaped := _SHAPED.get(name)) is not None and len(inputs[0]) + 1 == len(arguments[0].shape):
        found = shaped(operation, inputs, outputs, arguments)
        return _opaque(operation, outputs) if found is None else found
    others = [value for value in arguments if not isinstance(value, keras.KerasTensor)]
    settings = [value for key, value in vars(operation).items() if not key.startswith("_")]
    if all(_is_single(value) for value in (*others, *settings)):
        if name in _UNARY and len(inputs) == 1:
            return Elementwise()
        if name in _ALIKE and len(inputs) == 1:
            return Alike()
        if name in _MERGING and len(inputs) == 2 and len(inputs[0]) == len(inputs[1]):
            return Merge()
        if name in _WITH_NUMBER and len(inputs) == 1 and isinstance(arguments[0], keras.KerasTensor):
            return Elementwise()
        if name in _MERGING and len(inputs) == 1:
            return Elementwise()
    return _opaque(operation, outputs)


def _opaque(operation: Any, outputs: list[Shape]) -> Behaviour:
    return Opaque(
        f"no unit rule is registered for the operation '{operation.name}' ({type(operation).__name__}); use a layer of "
        "keras.layers in its place if there is one, or put it into a layer of your own and register that with "
        "keras_struct.register_unit_rules",
        tuple(outputs),
    )


def _axis(axis: int, shape: Shape) -> int:
    """An axis without batch; -1 for that of the batch itself."""
    return axis % (len(shape) + 1) - 1


def _reshape(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    given = tuple(operation.newshape)
    if len(given) != len(outputs[0]) + 1 or given[0] not in (-1, None):
        return None
    open_axes = [axis - 1 for axis, extent in enumerate(given) if axis and extent == -1]
    return Reshape(inputs[0], outputs[0], open_axes[0] if open_axes else None, rigid=True)


def _split(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axis = _axis(operation.axis, inputs[0])
    return Split(axis, operation.indices_or_sections) if _is_number(operation.indices_or_sections, axis) else None


def _is_number(sections: Any, axis: int) -> bool:
    return isinstance(sections, int) and axis >= 0


def _transpose(order: Sequence[int], shape: Shape) -> Behaviour | None:
    rank = len(shape) + 1
    places = [axis % rank for axis in order]
    return Permute(tuple(axis - 1 for axis in places[1:])) if places[0] == 0 else None


def _moved(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    numbered = np.empty(tuple(range(len(inputs[0]) + 1)))  # an axis of extent i is axis i
    return _transpose(np.moveaxis(numbered, operation.source, operation.destination).shape, inputs[0])


def _swapped(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    order = list(range(len(inputs[0]) + 1))
    first, second = operation.axis1, operation.axis2
    order[first], order[second] = order[second], order[first]
    return _transpose(order, inputs[0])


def _reduce(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axes = range(len(inputs[0]) + 1) if operation.axis is None else operation.axis
    places = [_axis(axis, inputs[0]) for axis in ([axes] if isinstance(axes, int) else axes)]
    repeats = type(operation).__name__ in _REPEATING
    return None if -1 in places else Reduce(tuple(places), bool(operation.keepdims), repeats)


def _stack(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axis = _axis(operation.axis, outputs[0])
    return Stack(axis) if axis >= 0 else None


def _concatenate(
    operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]
) -> Behaviour | None:
    axis = _axis(operation.axis, outputs[0])
    return Concatenate(axis) if axis >= 0 else None


def _new_axes(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axes = operation.axis
    if axes is None:
        return None
    places = [_axis(axis, outputs[0]) for axis in ([axes] if isinstance(axes, int) else axes)]
    if -1 in places:
        return None
    rest = iter(range(len(inputs[0])))
    return NewAxes(tuple(None if i in places else next(rest) for i in range(len(outputs[0]))))


def _squeezed(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axes = operation.axis
    if axes is None:
        return None
    places = [_axis(axis, inputs[0]) for axis in ([axes] if isinstance(axes, int) else axes)]
    return None if -1 in places else NewAxes(tuple(i for i in range(len(inputs[0])) if i not in places))


def _item(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    keys = list(arguments[1:])
    if (place := next((i for i, key in enumerate(keys) if key is Ellipsis), None)) is not None:
        keys[place : place + 1] = [slice(None)] * (len(inputs[0]) + 2 - len(keys) + keys.count(None))
    keys += [slice(None)] * (len(inputs[0]) + 1 - len(keys) + keys.count(None))
    taken = [_taken(key) for key in keys]
    return None if taken[0] != "all" or None in taken else Slice(tuple(word for word in taken[1:] if word), outputs[0])


def _taken(key: Any) -> str | None:
    """What one part of an index takes of its axis; `None` for an array of numbers."""
    if key is None:
        return "new"
    if isinstance(key, slice):
        return "all" if (key.start in (None, 0), key.stop, key.step in (None, 1)) == (True, None, True) else "some"
    return "one" if isinstance(key, int | np.integer) else None


def _softmax(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
    reason = f"the operation '{operation.name}' ({type(operation).__name__}) mixes its units"
    return Elementwise((reason, tuple(_axis(axis, inputs[0]) for axis in axes)))


_REPEATING = ("Max", "Min", "Amax", "Amin", "Any", "All")
_PRODUCTS = {"Matmul": matmul, "Dot": dot, "Einsum": einsum, "Tensordot": tensordot}
_SHAPED: dict[str, Callable[[Any, list[Shape], list[Shape], Sequence[Any]], Behaviour | None]] = {
    "Reshape": _reshape,
    "Split": _split,
    "Transpose": lambda operation, i, o, a: _transpose(
        range(len(i[0]), -1, -1) if operation.axes is None else operation.axes, i[0]
    ),
    "Moveaxis": _moved,
    "Swapaxes": _swapped,
    **dict.fromkeys(("Mean", "Sum", *_REPEATING), _reduce),
    "Stack": _stack,
    "Concatenate": _concatenate,
    "ExpandDims": _new_axes,
    "Squeeze": _squeezed,
    "GetItem": _item,
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
}
"""What an operation on shapes does to units; `None` when it touches the axis of the batch, or is not understood."""


def _is_single(value: Any) -> bool:
    """Whether a value is a number, a name or nothing, and so the same for every unit."""
    return value is None or isinstance(value, str) or np.size(value) == 1
