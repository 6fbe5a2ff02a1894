"""Edits on PyTorch: eager, so a new parameter is all that a new width needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import torch

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
from keras_struct.core.backend.torch_optimizers import replace_parameters

ELASTIC = False
JIT: bool | str = False  # eager steps take any width
DOUBLE = True
READS_VARIABLES = True
RUN_ERRORS: tuple[type[Exception], ...] = ()


def read(variable: Any) -> np.ndarray:
    """Copy the value of a Keras variable."""
    value = variable._value.detach().cpu()
    return value.float().numpy().copy() if value.dtype == torch.bfloat16 else value.numpy().copy()


def read_all(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copy the values of Keras variables."""
    return [read(variable) for variable in variables]


def write(variable: Any, value: np.ndarray) -> bool:
    """Give a Keras variable a value of any shape. Returns False: nothing is compiled."""
    old = variable._value
    tensor = torch.tensor(np.asarray(value, order="C")).to(dtype=old.dtype, device=old.device)
    variable._value = torch.nn.Parameter(tensor, requires_grad=old.requires_grad)
    internals.set_shape(variable, value.shape)
    return False


def retire(replaced: Sequence[tuple[Any, Any]], reshaped: Iterable[Any], changed: Iterable[Any] = ()) -> None:
    """Let optimizers of PyTorch that are given replaced parameters take the new ones, or fail; see `torch_optimizers`."""
    replace_parameters(replaced)


def before_edit(model: Any) -> None:
    """Nothing to do: variables always hold the current values."""


def after_edit(model: Any, layers: Iterable[Any]) -> None:
    """Tell the PyTorch modules behind the layers about their new parameters."""
    for layer in (*layers, model):
        if hasattr(layer, "_torch_params"):
            layer._track_variables()


def tapped_train_function(model: Any, remember: Callable[[Any], None], whole: bool) -> Callable:
    """Return Keras's train function; batches are seen on their way in."""
    return train_functions.with_batches(model, lambda data: [*train_functions.observed(remember, data)])


def skipping(model: Any, run: Callable, leaves_out: Callable[[], bool]) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch."""
    return train_functions.skipping(run, leaves_out, lambda data: {})


def compiled(function: Callable) -> Callable:
    """Run a function of tensors without recording gradients."""

    def run(*args):
        with torch.no_grad():
            return function(*args)

    return run


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

    def note(key: Any, tensor: Any) -> Any:
        watched[key] = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        return watched[key]

    with torch.enable_grad():
        loss, other = function(note, *args)
    found = torch.autograd.grad(loss, list(watched.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(watched, found, strict=True)), other


def vjp(function: Callable, primals: list[Any], cotangent: Any) -> list[Any]:
    """Product of `cotangent` with the Jacobian of a function of some tensors."""
    outer = torch.is_grad_enabled()  # the product itself is differentiated
    with torch.enable_grad():
        fresh = [primal.detach().requires_grad_() for primal in primals]
        result = function(*fresh)
        found = torch.autograd.grad(
            result, fresh, cotangent, allow_unused=True, materialize_grads=True, create_graph=outer
        )
    return list(found)


def weight_gradients(model: Any, loss: Callable, batch: tuple[Any, Any, Any]) -> list[np.ndarray]:
    """Gradients of a loss on inputs, targets and sample weights by each trainable weight, in inference mode."""
    x, y, weights = batch
    held = [variable.value for variable in model.trainable_variables]
    with torch.enable_grad():
        value = loss(x, keras.ops.convert_to_tensor(y), model(x, training=False), weights)
    found = torch.autograd.grad(value, held, allow_unused=True, materialize_grads=True)
    return [part.double().cpu().numpy() for part in found]


def differentiate(function: Callable, variables: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Differentiate a loss by Keras variables.

    Args:
        function: Returns the loss and something else.
        variables: The variables.

    Returns:
        The something else, the loss, and its gradients by the variables alone.
    """
    held = [variable.value for variable in variables]
    frozen = [tensor for tensor in held if not tensor.requires_grad]
    try:
        for tensor in frozen:
            tensor.requires_grad_(True)
        with torch.enable_grad():
            loss, other = function()
        return other, loss, list(torch.autograd.grad(loss, held, allow_unused=True, materialize_grads=True))
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)
