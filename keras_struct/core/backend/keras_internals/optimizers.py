"""Optimizers: their variables, and others of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras.src.utils.tracking import DotNotTrackScope


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


def exclude_copies(optimizer: Any, copied: Mapping[int, Any], weights: Sequence[Any]) -> Callable[[], None]:
    """Exclude from weight decay the new weights whose originals are excluded, given by their `id`. Returns what takes it back."""
    undo = []
    for own in optimizer_chain(optimizer):
        if (excluded := getattr(own, "_exclude_from_weight_decay", None)) is not None:
            undo.append((own, excluded))
            more = {
                own._var_key(weight)
                for weight in weights
                if id(weight) in copied and own._var_key(copied[id(weight)]) in excluded
            }
            own._exclude_from_weight_decay = excluded | more
        own._exclude_from_weight_decay_cache = {}

    def take_back() -> None:
        for own, excluded in undo:
            own._exclude_from_weight_decay = excluded

    return take_back


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


def adopt_variables(optimizer: Any, twin: Any, held: Mapping[int, Any]) -> Callable[[], None]:
    """Give an optimizer the lists of variables of one of its kind, that was built for other weights.

    Args:
        optimizer: The optimizer.
        twin: The other one.
        held: For the `id` of a variable of the twin the variable that stays in its place.

    Returns:
        A function that takes it back.
    """
    undo = []

    def stays(value: Any) -> Any:
        return held.get(id(value), value)

    for own, other in zip(optimizer_chain(optimizer), optimizer_chain(twin), strict=True):
        before = {name: getattr(own, name) for name in _lists_of_variables(other)}
        tracked = list(own._variables)
        undo.append((own, before, tracked))
        after = {name: keras.tree.map_structure(stays, getattr(other, name)) for name in before}
        after["_trainable_variables"] = list(other._trainable_variables)
        after["_trainable_variables_indices"] = dict(other._trainable_variables_indices)
        _set_variables(own, after, [stays(variable) for variable in other._variables])

    def take_back() -> None:
        for own, before, tracked in undo:
            _set_variables(own, before, tracked)

    return take_back


def _lists_of_variables(optimizer: Any) -> list[str]:
    """Names of the attributes of an optimizer that hold variables for its weights."""
    names = ["_trainable_variables", "_trainable_variables_indices"]
    for name, value in vars(optimizer).items():
        of_tensorflow = name.startswith("_self_")
        if of_tensorflow or name in ("_variables", "_tracker", *names) or not isinstance(value, list | dict | tuple):
            continue
        if any(isinstance(item, keras.Variable) for item in keras.tree.flatten(value)):
            names.append(name)
    return names


def _set_variables(optimizer: Any, lists: Mapping[str, Any], tracked: list[Any]) -> None:
    with DotNotTrackScope():
        for name, value in lists.items():
            setattr(optimizer, name, value)
        optimizer._variables = list(tracked)  # TensorFlow saves no list of which items were replaced
    tracker = optimizer._tracker
    tracker.config["variables"] = (tracker.config["variables"][0], optimizer._variables)
    tracker.stored_ids["variables"] = set(map(id, tracked))
