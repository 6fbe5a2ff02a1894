"""Gradients with respect to tensors and variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def gradients(function: Callable, *args: Any) -> tuple[dict[Any, Any], Any]:
    """Differentiate a loss with respect to tensors that are met on the way to it.

    Args:
        function: Takes `watch(key, tensor)`, which returns the tensor to go on with, and the arguments; returns the loss
            and anything else.
        *args: The arguments.

    Returns:
        The gradient of the loss with respect to each watched tensor, by key, and the anything else.
    """
    watched: dict[Any, Any] = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(key: Any, tensor: Any) -> Any:
            tape.watch(tensor)
            watched[key] = tensor
            return tensor

        loss, other = function(watch, *args)
    found = tape.gradient(loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {key: _whole(part) for key, part in found.items()}, other


def vjp(function: Callable, primals: list[Any], cotangent: Any) -> list[Any]:
    """Product of `cotangent` with the Jacobian of a function of some tensors."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        result = function(*primals)
    found = tape.gradient(
        result, primals, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [_whole(part) for part in found]


def weight_gradients(model: Any, loss: Callable, batch: tuple[Any, Any, Any]) -> list[np.ndarray]:
    """Gradients of a loss on inputs, targets and sample weights by each trainable weight, in inference mode."""
    x, y, weights = batch
    held = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        value = loss(x, y, model(x, training=False), weights)
    found = tape.gradient(value, held, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.cast(tf.convert_to_tensor(part), tf.float64).numpy() for part in found]


def differentiate(function: Callable, variables: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Differentiate a loss by Keras variables.

    Args:
        function: Returns the loss and something else.
        variables: The variables.

    Returns:
        The something else, the loss, and its gradients by the variables alone.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        loss, other = function()
    held = [variable.value for variable in variables]
    return other, loss, tape.gradient(loss, held, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _whole(gradient: Any) -> Any:
    """A gradient with all its rows: that of a look-up holds only those that were looked up."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
