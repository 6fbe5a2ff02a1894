"""Layers: which there are, what is inside them, and their variables and states."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell as _DropoutRNNCell

CONV_LSTM_CELL = ConvLSTMCell
"""The cell of `keras.layers.ConvLSTM1D` and its kind."""
SCALED_SUM, LAYER_SCALE, STOCHASTIC_DEPTH = CustomScaleLayer, LayerScale, StochasticDepth
"""Layers that only `keras.applications` has."""
DropoutRNNCell: Any = _DropoutRNNCell
"""What `keras.layers.RNN` looks for in cells that leave out the same units in all steps of a sequence."""


def is_stock(layer: Any) -> bool:
    """Whether a layer and all layers inside it are of Keras's own classes."""
    kinds = (SCALED_SUM, LAYER_SCALE, STOCHASTIC_DEPTH)
    own = [layer, *inner_layers(layer)] if isinstance(layer, keras.layers.Layer) else []
    stock = (getattr(keras.layers, type(part).__name__, None) is type(part) or type(part) in kinds for part in own)
    return all(stock)


def is_library_class(kind: type) -> bool:
    """Whether a class is Keras's, a backend's, or this library's."""
    return kind.__module__.partition(".")[0] in (
        "keras",
        "keras_struct",
        "builtins",
        "tensorflow",
        "torch",
        "jax",
        "flax",
    )


def constructor_takes_ends(kind: type) -> bool:
    """Whether a class of models is made of inputs and outputs, as `keras.Model` is."""
    parameters = inspect.signature(kind).parameters
    free = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    return free or {"inputs", "outputs"} <= set(parameters)


def own_variables(layer: Any, states: bool = True) -> dict[str, Any]:
    """Variables of a layer by name; those of layers inside it behind their names. None for a bare operation.

    With `states`, those that a recurrent layer carries from batch to batch, which Keras does not count, are among them.
    """
    if not isinstance(layer, keras.layers.Layer):
        return {}
    held = (*layer._trainable_variables, *layer._non_trainable_variables)
    if not layer._layers and not isinstance(layer, keras.layers.RNN):
        return {variable.name: variable for variable in held}
    inside = {
        f"{inner.name}/{name}": variable
        for inner in layer._layers
        for name, variable in own_variables(inner, states).items()
    }
    borrowed = set(map(id, inside.values()))
    carried = {f"states/{place}": variable for place, variable in enumerate(states_of(layer) if states else ())}
    return {**{variable.name: variable for variable in held if id(variable) not in borrowed}, **inside, **carried}


def inner_layers(layer: Any) -> list[Any]:
    """Layers inside a layer, at any depth."""
    if not isinstance(layer, keras.layers.Layer):
        return []
    return [found for inner in layer._layers for found in (inner, *inner_layers(inner))]


def inner_layer(layer: Any, names: Sequence[str]) -> Any:
    """A layer inside a layer, by the names on the way to it; `None` if there is none."""
    for name in names:
        layer = next((inner for inner in getattr(layer, "_layers", ()) if inner.name == name), None)
    return layer


def states_of(layer: Any) -> list[Any]:
    """Variables in which a stateful recurrent layer carries its states from batch to batch."""
    if not isinstance(layer, keras.layers.RNN) or not layer.stateful or layer.states is None:
        return []
    return keras.tree.flatten(layer.states)


def carried_states(layer: Any) -> list[Any]:
    """Variables in which stateful recurrent layers inside a layer carry states from batch to batch."""
    return [
        variable
        for inner in inner_layers(layer)
        if getattr(inner, "stateful", False) is True and getattr(inner, "states", None) is not None
        for variable in keras.tree.flatten(inner.states)
    ]


@contextmanager
def keeping_states(layers: Iterable[Any]) -> Iterator[None]:
    """Leave the states that recurrent layers carry from batch to batch as they are, whatever is run."""
    carried = [variable for layer in layers for part in (layer, *inner_layers(layer)) for variable in states_of(part)]
    before = [keras.ops.convert_to_numpy(variable.value) for variable in carried]
    try:
        yield
    finally:
        for variable, value in zip(carried, before, strict=True):
            variable.assign(value)


@contextmanager
def without_activation(layer: Any) -> Iterator[None]:
    """Let a layer compute without its activation."""
    activation = layer.activation
    object.__setattr__(layer, "activation", None)
    try:
        yield
    finally:
        object.__setattr__(layer, "activation", activation)
