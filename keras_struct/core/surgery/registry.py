"""What each operation of a network does to units: stock layers, layers of one's own, operations of `keras.ops`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_facts import with_inner_layers
from keras_struct.core.structure.behaviours import Behaviour, Opaque
from keras_struct.core.structure.capabilities import HasUnitBehaviour, HasUnitRules, Rigid
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule
from keras_struct.core.surgery.activation import MIXING_CLASSES, locking_reason
from keras_struct.core.surgery.composite_layers import NamedHandler
from keras_struct.core.surgery.operations import operation_behaviour
from keras_struct.core.surgery.own_rules import from_own_rules
from keras_struct.core.surgery.reading import ELASTIC, RIGID
from keras_struct.core.surgery.stock_layers import Handler, composite_handlers, stock_handlers

_HANDLERS: dict[type, Handler] = stock_handlers()
_OWN: dict[type, tuple[Callable[[Any], Any], tuple[str, ...]]] = {}
_COMPOSITES: dict[type, NamedHandler] = composite_handlers(lambda layer, i, o: behaviour_of(layer, i, o))


def register_unit_rules(
    layer_class: type,
    unit_rules: Callable[[Any], tuple[AxisRule, ...]],
    elastic: bool = False,
    mixes: str | None = None,
) -> None:
    """Teach the library how a layer of your own uses units.

    Args:
        layer_class: The class itself; subclasses must be registered too, since they can compute anything.
        unit_rules: Takes a layer and returns its `AxisRule`s. A layer with a rule of role `"produce"` makes units, which are
            those of an input if a rule says so (`AxisRule(..., "produce", tied_to="input")`); one without any such rule passes
            units on entry by entry. Of several inputs, those that no rule of role `"consume"` names
            (`AxisRule(..., tied_to=1)`) meet entry by entry in a layer that passes units on, and must hold none in one that
            makes units. Units lie on the last axis, or on the first one behind the batch for a layer with
            `data_format="channels_first"`. Rules that do not fit a layer are refused when a model with it is read.
        elastic: Whether the layer's `call` works when the number of units is unknown at tracing time, so that edits
            need no re-trace on TensorFlow.
        mixes: What the layer does with all of its units together, so that no edit of them can keep the function, such as
            `"normalises over its units"`; `None` if each output depends on what the rules say alone.

    Raises:
        TypeError: If `layer_class` is not a layer class, or `unit_rules` not a function.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise TypeError(f"Cannot register unit rules for {layer_class!r}: expected a subclass of keras.layers.Layer.")
    if not callable(unit_rules):
        raise TypeError(
            f"`unit_rules` of {layer_class.__name__} must be a function that takes a layer and returns its AxisRules: "
            f"lambda layer: (AxisRule(...), ...). Received: {unit_rules!r}"
        )
    _OWN[layer_class] = (unit_rules, ELASTIC if elastic else RIGID)
    if mixes is not None:
        MIXING_CLASSES[layer_class] = mixes
    else:
        MIXING_CLASSES.pop(layer_class, None)


def own_rules(layer: Any) -> Any:
    """What was registered for a layer as its unit rules, or else it gives by itself."""
    registered = _OWN.get(type(layer))
    return layer.unit_rules() if registered is None else registered[0](layer)


@contextmanager
def temporary_rules(layer_class: type, rules: tuple[AxisRule, ...]) -> Iterator[None]:
    """Let the layers of a class have other unit rules, inside the context only."""
    before = _OWN.get(layer_class)
    _OWN[layer_class] = (lambda layer: rules, RIGID)
    try:
        yield
    finally:
        del _OWN[layer_class]
        if before is not None:
            _OWN[layer_class] = before


def knows_arguments(operation: Any) -> bool:
    """Whether the behaviour of a layer says what becomes of every tensor that is passed, also by keyword."""
    kind = type(operation)
    own = kind in _OWN or (kind not in _HANDLERS and isinstance(operation, HasUnitRules))
    return kind in _COMPOSITES or (own and not isinstance(operation, HasUnitBehaviour))


def behaviour_of(
    operation: Any,
    inputs: list[Shape],
    outputs: list[Shape],
    arguments: Sequence[Any] = (),
    names: Sequence[str] | None = None,
) -> Behaviour:
    """Return what one call does to units; `Opaque` when no rule says it.

    Args:
        operation: A layer, or an operation of `keras.ops`.
        inputs: Shapes, without batch, of the tensors that go in.
        outputs: Shapes of those that come out.
        arguments: Everything that is passed to the call, symbolic tensors and others.
        names: For each tensor that goes in, the parameter that it is passed for; by default one tensor is passed.
    """
    if not isinstance(operation, keras.layers.Layer):
        return operation_behaviour(operation, inputs, outputs, arguments)
    if (reason := _adapted(operation) or locking_reason(operation)) is not None:
        return Opaque(reason, tuple(outputs))
    if (own := _OWN.get(type(operation))) is not None:
        return from_own_rules(operation, own_rules(operation), inputs, outputs, own[1], names)
    if (handler := _HANDLERS.get(type(operation))) is not None:
        return handler(operation, inputs, outputs)
    if (composite := _COMPOSITES.get(type(operation))) is not None:
        return composite(operation, inputs, outputs, ["inputs"] if names is None else names)
    if isinstance(operation, HasUnitBehaviour):
        return operation.unit_behaviour(inputs, outputs)
    if isinstance(operation, HasUnitRules):
        rigid = operation.rigid if isinstance(operation, Rigid) else ELASTIC
        return from_own_rules(operation, own_rules(operation), inputs, outputs, rigid, names)
    return Opaque(
        f"no unit rule is registered for '{type(operation).__name__}' (layer '{operation.name}'); say how it uses units "
        "with keras_struct.register_unit_rules or a method unit_rules()",
        tuple(outputs),
    )


def _adapted(layer: Any) -> str | None:
    for each in with_inner_layers(layer):
        if internals.has_lora(each):
            return (
                f"layer '{each.name}' has LoRA weights; merge them before structural training: save_weights() writes the "
                "merged kernel, and load_weights() gives it to a model that was built without LoRA"
            )
        if each.quantization_mode is not None:
            return f"layer '{each.name}' is quantised ({each.quantization_mode}); quantise after structural training"
    return None
