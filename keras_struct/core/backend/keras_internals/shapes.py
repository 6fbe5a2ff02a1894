"""Shapes that Keras keeps for symbolic tensors, inputs and builds, and arguments that say them."""

from __future__ import annotations

import random
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import StatelessScope

from keras_struct.core.backend.keras_internals.attributes import input_spec_of
from keras_struct.core.backend.keras_internals.layers import own_variables
from keras_struct.core.backend.keras_internals.variables import shape_of


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


def set_build_shapes(layer: Any, shapes: dict[str, Any]) -> None:
    """Replace recorded build shapes of a layer, by the name of the argument of `build`."""
    object.__setattr__(layer, "_build_shapes_dict", shapes)  # Keras would look for variables in them


def loosen_spec(layer: Any) -> None:
    """Let a layer accept inputs of any extents."""
    spec = input_spec_of(layer)
    if spec is not None and spec.axes:
        layer.input_spec = keras.layers.InputSpec(ndim=spec.ndim, min_ndim=spec.min_ndim, dtype=spec.dtype)


def shapes_by_config(layer: Any) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the variables that a layer would have if it were made of its configuration; `None` if that cannot be done.

    The variables get no values, so that nothing large is allocated or drawn.
    """
    state = random.getstate()
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    before = len(waiting)
    try:
        with StatelessScope(initialize_variables=False):
            twin = type(layer).from_config(layer.get_config())
            if (built := layer.get_build_config()) is not None:
                twin.build_from_config(built)
        shapes = {path: shape_of(variable) for path, variable in own_variables(twin, states=False).items()}
        return shapes if twin.built else None
    except Exception:  # whatever a layer's own constructor raises
        return None
    finally:
        del waiting[before:]
        random.setstate(state)  # initializers draw their seeds of it


def set_fact(layer: Any, attribute: str, value: Any) -> None:
    """Set an attribute of a layer, and the argument of that name and number that Keras keeps for where there is no get_config."""
    old, kept = getattr(layer, attribute, None), getattr(layer, "_auto_config", None)
    if isinstance(value, int | tuple):
        object.__setattr__(layer, attribute, value)  # Keras would look for variables in it
    else:
        setattr(layer, attribute, value)
    if kept is not None and isinstance(old, int) and kept.config.get(attribute) == old:
        kept.config[attribute] = value
