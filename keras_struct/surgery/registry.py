"""What each Keras layer does to units. The only place that knows stock layers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_struct.structure.behaviours import (
    Behaviour,
    Concatenate,
    Elementwise,
    Flatten,
    Merge,
    Opaque,
    Permute,
    Positions,
    Reshape,
    Weighted,
)
from keras_struct.structure.labels import Shape
from keras_struct.structure.rules import AxisRule, Layout

Handler = Callable[[Any, list[Shape], list[Shape]], Behaviour]
"""Takes a layer and the shapes, without batch, of what goes in and comes out in one call."""

_HANDLERS: dict[type, Handler] = {}
_RIGID: tuple[tuple[str, ...], ...] = ((), ("in", "out"))


def register_unit_rules(
    layer_class: type, unit_rules: Callable[[Any], tuple[AxisRule, ...]], elastic: bool = False
) -> None:
    """Teach the library how a layer of your own uses units.

    Args:
        layer_class: The class itself; subclasses must be registered too, since they can compute anything.
        unit_rules: Takes a layer and returns its `AxisRule`s. A layer with a rule of role `"produce"` makes units; one
            without any rule passes units on entry by entry. Units lie on the last axis, or on the first one behind the
            batch for a layer with `data_format="channels_first"`.
        elastic: Whether the layer's `call` works when the number of units is unknown at tracing time, so that edits
            need no re-trace on TensorFlow.

    Raises:
        TypeError: If `layer_class` is not a layer class.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise TypeError(f"Cannot register unit rules for {layer_class!r}: expected a subclass of keras.layers.Layer.")
    _HANDLERS[layer_class] = lambda layer, ins, outs: from_rules(
        layer, tuple(unit_rules(layer)), outs[0], _RIGID[not elastic]
    )


