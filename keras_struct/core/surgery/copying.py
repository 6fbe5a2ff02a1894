"""Copies of networks, with everything that their layers hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_copies import copy_state

INFERENCE_HOOKS = ("call", "__call__", "predict_step")
_HOOKS = (
    *INFERENCE_HOOKS,
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "make_train_function",
    "make_test_function",
    "make_predict_function",
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
)


def check_hooks(model: Any, kind: type, hooks: tuple[str, ...] = _HOOKS) -> None:
    """Refuse a model that has methods of its own which a copy of class `kind` would not have.

    Raises:
        ValueError: If there is one; it says how to keep it.
    """
    if internals.functional_of(model) is None:
        return  # there is no graph to convert, which is said elsewhere
    lost = [name for name in hooks if (base := _definer(type(model), name)) is not None and not issubclass(kind, base)]
    if lost:
        name = type(model).__name__
        raise ValueError(
            f"'{model.name}' is a {name} with its own {', '.join(lost)}, which a {kind.__name__} does not have. Convert "
            f"plain = keras.Model(model.inputs, model.outputs) instead; to keep these methods in a model whose structure "
            f"changes, define class Both({name}, StructuralModel) and call Both(new.inputs, new.outputs) on what you get, or "
            "Both.from_model(model)."
        )


def _definer(kind: type, name: str) -> type | None:
    """The class of a user, not of Keras or of this library, that defines a method."""
    base = next((base for base in kind.__mro__ if name in vars(base)), None)
    return None if base is None or internals.is_library_class(base) else base


def copied_network(
    model: Any, convert: Callable[[Any], Any], state: Callable[[Any, Any], bool] = lambda layer, copy: False
) -> Any:
    """Return a copy of a Functional or Sequential model whose layers are made by a function.

    Args:
        model: The model.
        convert: Makes the copy of a layer or operation that is no network itself; it may be a function of tensors, too.
        state: Gives a copy the weights of its layer; returns `False` where all are copied by their names.

    Raises:
        ValueError: If a layer or its state cannot be copied, or two layers share weights that their copies would not share.
    """
    made: dict[int, tuple[Any, Any]] = {}

    def clone(layer: Any) -> Any:
        if id(layer) not in made:
            nested = internals.nested_network(layer) is not None
            if not nested and isinstance(layer, keras.Model) and internals.functional_of(layer) is not None:
                raise ValueError(
                    f"Cannot copy '{model.name}': the model '{layer.name}' in it, a {type(layer).__name__}, has a `call` of its "
                    "own, which a copy of its layers would not have. Build StructuralModel(model.inputs, model.outputs) instead, "
                    "which uses the layers as they are."
                )
            made[id(layer)] = (layer, _network(layer, clone) if nested else convert(layer))
        return made[id(layer)][1]

    copy = _functional(model, clone)
    _check_sharing([pair for pair in made.values() if isinstance(pair[1], keras.layers.Layer)])
    for layer, other in reversed(list(made.values())):  # models before the layers in them
        if isinstance(other, keras.layers.Layer) and not state(layer, other):
            copy_state(layer, other, ("axis",) if type(layer) is keras.layers.BatchNormalization else ())
    return copy


def _network(model: Any, clone: Callable[[Any], Any]) -> Any:
    """A stock network of the copies of the layers of a network, not compiled."""
    functional = internals.functional_of(model)
    if isinstance(model, keras.Sequential):
        layers = [clone(layer) for layer in model.layers]
        kept = [layer for layer in layers if isinstance(layer, keras.layers.Layer)]
        return keras.Sequential([new_input(functional.inputs[0]), *kept], name=model.name)
    return _functional(model, clone)


def _functional(model: Any, clone: Callable[[Any], Any]) -> Any:
    inputs, outputs = internals.structured_ends(model)
    network = keras.Model(inputs, outputs)  # not compiled: a clone would be, too
    fresh = keras.tree.map_structure(new_input, inputs)
    copy = keras.models.clone_model(network, input_tensors=fresh, clone_function=clone, recursive=False)
    return keras.Model(*internals.structured_ends(copy), name=model.name)


def new_input(tensor: Any) -> Any:
    """An input like a symbolic tensor."""
    kinds = {name: True for name in ("sparse", "ragged") if getattr(tensor, name, False)}
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name, **kinds)


def _check_sharing(pairs: list[tuple[Any, Any]]) -> None:
    """Refuse layers that hold variables of each other: copies would train them apart."""
    holders: dict[int, tuple[Any, Any]] = {}
    for layer, copy in pairs:
        if isinstance(layer, keras.Model) or layer is copy:
            continue
        for variable in layer.variables:
            other, _ = holders.setdefault(id(variable), (layer, copy))
            if other is not layer:
                raise ValueError(
                    f"Layers '{other.name}' and '{layer.name}' share the weight '{variable.path}', which their copies would "
                    "not. Build StructuralModel(model.inputs, model.outputs) instead, which uses the layers as they are."
                )
