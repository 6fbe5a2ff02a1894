"""How neurons in an order are computed, each of which may read all before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_struct.freenets.acyclic import BlockSchedule


def substituted(given: Any, kernel: Any, schedule: BlockSchedule, activation: Callable[[Any], Any]) -> Any:
    """Return the outputs of neurons by forward substitution, a block at a time.

    Args:
        given: What neurons get from outside, `(batch, neurons)`.
        kernel: Weights of edges, `(neuron that is read, neuron that reads)`, zero where none is.
        schedule: Blocks and rounds; its order is that of the neurons.
        activation: Of each neuron.
    """
    # Splits instead of slices: the gradient of a slice is as large as what it was cut from.
    ops, cuts = keras.ops, np.cumsum(schedule.sizes)[:-1].tolist()
    columns = ops.split(kernel, cuts, axis=1) if cuts else [kernel]
    inputs = ops.split(given, cuts, axis=1) if cuts else [given]
    found, start = None, 0
    for size, rounds, column, rest in zip(schedule.sizes, schedule.rounds, columns, inputs, strict=True):
        ends = [end for end in (start, start + size) if 0 < end < schedule.neurons]
        parts = ops.split(column, ends, axis=0) if ends else [column]
        if found is not None:
            rest = rest + ops.matmul(found, parts[0])
        inner = parts[0] if found is None else parts[1]
        values = activation(rest)
        for _ in range(rounds - 1):
            values = activation(rest + ops.matmul(values, inner))
        found = values if found is None else ops.concatenate([found, values], axis=1)
        start += size
    return found


def substituted_by_levels(
    given: Any,
    kernel: Any,
    mask: Any,
    schedule: BlockSchedule,
    always: BlockSchedule,
    activation: Callable[[Any], Any],
) -> Any:
    """Return the outputs of neurons that are computed in another order than their own, if the edges that there are allow it.

    Args:
        given: As for `substituted`.
        kernel: As for `substituted`.
        mask: Which edges there are, `(neuron that reads, neuron that is read)`.
        schedule: Blocks, rounds and order.
        always: A schedule for any edges, for a mask that was assigned since the other one was made.
        activation: Of each neuron.
    """
    ops, order = keras.ops, np.array(schedule.order)
    ordered = ops.take(given, order, axis=1), ops.take(ops.take(kernel, order, axis=0), order, axis=1)
    wrong = ops.any(ops.logical_and(mask, ops.convert_to_tensor(schedule.forbidden)))
    places = ops.convert_to_tensor(np.eye(schedule.neurons, dtype="float32")[:, order])
    found = ops.cond(
        wrong,
        lambda: ops.matmul(substituted(given, kernel, always, activation), ops.cast(places, given.dtype)),
        lambda: substituted(*ordered, schedule, activation),
    )
    return ops.take(found, np.argsort(order), axis=1)
