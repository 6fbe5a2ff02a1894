"""What operations of `keras.ops`, such as `x + y` between symbolic tensors, do to units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.structure.behaviours import Behaviour, Elementwise, Merge, Opaque
from keras_struct.structure.labels import Shape

_MERGING = {"Add", "Subtract", "Multiply", "Maximum", "Minimum"}
_WITH_NUMBER = {*_MERGING, "TrueDivide", "Divide", "Power"}
_UNARY = set(
    "Absolute Abs Negative Square Exp Expm1 Sin Cos Tanh Arctan Sigmoid LogSigmoid Relu ReLU Relu6 LeakyRelu Elu Selu "
    "Celu Gelu Silu Softplus Softsign Squareplus HardSigmoid HardSilu HardTanh HardShrink SoftShrink TanhShrink "
    "Threshold SparsePlus SparseSigmoid Clip Cast StopGradient Identity".split()
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
    others = [value for value in arguments if not isinstance(value, keras.KerasTensor)]
    settings = [value for key, value in vars(operation).items() if not key.startswith("_")]
    if all(_is_single(value) for value in (*others, *settings)):
        if name in _UNARY and len(inputs) == 1:
            return Elementwise()
        if name in _MERGING and len(inputs) == 2 and len(inputs[0]) == len(inputs[1]):
            return Merge()
        if name in _WITH_NUMBER and len(inputs) == 1 and isinstance(arguments[0], keras.KerasTensor):
            return Elementwise()
        if name in _MERGING and len(inputs) == 1:
            return Elementwise()
    return Opaque(
        f"nobody taught how the operation '{operation.name}' ({name}) uses units; use a layer of keras.layers in its "
        "place if there is one, or put it into a layer of your own and teach that with keras_struct.register_unit_rules",
        tuple(outputs),
    )


def _is_single(value: Any) -> bool:
    """Whether a value is a number, a name or nothing, and so the same for every unit."""
    return value is None or isinstance(value, str) or np.size(value) == 1
