"""Optimizers: their variables, and others of the same kind."""

from __future__ import annotations

from typing import Any

import keras


def optimizer_of(model: Any) -> Any:
    """The optimizer of a model, or `None` before it is compiled."""
    return getattr(model, "optimizer", None)


def optimizer_chain(optimizer: Any) -> list[Any]:
    """An optimizer and the one it wraps, if it does (`LossScaleOptimizer`)."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, inner]


def trained_by(optimizer: Any) -> Any:
    """The list of variables that a built optimizer was built for."""
    return getattr(optimizer_chain(optimizer)[-1], "_trainable_variables", ())


def velocities_of(optimizer: Any) -> Any:
    """The velocities of an optimizer with momentum, such as SGD; `None` for others."""
    return getattr(optimizer, "momentums", None) if getattr(optimizer, "momentum", 0) else None


def has_shaped_state(optimizer: Any) -> bool:
    """Whether what an optimizer keeps for a weight has the shape of the weight."""
    last = optimizer_chain(optimizer)[-1]
    return type(last).__name__ not in ("Adafactor", "MultiOptimizer") and hasattr(last, "_trainable_variables")


def needs_static_shapes(optimizer: Any) -> bool:
    """Whether an optimizer looks at the shapes of weights while its step is traced."""
    return any(isinstance(opt, keras.optimizers.Muon) for opt in optimizer_chain(optimizer))


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
