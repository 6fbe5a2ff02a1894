"""Edits on JAX: values are plain arrays, and `jax.jit` compiles anew for a new shape by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_struct.backend import keras_internals as internals
from keras_struct.backend.moments import normalized_by_moments

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


def set_elastic(variable: Any, axes: Iterable[int]) -> bool:
    """Nothing to do: shapes are part of a compiled step. Returns False."""
    return False


def watch(variables: Iterable[Any]) -> None:
    """Nothing to do: compiled functions are given the values of variables."""


def retire(replaced: Sequence[tuple[Any, Any]], reshaped: Iterable[Any], changed: Iterable[Any] = ()) -> None:
    """Nothing to do: see `watch`."""


def slot_scope() -> Any:
    """Nothing to do: an optimizer is not built in a traced function."""
    return nullcontext()


def follow_reference(slot: Any, reference: Any) -> None:
    """Nothing to do: shapes are part of a compiled step."""


def prepare_optimizer(optimizer: Any) -> None:
    """Nothing to do: an optimizer looks at shapes when it runs."""


def add_bias(outputs: Any, bias: Any, channels_first: bool = False) -> Any:
    """Add one number to each channel."""
    rank = len(outputs.shape)
    shape = (1, -1) + (1,) * (rank - 2) if channels_first else (1,) * (rank - 1) + (-1,)
    return keras.ops.add(outputs, keras.ops.reshape(bias, shape))


def batch_normalization(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise each channel of images by its own mean and variance; see the TensorFlow backend."""
    return normalized_by_moments(x, gamma, beta, epsilon)


def before_edit(model: Any) -> None:
    """Bring the values that a running `fit` holds back into the variables."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def after_edit(model: Any, layers: Iterable[Any]) -> None:
    """Nothing to do: a running `fit` reads the variables again after a sync."""


def refuse_distribution(model: Any) -> None:
    """Nothing to do: `keras.distribution` is checked by the caller."""


def tapped_train_function(model: Any, remember: Callable[[Any], None], whole: bool) -> Callable:
    """Return Keras's train function; batches are seen on their way in."""
    type(model).make_plain_train_function(model)
    run = model.train_function

    def train_function(state, iterator):
        return run(state, _tap(remember, iterator))

    return train_function


def _tap(remember: Callable[[Any], None], iterator: Any) -> Any:
    for data in iterator:
        remember(data)
        yield data


def skipping(model: Any, run: Callable, leaves_out: Callable[[], bool]) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch."""

    def train_function(state, iterator):
        if leaves_out():
            for _ in range(model.steps_per_execution):
                next(iterator)
            return {}, state
        return run(state, iterator)

    return train_function


def compiled(function: Callable) -> Callable:
    """Leave a function of tensors as it is: Keras variables cannot be captured by `jax.jit`."""
    return function


def samples_between(tensor: Any, start: int, end: int) -> Any:
    """Samples of a batch."""
    return tensor[start:end]


def entries(tensor: Any) -> Any:
    """The tensor: there are no ragged ones."""
    return tensor


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
        def watch(key: Any, tensor: Any) -> Any:
            shapes[key] = (tensor.shape, tensor.dtype)
            return tensor

        function(watch, *args)

    jax.eval_shape(measure, *args)
    taps = {key: jnp.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()}
    return jax.grad(lambda taps: function(lambda key, tensor: tensor + taps[key], *args), has_aux=True)(taps)


def vjp(function: Callable, primals: list[Any], cotangent: Any) -> list[Any]:
    """Product of `cotangent` with the Jacobian of a function of some tensors."""
    result, pull = jax.vjp(function, *primals)
    return list(pull(cotangent.astype(result.dtype)))


def convolved(layer: Any, inputs: Any, kernel: Any) -> Any:
    """What a convolution makes of inputs with another kernel."""
    return layer.convolution_op(inputs, kernel)


def gathered(x: Any, indices: Any, axis: int) -> Any:
    """Entries of a tensor or variable at places that are counted from the start."""
    return keras.ops.take(x, indices, axis=axis)


def outside(function: Callable) -> Any:
    """Run a function; nothing is traced around it."""
    return function()


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
