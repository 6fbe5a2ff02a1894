"""Edits on JAX: values are plain arrays, and `jax.jit` compiles again for a new shape by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend import train_functions
from keras_struct.core.backend.defaults import (  # noqa: F401
    add_bias,
    batch_normalization,
    convolved,
    entries,
    follow_reference,
    gathered,
    outside,
    prepare_optimizer,
    refuse_distribution,
    samples_between,
    set_elastic,
    slot_scope,
    watch,
)

ELASTIC = False
JIT: bool | str = "auto"  # without it every operation of a step would be dispatched by itself
DOUBLE = False
READS_VARIABLES = False  # a variable that is not part of the state is a constant to `jax.jit`
RUN_ERRORS: tuple[type[Exception], ...] = ()


def read(variable: Any) -> np.ndarray:
    """Copy the value of a Keras variable."""
    return np.array(variable._value)


def read_all(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copy the values of Keras variables."""
    return [read(variable) for variable in variables]


def write(variable: Any, value: np.ndarray) -> bool:
    """Give a Keras variable a value of any shape. Returns False: a new shape is compiled without being asked."""
    variable._value = jnp.array(value, dtype=variable._value.dtype)
    internals.set_shape(variable, value.shape)
    return False


def retire(replaced: Sequence[tuple[Any, Any]], reshaped: Iterable[Any], changed: Iterable[Any] = ()) -> None:
    """Nothing to do: compiled functions are given the values of variables."""


def before_edit(model: Any) -> None:
    """Bring the values that a running `fit` holds back into the variables."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def after_edit(model: Any, layers: Iterable[Any]) -> None:
    """Nothing to do: a running `fit` reads the variables again after a sync."""


def tapped_train_function(model: Any, remember: Callable[[Any], None], whole: bool) -> Callable:
    """Return Keras's train function; batches are seen on their way in."""
    return train_functions.with_batches(model, lambda iterator: train_functions.observed(remember, iterator))


def skipping(model: Any, run: Callable, leaves_out: Callable[[], bool]) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch."""

    def skip(state, iterator):
        train_functions.pass_over(model, iterator)
        return {}, state

    return train_functions.skipping(run, leaves_out, skip)


def compiled(function: Callable) -> Callable:
    """Leave a function of tensors as it is: Keras variables cannot be captured by `jax.jit`."""
    return function


def gradients(function: Callable, *args: Any) -> tuple[dict[Any, Any], Any]:
    """Differentiate a loss with respect to tensors that are met on the way to it.

    Args:
        function: Takes `watch(key, tensor)`, which returns the tensor to go on with, and the arguments; returns the loss
            and anything else.
        *args: The arguments.

    Returns:
        The gradient of the loss with respect to each watched tensor, by key, and the anything else.
    """
    shapes: dict[Any, Any] = {}

    def measure(*args: Any) -> None:
        def note(key: Any, tensor: Any) -> Any:
            shapes[key] = (tensor.shape, tensor.dtype)
            return tensor

        function(note, *args)

    jax.eval_shape(measure, *args)
    taps = {key: jnp.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()}
    return jax.grad(lambda taps: function(lambda key, tensor: tensor + taps[key], *args), has_aux=True)(taps)


def vjp(function: Callable, primals: list[Any], cotangent: Any) -> list[Any]:
    """Product of `cotangent` with the Jacobian of a function of some tensors."""
    result, pull = jax.vjp(function, *primals)
    return list(pull(cotangent.astype(result.dtype)))


def weight_gradients(model: Any, loss: Callable, batch: tuple[Any, Any, Any]) -> list[np.ndarray]:
    """Gradients of a loss on inputs, targets and sample weights by each trainable weight, in inference mode."""
    x, y, weights = batch
    fixed = [variable.value for variable in model.non_trainable_variables]

    def value(held: list[Any]) -> Any:
        outputs, _ = model.stateless_call(held, fixed, x, training=False)
        return loss(x, y, outputs, weights)

    found = jax.grad(value)([variable.value for variable in model.trainable_variables])
    return [np.asarray(part.astype("float32"), np.float64) for part in found]


def differentiate(function: Callable, variables: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Refuse: a loss that is a function of Keras variables cannot be differentiated on JAX.

    Raises:
        NotImplementedError: Always.
    """
    raise NotImplementedError(
        "Training two sets of weights in turns works on the TensorFlow and PyTorch backends of Keras, not on JAX."
    )
