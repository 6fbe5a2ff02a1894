"""Every private attribute of Keras that the library touches, each pinned by a test in `tests/backend`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.trainers.compile_utils import CompileLoss


def functional_of(model: Any) -> Any:
    """Return the Functional network behind a Functional or Sequential model; `None` if it has none (yet)."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_nodes_by_depth") else None


def structured_ends(model: Any) -> tuple[Any, Any]:
    """Inputs and outputs of a Functional or Sequential model, in the structure in which it takes and returns them."""
    functional = functional_of(model)
    return functional._inputs_struct, functional._outputs_struct


def nodes_in_order(functional: Any) -> Iterator[Any]:
    """Calls of operations in an order in which they can be run, that of `layers` where several can. Input layers are left out."""
    place = {id(operation): i for i, operation in enumerate(functional.operations)}
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in sorted(functional._nodes_by_depth[depth], key=lambda node: place.get(id(node.operation), 0)):
            if not node.is_input:
                yield node


def node_tensors(node: Any) -> tuple[list[Any], list[Any]]:
    """Symbolic tensors that go into and come out of a call."""
    return list(node.input_tensors), list(node.output_tensors)


def extra_arguments(node: Any) -> bool:
    """Whether a call passes a tensor beside the layer's inputs, by keyword."""
    return any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten(dict(node.arguments.kwargs)))


def call_arguments(node: Any) -> list[Any]:
    """Everything that a call passes, symbolic tensors and others, in order."""
    return keras.tree.flatten((node.arguments.args, dict(node.arguments.kwargs)))


def set_symbolic_shape(tensor: Any, shape: tuple[int | None, ...]) -> None:
    """Give a symbolic tensor the shape that it has after an edit."""
    tensor._shape = tuple(shape)


def follow_input_shape(symbol: Any) -> None:
    """Give the input layer of a nested model, if `symbol` is what it stands for, the shape that the tensor has now."""
    layer = symbol._keras_history.operation if hasattr(symbol, "_keras_history") else None
    if isinstance(layer, keras.layers.InputLayer) and layer._batch_shape != tuple(symbol.shape):
        layer._batch_shape = tuple(symbol.shape)


def build_shapes(layer: Any) -> dict[str, Any] | None:
    """Shapes that a layer was built with, as it will save them."""
    return getattr(layer, "_build_shapes_dict", None)


def set_build_shape(layer: Any, shape: Any) -> None:
    """Replace the recorded build shape of a layer with a single build argument."""
    shapes = build_shapes(layer)
    if shapes and len(shapes) == 1:
        layer._build_shapes_dict = {next(iter(shapes)): shape}


def own_variables(layer: Any) -> dict[str, Any]:
    """Variables that a layer holds itself, not those of layers inside it, by name; none for a bare operation."""
    if not isinstance(layer, keras.layers.Layer):
        return {}
    held = [*layer._trainable_variables, *layer._non_trainable_variables]
    return {variable.name: variable for variable in held}


def set_shape(variable: Any, shape: tuple[int, ...]) -> None:
    """Tell a Keras variable its shape."""
    variable._shape = tuple(int(extent) for extent in shape)


def forget_compiled_functions(model: Any) -> None:
    """Have `fit`, `evaluate` and `predict` trace their steps anew, also in the middle of a running `fit`."""
    training = getattr(model, "train_function", None) is not None
    model.train_function = model.test_function = model.predict_function = None
    if training:
        model.make_train_function()


def start_at_epoch(model: Any, epoch: int) -> None:
    """Let a `fit` that is about to begin start at an epoch, as `BackupAndRestore` does."""
    model._initial_epoch = epoch


def rekey_optimizer(optimizer: Any) -> None:
    """Tell an optimizer that the values behind its variables were replaced."""
    for opt in optimizer_chain(optimizer):
        if getattr(opt, "_trainable_variables", None):
            old = {index: key for key, index in opt._trainable_variables_indices.items()}
            indices = {opt._var_key(variable): i for i, variable in enumerate(opt._trainable_variables)}
            opt._trainable_variables_indices = indices
            _rekey_exclusions(opt, {old[index]: key for key, index in indices.items()})


def _rekey_exclusions(optimizer: Any, keys: dict[Any, Any]) -> None:
    """Keep variables that have no weight decay without it, under their new keys."""
    if excluded := getattr(optimizer, "_exclude_from_weight_decay", None):
        optimizer._exclude_from_weight_decay = {keys.get(key, key) for key in excluded}
    optimizer._exclude_from_weight_decay_cache = {}


def copy_exclusions(source: Any, target: Any) -> None:
    """Exclude from weight decay, in an optimizer built for a copy of a model, what the model's own excludes."""
    for old, new in zip(optimizer_chain(source), optimizer_chain(target), strict=True):
        excluded = getattr(old, "_exclude_from_weight_decay", None) or set()
        places = {i for key, i in old._trainable_variables_indices.items() if key in excluded}
        new._exclude_from_weight_decay = {key for key, i in new._trainable_variables_indices.items() if i in places}
        new._exclude_from_weight_decay_pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
        new._exclude_from_weight_decay_cache = {}


def compile_arguments(model: Any) -> dict[str, Any]:
    """Arguments that a model was compiled with, as they were given."""
    return dict(model._compile_config.config)


def optimizer_chain(optimizer: Any) -> list[Any]:
    """An optimizer and the one it wraps, if it does (`LossScaleOptimizer`)."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, inner]


def optimizer_of_the_same_kind(optimizer: Any) -> Any:
    """A fresh optimizer with the arguments of another, which may have a function as its learning rate."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = optimizer_of_the_same_kind(optimizer.inner_optimizer)
        return type(optimizer)(**{**optimizer.get_config(), "inner_optimizer": inner})
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable | keras.optimizers.schedules.LearningRateSchedule) or not callable(rate):
        return type(optimizer).from_config(optimizer.get_config())
    object.__setattr__(optimizer, "_learning_rate", None)  # functions cannot always be put into a configuration
    try:
        config = optimizer.get_config()
    finally:
        object.__setattr__(optimizer, "_learning_rate", rate)
    return type(optimizer).from_config({**config, "learning_rate": rate})


def filled_arguments(node: Any, values: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call with its symbolic tensors replaced, by their `id`."""
    args, kwargs = node.arguments.fill_in(values)
    return list(args), dict(kwargs)


def takes_training(operation: Any) -> bool:
    """Whether a layer's `call` has a `training` argument."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def loss_function(model: Any) -> Any:
    """What `fit` minimises, as a function of inputs, targets, outputs and sample weights; `None` without a loss.

    A model with a `compute_loss` of its own is asked for it. Otherwise the losses given to `compile` are put together
    anew, so that no metric of the model sees the batch.
    """
    if type(model).compute_loss is not _plain_compute_loss(model):
        return lambda x, y, outputs, weights: model.compute_loss(x, y, outputs, weights, training=False)
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    if not config or config.get("loss") is None:
        return None
    combined = CompileLoss(config["loss"], config.get("loss_weights"), output_names=functional_of(model).output_names)
    return lambda x, y, outputs, weights: combined(y, outputs, weights)


def _plain_compute_loss(model: Any) -> Any:
    return next(kind for kind in type(model).__mro__ if kind is keras.Model).compute_loss


@contextmanager
def without_activation(layer: Any) -> Iterator[None]:
    """Let a layer compute without its activation."""
    activation = layer.activation
    object.__setattr__(layer, "activation", None)
    try:
        yield
    finally:
        object.__setattr__(layer, "activation", activation)
