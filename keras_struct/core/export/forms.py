"""Which stock layers stand for layers of this library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_struct import registration
from keras_struct.activations import relu1
from keras_struct.core.backend import keras_internals


@dataclass(frozen=True)
class PlainForm:
    """How a layer is written in stock layers.

    Attributes:
        make: Takes the layer and returns a stock layer, or a model of stock layers.
        copy_weights: Takes the layer and what `make` returned, and gives it the weights; by default they are those of the same
            names.
        complete: Whether what `make` returns has its weights already.
        wrapped: Whether the stock layer can stand in a wrapper such as `TimeDistributed`.
    """

    make: Callable[[Any], Any]
    copy_weights: Callable[[Any, Any], None] | None = None
    complete: bool = False
    wrapped: bool = False


_FORMS: dict[type, PlainForm] = {}


def register_plain_form(layer_class: type, form: PlainForm) -> None:
    """Let `to_plain` write layers of a class."""
    _FORMS[layer_class] = form


def plain_form(layer: Any) -> PlainForm | None:
    """How a layer is written in stock layers, or `None` if that is not known."""
    return _FORMS.get(type(layer))


def is_ours(layer: Any) -> bool:
    """Whether a layer is of a class of this library, or of a subclass of one."""
    return any(_defined_here(kind) and issubclass(kind, keras.layers.Layer) for kind in type(layer).__mro__)


def is_subclass_of_ours(layer: Any) -> bool:
    """Whether a layer is of a user's own subclass of a class of this library."""
    return is_ours(layer) and not _defined_here(type(layer))


def _defined_here(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == registration.PACKAGE


def stock_activation(layer: Any) -> Any:
    """The activation of a layer as a stock one: `relu1` has the values of `relu`, and another derivative at 0 only."""
    activation = keras_internals.activation_of(layer)
    return "relu" if activation is relu1 else activation


def no_plain_form(layer: Any) -> str:
    """Why a layer cannot be written in stock layers, and what to do about it."""
    return (
        f"There is no stock layer for '{layer.name}', a {type(layer).__name__}. Save the model as it is, with "
        "model.save(...); it loads where this library is installed."
    )
