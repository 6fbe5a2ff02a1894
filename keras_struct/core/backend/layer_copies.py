"""Copies of layers as they are: what their configurations say, and everything that these leave out."""

from __future__ import annotations

import tempfile
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.saving.serialization_lib import SafeModeScope

from keras_struct.core.backend import keras_internals as internals

_SETTINGS = ("supports_masking", "autocast", "_convert_input_args", "_allow_non_tensor_positional_args")
_REMEDY = (
    "Give its class a `get_config` that returns all arguments of its constructor; or build "
    "StructuralModel(model.inputs, model.outputs), which uses the layers as they are."
)


def copied(layer: Any, kind: Any = None, drop: tuple[str, ...] = (), **changes: Any) -> Any:
    """Return a fresh layer (or operation) with the arguments of another, which may be functions and unregistered classes.

    Nothing but memory is read, so that `Lambda` layers need no permission. Weights and other state are left to `copy_state`.

    Args:
        layer: The layer.
        kind: Class of the copy; by default that of the layer.
        drop: Arguments that `kind` does not have.
        **changes: Other arguments.

    Raises:
        ValueError: If the layer cannot be made again.
    """
    scope: dict[str, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that functions cannot be saved
            config = layer.get_config()
            config = {key: value for key, value in _live(config, layer, scope).items() if key not in drop}
            with keras.saving.custom_object_scope(scope), SafeModeScope(False):
                copy = (type(layer) if kind is None else kind).from_config({**config, **changes})
    except Exception as error:
        if kind is None and not internals.own_variables(layer) and not getattr(layer, "variables", ()):
            return _twin(layer)
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) cannot be copied: {error}\n{_REMEDY}"
        ) from error
    for name in _SETTINGS if isinstance(layer, keras.layers.Layer) else ():
        if getattr(copy, name, None) != getattr(layer, name, None):
            setattr(copy, name, getattr(layer, name))
    return copy


def _twin(layer: Any) -> Any:
    """A layer without weights that cannot be made again, as another object with the same attributes."""
    twin = object.__new__(type(layer))
    vars(twin).update(vars(layer))
    vars(twin).update(_inbound_nodes=[], _outbound_nodes=[])
    if isinstance(layer, keras.layers.Layer):
        vars(twin).update(_losses=[], _loss_ids=set(), _losses_override=[])
    return twin


