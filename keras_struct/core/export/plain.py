"""The same network in stock Keras layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_copies import copied
from keras_struct.core.export.forms import is_ours, is_subclass_of_ours, no_plain_form, plain_form, stock_activation
from keras_struct.core.export.inference import NEUTRAL, Passing
from keras_struct.core.structure.capabilities import ExportsPlain
from keras_struct.core.surgery.copying import INFERENCE_HOOKS, check_hooks, copied_network, new_input


def to_plain(model: Any, inference: bool = False) -> keras.Model:
    """Return the same network in stock Keras layers with static shapes.

    Args:
        model: A `StructuralModel`, or any model with growable layers in it.
        inference: Leave out layers that do something in training only: dropout, noise, random augmentation and penalties on
            activities. Some formats cannot hold them.

    Returns:
        A `keras.Model` with copies of the weights, not compiled. It loads without this library and can be exported
        (SavedModel, TFLite, ONNX). Layers of your own stay; a warning names them.

    Raises:
        ValueError: If a layer of this library has no stock form (a searched layer that has not been chosen, a `DartsRNN`, your
            own subclass of one), or the model has a `call` of its own.
    """
    dropped = NEUTRAL if inference else ()
    return converted(model, lambda layer: Passing(layer) if isinstance(layer, dropped) else plain_layer(layer))


def leaves(model: Any) -> list[Any]:
    """The layers of a model, those of nested models in their place."""
    return [leaf for layer in model.layers for leaf in (leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def converted(model: Any, convert: Callable[[Any], Any]) -> keras.Model:
    """Return a copy of a model whose layers a function makes.

    Raises:
        ValueError: If the model has no graph of layers, or a `call` of its own.
    """
    if internals.functional_of(model) is None:
        raise ValueError(
            f"Cannot export '{model.name}': expected a Functional model, or a Sequential one that is built. Received a "
            f"{type(model).__name__}. Build it first: call it on data, or give it a keras.Input."
        )
    check_hooks(model, keras.Model, INFERENCE_HOOKS)
    copy = copied_network(model, convert, _copy_weights)
    _report_own_layers(copy)
    copy(
        keras.tree.map_structure(new_input, internals.structured_ends(copy)[0])
    )  # some exporters ask that a model has been called
    return copy


def _copy_weights(layer: Any, other: Any) -> bool:
    """Give a plain layer its weights, if they are not those of its original by name."""
    form = plain_form(layer)
    if isinstance(layer, ExportsPlain) or (form is not None and form.complete):
        return True
    if form is None or form.copy_weights is None:
        return False
    form.copy_weights(layer, other)
    other.trainable = layer.trainable
    return True


def plain_layer(layer: Any) -> Any:
    """Return a stock layer, or a model of stock layers, for a layer; stock ones and those of the user's own are copied.

    Raises:
        ValueError: If there is none.
        TypeError: If a `plain_layer()` of the user's own returns something else.
    """
    if isinstance(layer, ExportsPlain):
        return _own_plain_layer(layer)
    _check_has_plain_form(layer)
    if (form := plain_form(layer)) is not None:
        return form.make(layer)
    if isinstance(layer, keras.layers.Wrapper) and plain_form(layer.layer) is not None:
        rest = {name: value for name, value in layer.get_config().items() if name != "layer"}
        return type(layer)(plain_layer(layer.layer), **rest)
    if is_ours(layer):
        raise ValueError(no_plain_form(layer))
    return copied_plainly(layer)


def _own_plain_layer(layer: Any) -> Any:
    """What a layer of the user's own says it is in stock layers, made in its precision and trainable if it is."""
    with _precision(layer.dtype_policy):
        found = layer.plain_layer()
    said = f"`plain_layer()` of layer '{layer.name}' ({type(layer).__name__})"
    if not isinstance(found, keras.layers.Layer) or found is layer:
        raise TypeError(
            f"{said} must return a stock layer, or a model of stock layers, with its weights. Received: {found!r}"
        )
    if not found.built and type(found).build is not keras.layers.Layer.build:
        raise ValueError(
            f"{said} returned a {type(found).__name__} that is not built, so that it has no weights yet: call it on a "
            "keras.Input, set its weights, and return it."
        )
    for part in leaves(found) if isinstance(found, keras.Model) else [found]:
        if stock_activation(part) != internals.activation_of(part):
            part.activation = keras.activations.get(stock_activation(part))
    if not layer.trainable:
        found.trainable = False
    return found


@contextmanager
def _precision(policy: Any) -> Iterator[None]:
    """Make layers, and their inputs, of a precision unless they say otherwise."""
    before = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(policy.variable_dtype)
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_floatx(before[1])
        keras.config.set_dtype_policy(before[0])


def copied_plainly(layer: Any, kind: type | None = None, drop: tuple[str, ...] = ()) -> Any:
    """Return a copy of a layer, of another class if `kind` says so, with a stock activation.

    Args:
        layer: The layer.
        kind: Class of the copy.
        drop: Arguments of the constructor that it does not have.
    """
    activation = stock_activation(layer)
    changes = {"activation": activation} if activation == "relu" else {}
    return copied(layer, kind, drop=drop, **changes)


def _check_has_plain_form(layer: Any) -> None:
    if is_subclass_of_ours(layer):
        raise ValueError(
            f"Layer '{layer.name}' is a {type(layer).__name__}, your own subclass of a layer of this library, and has no stock "
            "form. Give it a method plain_layer() that returns a stock layer with its weights, build the model with the "
            "library's layer in its place, or save it as it is, with model.save(...)."
        )
    if not isinstance(layer, keras.layers.Wrapper):
        return
    form = plain_form(layer.layer)
    if (form is None or not form.wrapped) and any(map(is_ours, internals.inner_layers(layer))):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) wraps a layer of this library, and has no stock form. Wrap a stock "
            "layer, or save the model as it is, with model.save(...)."
        )


def _report_own_layers(model: Any) -> None:
    """Say which layers of the user's own the files of a model will need."""
    own = [layer for layer in leaves(model) if not internals.is_stock(layer) and not is_ours(layer)]
    if own:
        listed = ", ".join(f"'{layer.name}' ({type(layer).__name__})" for layer in own)
        warnings.warn(
            f"The plain model has layers of your own: {listed}. A file of it loads where their classes are defined. A method "
            "plain_layer() that returns stock layers with the same weights is used in their place.",
            stacklevel=4,
        )
