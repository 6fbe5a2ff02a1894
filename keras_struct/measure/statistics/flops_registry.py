"""Which rule counts the floating point operations of which kind of layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from keras_struct.core.structure.capabilities import CountsOperations
from keras_struct.measure.statistics import flops_layers, flops_operations, flops_sequences
from keras_struct.measure.statistics.layer_calls import Rule

_REGISTERED: dict[type, Rule] = {}


def register_flops(layer_class: type, function: Rule | None = None) -> Callable:
    """State how many floating point operations one call of a layer takes.

    The rule holds for `layer_class` and its subclasses, unless a subclass has its own; a second registration replaces
    the first. Without `function`, what is returned decorates it.

    Args:
        layer_class: The class of layers to count.
        function: From a `LayerCall` to the number of operations of that call, for its whole batch, at inference.

    Returns:
        `function`, or a decorator for it.

    Raises:
        TypeError: If `layer_class` is not a class or `function` cannot be called.

    Examples:
        >>> @register_flops(MyProjection)                               # doctest: +SKIP
        ... def count(call):
        ...     return 2 * call.inputs[0][-1] * math.prod(call.outputs[0])
    """
    if not isinstance(layer_class, type):
        raise TypeError(f"register_flops needs a class of layers, not {layer_class!r}; pass its class.")
    if function is None:
        return functools.partial(register_flops, layer_class)
    if not callable(function):
        raise TypeError(f"The rule for {layer_class.__name__} must be a function of one LayerCall, not {function!r}.")
    _REGISTERED[layer_class] = function
    return function


def rule_for(layer: Any) -> Rule | None:
    """The rule of the nearest class that `layer` descends from, or its own method `count_flops`; None where there is none."""
    if type(layer) not in _REGISTERED and isinstance(layer, CountsOperations):
        return layer.count_flops
    stock = _stock_rules()
    for ancestor in type(layer).__mro__:
        rule = _REGISTERED.get(ancestor) or stock.get(ancestor)
        if rule is not None:
            return rule
    return _operation_rule(layer)


@functools.cache
def _stock_rules() -> dict[type, Rule]:
    """Rules of the layers of Keras, by class. Classes that the installed Keras lacks are left out."""
    from keras_struct.core.backend import keras_internals

    return keras_internals.layer_classes(flops_layers.RULES | flops_sequences.RULES)


def _operation_rule(operation: Any) -> Rule | None:
    """The rule of an operation of `keras.ops`; their classes have no public names, so it goes by the class name."""
    if type(operation).__module__.startswith("keras.src.ops."):
        return flops_operations.RULES.get(type(operation).__name__)
    return None
