"""The gradient of architecture weights after a virtual step of the others."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import keras_internals


def unrolled_gradients(model: Any, first: Any, second: Any) -> list[Any]:
    """Return the second-order gradient by the architecture weights.

    The loss on batch B is taken after a step of the other weights on batch A; how that step depends on the architecture is
    estimated by finite differences.

    Args:
        model: An `AlternatingModel`, whose other weights are trained by gradient descent; they are as before afterwards.
        first: Inputs and targets of batch A.
        second: Inputs and targets of batch B.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, equations 7 and 8.
    """
    ops, others, architecture = keras.ops, model.others, model.architecture
    held = [ops.convert_to_tensor(variable) + 0 for variable in others]
    rate = ops.cast(model.optimizer.learning_rate, "float32")
    _, _, slopes = model.differentiate(first, others)
    _assign(others, [w - v for w, v in zip(held, _steps(model, held, slopes, rate), strict=True)])
    _, _, both = model.differentiate(second, [*architecture, *others])
    direct, directions = both[: len(architecture)], both[len(architecture) :]
    norm = ops.sqrt(sum(ops.sum(ops.square(d)) for d in directions))
    size = 0.01 / ops.maximum(norm, 1e-12)
    sides = []
    for sign in (1.0, -1.0):
        _assign(others, [w + sign * size * d for w, d in zip(held, directions, strict=True)])
        sides.append(model.differentiate(first, architecture)[2])
    _assign(others, held)
    return [d - rate * (up - down) / (2 * size) for d, up, down in zip(direct, *sides, strict=True)]


def _steps(model: Any, held: list[Any], slopes: list[Any], rate: Any) -> list[Any]:
    """What gradient descent with the optimizer's momentum and the weight decay would subtract."""
    optimizer = model.optimizer
    moments = keras_internals.velocities_of(optimizer)
    found = []
    for i, (weight, slope) in enumerate(zip(held, slopes, strict=True)):
        step = rate * (slope + model.weight_decay * weight)
        found.append(step if moments is None else step - optimizer.momentum * moments[i].value)
    return found


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
