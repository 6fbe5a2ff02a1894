"""What operations and layers that multiply two tensors and sum over axes do to units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.contracting import Contract
from keras_struct.core.structure.labels import Shape

_BATCH = "batch"


def matmul(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    """`matmul(x, y)`: matrices in the last two axes, the others broadcast."""
    left, right = (len(tensor.shape) for tensor in arguments[:2])
    if min(left, right) < 2:
        return None
    before = [f"b{i}" for i in range(max(left, right) - 2, 0, -1)]
    names = (
        [*before[len(before) - left + 2 :], "rows", "summed"],
        [*before[len(before) - right + 2 :], "summed", "columns"],
    )
    return _contract(operation, arguments, names, [*before, "rows", "columns"], outputs[0])


def dot(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    """`dot(x, y)`: the last axis of x with the last but one of y, for every pair of the others."""
    left, right = (len(tensor.shape) for tensor in arguments[:2])
    if min(left, right) < 1:
        return None
    return _tensordot(operation, outputs, arguments, [left - 1], [max(right - 2, 0)])


def tensordot(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    """`tensordot(x, y, axes)`."""
    left, right = (len(tensor.shape) for tensor in arguments[:2])
    axes = operation.axes
    if isinstance(axes, int):
        return _tensordot(operation, outputs, arguments, list(range(left - axes, left)), list(range(axes)))
    first, second = ([part] if isinstance(part, int) else list(part) for part in axes)
    return _tensordot(operation, outputs, arguments, [a % left for a in first], [a % right for a in second])


def _tensordot(operation, outputs, arguments, first: list[int], second: list[int]) -> Behaviour | None:
    left, right = ([f"{side}{i}" for i in range(len(t.shape))] for side, t in zip("xy", arguments[:2], strict=True))
    result = [n for i, n in enumerate(left) if i not in first] + [n for i, n in enumerate(right) if i not in second]
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    return _contract(operation, arguments, (left, right), result, outputs[0])


def einsum(operation: Any, inputs: list[Shape], outputs: list[Shape], arguments: Sequence[Any]) -> Behaviour | None:
    """`einsum(equation, x, y)` of two tensors."""
    tensors = [value for value in arguments if hasattr(value, "shape")]
    left, arrow, result = operation.subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if not arrow or len(parts) != 2 or len(tensors) != 2:
        return None
    ranks = [len(t.shape) - len(p.replace("...", "")) for t, p in zip(tensors, parts, strict=True)]
    names = tuple(_spread(part, rank) for part, rank in zip(parts, ranks, strict=True))
    return _contract(operation, tensors, (names[0], names[1]), _spread(result, max(ranks)), outputs[0])


def _spread(axes: str, elided: int) -> list[str]:
    """A name for each axis; those behind an ellipsis are numbered from the last."""
    before, dots, after = axes.partition("...")
    return [*before, *([f"b{i}" for i in range(elided, 0, -1)] if dots else ()), *after]


def _contract(
    operation: Any, tensors: Sequence[Any], names: tuple[list[str], list[str]], result: list[str], output: Shape
) -> Behaviour | None:
    """`None` unless the batch stays the first axis of all that has one."""
    fixed = {i: tuple(t.shape) for i, t in enumerate(tensors[:2]) if not isinstance(t, keras.KerasTensor)}
    batches = {names[i][0] for i in (0, 1) if i not in fixed}
    if len(batches) != 1 or result[:1] != list(batches) or len(result) != len(output) + 1:
        return None
    if any(names[i].count(result[0]) != (i not in fixed) for i in (0, 1)):
        return None
    axes = tuple(tuple(found if i in fixed else found[1:]) for i, found in enumerate(names))
    reason = f"the operation '{operation.name}' ({type(operation).__name__}) sums products over its units"
    return Contract((axes[0], axes[1]), tuple(result[1:]), output, fixed, reason)


def dot_layer(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """The layer `Dot`: an axis of one tensor with an axis of another."""
    given = (layer.axes, layer.axes) if isinstance(layer.axes, int) else tuple(layer.axes)
    first, second = (axis % (len(shape) + 1) - 1 for axis, shape in zip(given, inputs, strict=True))
    left, right = ([f"{side}{i}" for i in range(len(shape))] for side, shape in zip("xy", inputs, strict=True))
    right[second] = left[first]
    result = [n for n in left if n != left[first]] + [n for n in right if n != left[first]]
    reason = f"layer '{layer.name}' (Dot) sums products over its units"
    return Contract((tuple(left), tuple(right)), tuple(result) or ("one",), outputs[0], {}, reason)