def behaviour_of(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """Return what one call of `layer` does to units; `Opaque` when nobody taught it."""
    handler = _HANDLERS.get(type(layer))
    if (reason := _adapted(layer)) is not None:
        return Opaque(reason, tuple(outputs))
    if handler is not None:
        return handler(layer, inputs, outputs)
    if hasattr(layer, "unit_rules"):
        return from_rules(layer, tuple(layer.unit_rules()), outputs[0])
    return Opaque(
        f"nobody taught how '{type(layer).__name__}' (layer '{getattr(layer, 'name', '?')}') uses units; "
        "teach it with keras_struct.register_unit_rules",
        tuple(outputs),
    )


def from_rules(layer: Any, rules: tuple[AxisRule, ...], output: Shape, rigid: tuple[str, ...] = ()) -> Behaviour:
    """Behaviour of a layer with one unit axis, from its rules."""
    size = next((rule.size for rule in rules if rule.role == "produce" and rule.size), None)
    produces = any(rule.role == "produce" for rule in rules)
    axis = channel_axis(layer, len(output))
    units = (int(getattr(layer, size)) if size else output[axis]) if produces else None
    mixes = _mixing_reason(layer)
    return Weighted(rules, axis, output, units=units, mixes=mixes, rigid=rigid)


def channel_axis(layer: Any, rank: int) -> int:
    """Axis, without batch, along which a layer's channels lie."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return 0 if first else rank - 1


def _adapted(layer: Any) -> str | None:
    if getattr(layer, "lora_enabled", False):
        return f"layer '{layer.name}' has LoRA weights; merge them before structural training"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"layer '{layer.name}' is quantised ({layer.quantization_mode}); quantise after structural training"
    return None


def _mixing_reason(layer: Any) -> str | None:
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return f"the activation {name} of layer '{layer.name}' mixes its units" if name in _MIXING_ACTIVATIONS else None


_MIXING_ACTIVATIONS = {"softmax", "log_softmax", "sparsemax"}
_HALVING_ACTIVATIONS = {"glu"}

_BIAS = AxisRule("bias", 0, "produce")


def _dense(layer, inputs, outputs):
    rules = (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units"))
    return _checked(layer, outputs, from_rules(layer, rules + _bias(layer), outputs[0]))


def _conv(layer, inputs, outputs):
    if layer.groups != 1:
        return Opaque(f"layer '{layer.name}' is a grouped convolution, whose units cannot be edited", tuple(outputs))
    rank = layer.rank
    rules = (AxisRule("kernel", rank, "consume"), AxisRule("kernel", rank + 1, "produce", size="filters"))
    return _checked(
        layer,
        outputs,
        from_rules(layer, rules + _bias(layer), outputs[0], _RIGID[0] if not layer.use_bias else ("out",)),
    )


def _conv_transpose(layer, inputs, outputs):
    rank = layer.rank
    rules = (AxisRule("kernel", rank + 1, "consume"), AxisRule("kernel", rank, "produce", size="filters"))
    return _checked(layer, outputs, from_rules(layer, rules + _bias(layer), outputs[0], _RIGID[1]))


def _depthwise(layer, inputs, outputs):
    axis, multiplier = channel_axis(layer, len(outputs[0])), layer.depth_multiplier
    bias = (AxisRule("bias", 0, "carry", Layout(repeat=multiplier)),) if layer.use_bias else ()
    rules = (AxisRule("kernel", layer.rank, "carry"), *bias)
    behaviour = Weighted(rules, axis, outputs[0], multiplier=multiplier, mixes=_mixing_reason(layer), rigid=_RIGID[1])
    return _checked(layer, outputs, behaviour)


def _separable(layer, inputs, outputs):
    rank, repeat = layer.rank, Layout(repeat=layer.depth_multiplier)
    rules = (
        AxisRule("depthwise_kernel", rank, "carry"),
        AxisRule("pointwise_kernel", rank, "consume", repeat),
        AxisRule("pointwise_kernel", rank + 1, "produce", size="filters"),
    )
    return _checked(layer, outputs, from_rules(layer, rules + _bias(layer), outputs[0], _RIGID[1]))


def _bias(layer) -> tuple[AxisRule, ...]:
    return (_BIAS,) if layer.use_bias else ()


def _checked(layer, outputs, behaviour):
    """Refuse activations that change the number of units."""
    if getattr(getattr(layer, "activation", None), "__name__", "") in _HALVING_ACTIVATIONS:
        return Opaque(f"the activation of layer '{layer.name}' halves its units", tuple(outputs))
    return behaviour


def _normalization(variables: dict[str, float], mixes: bool, elastic: bool, multiple: int = 1) -> Handler:
    """A normalisation layer with one entry of each variable a unit."""

    def handler(layer, inputs, outputs):
        axis = layer.axis[0] if isinstance(layer.axis, list | tuple) and len(layer.axis) == 1 else layer.axis
        if isinstance(axis, list | tuple):
            return Opaque(f"layer '{layer.name}' normalises over several axes at once", tuple(outputs))
        axis = axis % (len(outputs[0]) + 1) - 1
        held = {variable.name for variable in layer.variables}
        rules = tuple(AxisRule(name, 0, "carry", new=new) for name, new in variables.items() if name in held)
        reason = f"layer '{layer.name}' ({type(layer).__name__}) normalises over its units" if mixes else None
        return Weighted(
            rules, axis, outputs[0], mixes=reason, rigid=_RIGID[not elastic], multiple=multiple, per_unit=not mixes
        )

    return handler


def _group_normalization(layer, inputs, outputs):
    if layer.groups == outputs[0][channel_axis(layer, len(outputs[0]))] != 1:
        return Opaque(f"layer '{layer.name}' has a fixed number of groups, one for each unit", tuple(outputs))
    scale = {"gamma": 1.0, "beta": 0.0}
    return _normalization(scale, mixes=True, elastic=False, multiple=layer.groups)(layer, inputs, outputs)


def _unit_normalization(layer, inputs, outputs):
    axis = layer.axis if isinstance(layer.axis, int) else (layer.axis[0] if len(layer.axis) == 1 else None)
    if axis is None:
        return Opaque(f"layer '{layer.name}' normalises over several axes at once", tuple(outputs))
    return Elementwise((f"layer '{layer.name}' normalises over its units", axis % (len(outputs[0]) + 1) - 1))


def _prelu(layer, inputs, outputs):
    rank = len(outputs[0])
    shared = {a % (rank + 1) for a in (layer.shared_axes or ())}
    own = [a for a in range(rank) if a + 1 not in shared]
    channel = rank - 1 if rank - 1 in own or not own else own[0]
    rules = (AxisRule("alpha", channel, "carry", new=0.25),) if channel in own else ()
    return Weighted(rules, channel, outputs[0], per_unit=True)


def _softmax(layer, inputs, outputs):
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[-1]
    return Elementwise((f"layer '{layer.name}' (Softmax) mixes its units", axis % (len(outputs[0]) + 1) - 1))


def _activation(layer, inputs, outputs):
    reason = _mixing_reason(layer)
    if getattr(layer.activation, "__name__", "") in _HALVING_ACTIVATIONS:
        return Opaque(f"the activation of layer '{layer.name}' halves its units", tuple(outputs))
    return Elementwise((reason, -1) if reason else None)


def _positions(layer, inputs, outputs):
    source = channel_axis(layer, len(inputs[0]))
    return Positions(source, outputs[0], channel_axis(layer, len(outputs[0])))


def _positions_last(layer, inputs, outputs):
    return Positions(len(inputs[0]) - 1, outputs[0], len(outputs[0]) - 1)


def _elementwise(layer, inputs, outputs):
    return Elementwise()


def _rescaling(layer, inputs, outputs):
    plain = all(not hasattr(value, "__len__") or len(value) == 1 for value in (layer.scale, layer.offset))
    return (
        Elementwise() if plain else Opaque(f"layer '{layer.name}' scales each unit by its own number", tuple(outputs))
    )


def _merge(layer, inputs, outputs):
    return Merge()


def _concatenate(layer, inputs, outputs):
    return Concatenate(layer.axis - 1 if layer.axis > 0 else layer.axis % (len(outputs[0]) + 1) - 1)


def _register_stock_layers() -> None:
    layers = keras.layers
    _HANDLERS[layers.Dense] = _dense
    for rank in ("1D", "2D", "3D"):
        _HANDLERS[getattr(layers, f"Conv{rank}")] = _conv
        _HANDLERS[getattr(layers, f"Conv{rank}Transpose")] = _conv_transpose
        names = ("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling", "ZeroPadding", "Cropping")
        for name in (*names, "UpSampling", "SpatialDropout"):
            _HANDLERS[getattr(layers, f"{name}{rank}")] = _positions
    for name in ("ZeroPadding1D", "Cropping1D", "UpSampling1D", "RepeatVector"):
        _HANDLERS[getattr(layers, name)] = _positions_last
    for name in ("DepthwiseConv1D", "DepthwiseConv2D"):
        _HANDLERS[getattr(layers, name)] = _depthwise
    for name in ("SeparableConv1D", "SeparableConv2D"):
        _HANDLERS[getattr(layers, name)] = _separable
    for name in ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity"):
        _HANDLERS[getattr(layers, name)] = _elementwise
    for name in ("ReLU", "LeakyReLU", "ELU"):
        _HANDLERS[getattr(layers, name)] = _elementwise
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"):
        _HANDLERS[getattr(layers, name)] = _merge
    for name in ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"):
        _HANDLERS[getattr(layers, name)] = _elementwise
    _HANDLERS[layers.Softmax] = _softmax
    _HANDLERS[layers.Activation] = _activation
    _HANDLERS[layers.PReLU] = _prelu
    _HANDLERS[layers.Concatenate] = _concatenate
    _HANDLERS[layers.Rescaling] = _rescaling
    _HANDLERS[layers.Flatten] = lambda layer, i, o: Flatten(layer.data_format == "channels_first")
    _HANDLERS[layers.Reshape] = lambda layer, i, o: Reshape(o[0])
    _HANDLERS[layers.Permute] = lambda layer, i, o: Permute(tuple(d - 1 for d in layer.dims))
    moving = {
        "moving_mean": 0.0,
        "moving_variance": 1.0,
        "moving_stddev": 1.0,
        "renorm_mean": 0.0,
        "renorm_stddev": 1.0,
    }
    _HANDLERS[layers.BatchNormalization] = _normalization(
        {"gamma": 1.0, "beta": 0.0, **moving}, mixes=False, elastic=True
    )
    scale = {"gamma": 1.0, "beta": 0.0, "scale": 1.0}
    _HANDLERS[layers.LayerNormalization] = _normalization(scale, mixes=True, elastic=False)
    if hasattr(layers, "RMSNormalization"):
        _HANDLERS[layers.RMSNormalization] = _normalization(scale, mixes=True, elastic=False)
    _HANDLERS[layers.GroupNormalization] = _group_normalization
    _HANDLERS[layers.UnitNormalization] = _unit_normalization


_register_stock_layers()