def _live(config: Mapping[str, Any], held: Any, scope: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which functions are looked up in a scope; classes of objects inside are put there, too."""
    return {
        key: _looked_up(value, getattr(held, key, getattr(held, f"_{key}", None)), scope)
        for key, value in config.items()
    }


def _looked_up(value: Any, live: Any, scope: dict[str, Any]) -> Any:
    if isinstance(value, list | tuple) and isinstance(live, list | tuple) and len(value) == len(live):
        return type(value)(_looked_up(v, part, scope) for v, part in zip(value, live, strict=True))
    if isinstance(value, str) and isinstance(live, types.FunctionType) and live.__name__ == value:
        if getattr(keras.activations, value, None) is not live:
            scope[value] = live
        return value
    if not isinstance(value, dict):
        return value
    if callable(live) and (value.get("class_name") in ("function", "__lambda__") or not hasattr(live, "get_config")):
        name = f"in memory {len(scope)}"
        scope[name] = live
        return {"module": None, "class_name": "function", "config": name, "registered_name": name}
    if "class_name" in value and isinstance(value.get("config"), dict) and hasattr(live, "get_config"):
        if not type(live).__module__.startswith("keras."):
            scope[value.get("registered_name") or type(live).__name__] = type(live)
        return {**value, "config": _live(value["config"], live, scope)}
    return value


def copy_state(layer: Any, copy: Any, changed: tuple[str, ...] = ()) -> None:
    """Give a built copy of a layer what the layer has come to hold: weights, tables, random states, attributes.

    Args:
        layer: The layer, or a model; what is inside a model is left to the caller.
        copy: Its copy, maybe of another class, which has weights of the same names then.
        changed: Arguments that the copy has of its own.

    Raises:
        ValueError: If the copy cannot hold it.
    """
    if not isinstance(layer, keras.layers.Layer) or vars(layer) is vars(copy):
        return
    try:
        _copy_tables(layer, copy)
        _copy_variables(layer, copy)
        _copy_attributes(layer, copy, changed)
    except Exception as error:
        raise ValueError(
            f"The state of layer '{layer.name}' ({type(layer).__name__}) cannot be copied: {error}\n{_REMEDY}"
        ) from error


def _parts(layer: Any) -> list[Any]:
    return [] if isinstance(layer, keras.Model) else list(layer._layers)


def _copy_tables(layer: Any, copy: Any) -> None:
    """State that layers write to files by methods of their own."""
    if isinstance(layer, keras.Model):
        return
    kind = type(layer)
    if type(copy) is kind and kind.load_own_variables is not keras.layers.Layer.load_own_variables:
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        copy.load_own_variables({key: _array(value) for key, value in store.items()})
    if type(copy) is kind and hasattr(kind, "save_assets") and hasattr(kind, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            if any(Path(folder).iterdir()):
                copy.load_assets(folder)
    for part, other in zip(_parts(layer), _parts(copy), strict=False):
        _copy_tables(part, other)


def _copy_variables(layer: Any, copy: Any) -> None:
    if isinstance(layer, keras.Model):
        return
    old, new = _held(layer), _held(copy)
    if type(layer) is type(copy) or len(old) == len(new):
        pairs = list(zip(old, new, strict=True))
    else:
        named, names = internals.own_variables(copy), internals.own_variables(layer)
        pairs = [(variable, named[name]) for name, variable in names.items() if name in named]
    if copy.trainable != layer.trainable:
        copy.trainable = layer.trainable
    for part, other in zip(_parts(layer), _parts(copy), strict=False):
        if other.trainable != part.trainable:
            other.trainable = part.trainable
    for source, target in pairs:
        if isinstance(source, keras.Variable):
            target.assign(_array(source.value))
            if target.trainable != source.trainable:
                target.trainable = source.trainable


def _held(layer: Any) -> list[Any]:
    """All variables, those of random states and metrics inside it, too, each once."""
    parts = [layer, *(inner for inner in internals.inner_layers(layer))]
    found: dict[int, Any] = {}
    for part in parts:
        own = (*part._trainable_variables, *part._non_trainable_variables)
        seeds = (generator.state for generator in part._seed_generators)
        metrics = (variable for metric in part._metrics for variable in metric.variables)
        found.update({id(variable): variable for variable in (*own, *seeds, *metrics)})
    return list(found.values())


def _array(value: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(value))


_KEPT_BY_KERAS = frozenset(vars(keras.layers.Layer())) - {"supports_masking", "activity_regularizer"}


def _copy_attributes(layer: Any, copy: Any, changed: tuple[str, ...]) -> None:
    """Attributes that somebody has set since the layer was made."""
    own = vars(copy)
    skipped = set(changed)
    if type(layer) is not type(copy):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            skipped |= set(layer.get_config())
    if callable(vars(layer).get("call")) and getattr(vars(layer)["call"], "__self__", None) is not layer:
        raise ValueError("its `call` was replaced by a function that may hold the layer's own weights.")
    for name, value in list(vars(layer).items()):
        if name in _KEPT_BY_KERAS or name.startswith(("_self_", "_functional")) or name in skipped:
            continue
        if type(layer) is not type(copy) and name.startswith("_"):
            continue
        if isinstance(layer, keras.Model) and name in own:
            continue
        if name in own and not (_is_plain(value) and _is_plain(own[name])):
            continue
        if name not in own and _holds_state(value):
            raise ValueError(f"attribute `{name}`, set after it was made, holds weights.")
        if name not in own or not _same(value, own[name], layer):
            value = types.MethodType(value.__func__, copy) if getattr(value, "__self__", None) is layer else value
            setattr(copy, name, value)
    for part, other in zip(_parts(layer), _parts(copy), strict=False):
        _copy_attributes(part, other, ())


def _is_plain(value: Any) -> bool:
    """Whether a value can be held by two layers at once, or compared: numbers, texts, arrays, functions, regularizers."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    simple = (int, float, complex, str, bytes, type(None), np.ndarray, np.generic)
    keras_made = (keras.Regularizer, keras.constraints.Constraint, keras.Initializer)
    return isinstance(value, (*simple, *keras_made)) or (callable(value) and not _holds_state(value))


def _holds_state(value: Any) -> bool:
    held = (keras.layers.Layer, keras.Variable, keras.metrics.Metric, keras.random.SeedGenerator)
    if isinstance(value, Mapping):
        return any(map(_holds_state, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_state, value))
    return isinstance(value, held)


def _same(value: Any, other: Any, layer: Any) -> bool:
    if value is other:
        return True
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(value, other)
    if isinstance(value, types.MethodType) and isinstance(other, types.MethodType):
        return value.__func__ is other.__func__ and value.__self__ is layer
    return type(value) is type(other) and not hasattr(value, "get_config") and not callable(value) and value == other
