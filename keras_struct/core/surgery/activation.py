"""What the activation of a layer does to its units."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.capabilities import MixesUnits

_MIXING = {"softmax", "log_softmax", "sparsemax"}
_HALVING = {"glu"}
MIXING_CLASSES: dict[type, str] = {}
"""Layers whose units no edit can keep the function of, with what they do with them, where that was registered."""


def declared_mixing(layer: Any) -> str | None:
    """Why no edit of its units can keep the function, as a layer says itself; else `None`."""
    own = layer.mixes if isinstance(layer, MixesUnits) else None
    mixes = MIXING_CLASSES.get(type(layer), own)
    return None if mixes is None else f"layer '{layer.name}' ({type(layer).__name__}) {mixes}"


def mixing_reason(layer: Any) -> str | None:
    """Why no edit can keep the function behind `layer`: each entry it outputs depends on others; else `None`."""
    if (declared := declared_mixing(layer)) is not None:
        return declared
    names = map(_name, internals.activations_of(layer))
    mixing = next((name for name in names if name in _MIXING), None)
    return None if mixing is None else f"the activation {mixing} of layer '{layer.name}' mixes its units"


def locking_reason(layer: Any) -> str | None:
    """Why the units behind the activation of `layer` cannot be edited at all, or `None`.

    A function that is not one of Keras's is tried on a few numbers, since it may do anything.
    """
    reasons = (_locking_reason(layer, function) for function in internals.activations_of(layer))
    return next((reason for reason in reasons if reason is not None), None)


def _locking_reason(layer: Any, function: Any) -> str | None:
    name = _name(function)
    if name in _HALVING:
        return f"the activation of layer '{layer.name}' halves its units"
    if function is None or vars(keras.activations).get(name) is function:
        return None
    if isinstance(function, keras.layers.Layer) and function.weights:
        return f"the activation of layer '{layer.name}' has weights of its own; make it a layer of the model"
    if not _is_elementwise(function):
        return f"the activation '{name}' of layer '{layer.name}' does not treat each of its units by itself"
    return None


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def activation_name(layer: Any) -> str:
    """The name of the activation of a layer, `"linear"` if it has none."""
    function = internals.activation_of(layer)
    return "linear" if function is None else _name(function)


def _is_elementwise(function: Any) -> bool:
    """Whether a function gives the same values for entries side by side as for each by itself."""
    x = np.linspace(-2.0, 2.5, 12, dtype="float32")
    try:
        together, apart = (
            keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x.reshape(shape))))
            for shape in ((2, 6), (12, 1))
        )
    except Exception:  # whatever it is, it cannot be relied on
        return False
    return together.shape == (2, 6) and bool(np.allclose(together.reshape(12, 1), apart, rtol=1e-5, atol=1e-6))
