"""What each Keras layer does to units. The only place that knows stock layers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.behaviours import (
    Behaviour,
    Concatenate,
    Elementwise,
    Flatten,
    Merge,
    Opaque,
    Permute,
    Pinned,
    Positions,
    Weighted,
)
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.reshaping import Reshape
from keras_struct.core.structure.rules import AxisRule, Layout
from keras_struct.core.surgery.activation import mixing_reason
from keras_struct.core.surgery.composite_layers import (
    NamedHandler,
    attention,
    comparing_attention,
    each_step,
    einsum_dense,
    embedding,
    grouped_convolution,
    grouped_query_attention,
    reversible_embedding,
    spectrally_normalized,
)
from keras_struct.core.surgery.preprocessing import SPATIAL, refusals
from keras_struct.core.surgery.products import dot_layer
from keras_struct.core.surgery.reading import ELASTIC, RIGID, RIGID_OUT, channel_axis, from_rules
from keras_struct.core.surgery.recurrent_layers import CELLS, RECURRENT, bidirectional, cell, recurrent

Handler = Callable[[Any, list[Shape], list[Shape]], Behaviour]
"""Takes a layer and the shapes, without batch, of what goes in and comes out in one call."""

_BIAS = AxisRule("bias", 0, "produce")


def stock_handlers() -> dict[type, Handler]:
    """Return a new table of handlers, by class of layer."""
    named: dict[str, Handler] = {**_weighted(), **_normalizations(), **_shapes(), **_entrywise()}
    table = internals.layer_classes(named)
    scaled: Handler = lambda layer, i, o: Weighted(  # noqa: E731
        (AxisRule(layer.gamma.name, 0, "carry", new=layer.init_values, size="projection_dim"),),
        len(o[0]) - 1,
        o[0],
        per_unit=True,
    )
    return {
        **table,
        internals.SCALED_SUM: lambda layer, i, o: Merge(),
        internals.LAYER_SCALE: scaled,
        internals.STOCHASTIC_DEPTH: lambda layer, i, o: Elementwise(),
    }


def composite_handlers(inner: Handler) -> dict[type, NamedHandler]:
    """Return a new table of handlers of layers with several inputs, or with others inside.

    Args:
        inner: What tells the behaviour of a layer inside another.
    """
    named: dict[str, NamedHandler] = {
        **dict.fromkeys(RECURRENT, recurrent),
        **dict.fromkeys(CELLS, cell),
        "Bidirectional": bidirectional,
        "MultiHeadAttention": attention,
        "GroupQueryAttention": grouped_query_attention,
        **dict.fromkeys(("Attention", "AdditiveAttention"), comparing_attention),
        "TimeDistributed": each_step(inner),
        "SpectralNormalization": spectrally_normalized(inner),
    }
    return internals.layer_classes(named)


def _weighted() -> dict[str, Handler]:
    return {
        "Dense": _dense,
        **dict.fromkeys((f"Conv{rank}D" for rank in (1, 2, 3)), _conv),
        **dict.fromkeys((f"Conv{rank}DTranspose" for rank in (1, 2, 3)), _conv_transpose),
        **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
        **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
        "PReLU": _prelu,
        "EinsumDense": einsum_dense,
        "Embedding": embedding,
        "ReversibleEmbedding": reversible_embedding,
    }


def _normalizations() -> dict[str, Handler]:
    scale = {"gamma": 1.0, "beta": 0.0, "scale": 1.0}
    return {
        "BatchNormalization": _batch_normalization,
        "LayerNormalization": _normalization(scale, mixes=True, rigid=RIGID),
        "RMSNormalization": _normalization(scale, mixes=True, rigid=ELASTIC),
        "GroupNormalization": _group_normalization,
        "UnitNormalization": lambda layer, i, o: _mixing(layer, layer.axis, o[0], "normalises over its units"),
        "Softmax": lambda layer, i, o: _mixing(layer, layer.axis, o[0], "mixes its units"),
        "Normalization": _fixed_statistics,
    }


def _shapes() -> dict[str, Handler]:
    kinds = "MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling AdaptiveMaxPooling AdaptiveAveragePooling"
    ranks = [
        f"{kind}{rank}D" for kind in (*kinds.split(), "ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3)
    ]
    return {
        **dict.fromkeys((*ranks, "RepeatVector"), _positions),
        **dict.fromkeys(SPATIAL, lambda layer, i, o: replace(_positions(layer, i, o), rigid=True)),
        "Flatten": lambda layer, i, o: Flatten(layer.data_format == "channels_first"),
        "Reshape": _reshape,
        "Permute": lambda layer, i, o: Permute(tuple(d - 1 for d in layer.dims)),
        "Concatenate": _concatenate,
        "Dot": dot_layer,
        **refusals(),
    }


def _entrywise() -> dict[str, Handler]:
    dropouts = "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout AlphaDropout GaussianNoise"
    plain = f"{dropouts} ActivityRegularization Identity ReLU LeakyReLU ELU".split()
    return {
        **dict.fromkeys(plain, lambda layer, i, o: Elementwise()),
        **dict.fromkeys("Add Subtract Multiply Average Maximum Minimum".split(), lambda layer, i, o: Merge()),
        "Activation": _activation,
        "Rescaling": _rescaling,
        "Masking": lambda layer, i, o: _mixing(layer, -1, o[0], "compares all of its units with mask_value"),
    }


def _dense(layer, inputs, outputs):
    rules = (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units"))
    return from_rules(layer, rules + _bias(layer), outputs[0])


def _bias(layer) -> tuple[AxisRule, ...]:
    return (_BIAS,) if layer.use_bias else ()


def _out_if_biased(layer) -> tuple[str, ...]:
    """Keras reshapes the bias of a convolution by the number of filters that it had when it was traced."""
    return RIGID_OUT if layer.use_bias else ELASTIC


def _conv(layer, inputs, outputs):
    if layer.groups != 1:
        return grouped_convolution(layer, inputs, outputs)
    rank = layer.rank
    rules = (AxisRule("kernel", rank, "consume"), AxisRule("kernel", rank + 1, "produce", size="filters"))
    return from_rules(layer, rules + _bias(layer), outputs[0], _out_if_biased(layer))


def _conv_transpose(layer, inputs, outputs):
    rank = layer.rank
    rules = (AxisRule("kernel", rank + 1, "consume"), AxisRule("kernel", rank, "produce", size="filters"))
    return from_rules(layer, rules + _bias(layer), outputs[0], RIGID_OUT)


def _depthwise(layer, inputs, outputs):
    axis, multiplier = channel_axis(layer, len(outputs[0])), layer.depth_multiplier
    bias = (AxisRule("bias", 0, "carry", Layout(repeat=multiplier)),) if layer.use_bias else ()
    rules = (AxisRule("kernel", layer.rank, "carry", new="existing"), *bias)
    rigid = RIGID if layer.use_bias else ELASTIC
    return Weighted(rules, axis, outputs[0], multiplier=multiplier, mixes=mixing_reason(layer), rigid=rigid)


def _separable(layer, inputs, outputs):
    rank, repeat = layer.rank, Layout(repeat=layer.depth_multiplier)
    rules = (
        AxisRule("depthwise_kernel", rank, "carry", new="existing"),
        AxisRule("pointwise_kernel", rank, "consume", repeat),
        AxisRule("pointwise_kernel", rank + 1, "produce", size="filters"),
    )
    return from_rules(layer, rules + _bias(layer), outputs[0], _out_if_biased(layer))


def _prelu(layer, inputs, outputs):
    rank = len(outputs[0])
    shared = {a % (rank + 1) for a in (layer.shared_axes or ())}
    own = [a for a in range(rank) if a + 1 not in shared]
    channel = rank - 1 if rank - 1 in own or not own else own[0]
    start = layer.alpha_initializer
    new = float(start.value) if isinstance(start, keras.initializers.Constant) else 0.0
    rules = (AxisRule("alpha", channel, "carry", new=new),) if channel in own else ()
    return Weighted(rules, channel, outputs[0], per_unit=True)


def _normalization(variables: dict[str, float], mixes: bool, rigid: tuple[str, ...], multiple: int = 1) -> Handler:
    """A normalisation layer with one entry of each variable a unit."""

    def handler(layer, inputs, outputs):
        axis = layer.axis[0] if isinstance(layer.axis, list | tuple) and len(layer.axis) == 1 else layer.axis
        if isinstance(axis, list | tuple):
            return Opaque(f"layer '{layer.name}' normalises over several axes at once", tuple(outputs))
        held = {variable.name for variable in layer.variables}
        rules = tuple(AxisRule(name, 0, "carry", new=new) for name, new in variables.items() if name in held)
        reason = f"layer '{layer.name}' ({type(layer).__name__}) normalises over its units" if mixes else None
        place = _without_batch(axis, outputs[0])
        return Weighted(rules, place, outputs[0], mixes=reason, rigid=rigid, multiple=multiple, per_unit=not mixes)

    return handler


def _batch_normalization(layer, inputs, outputs):
    """Keras reshapes the statistics by their number unless the axis is called -1."""
    held = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    return _normalization(held, mixes=False, rigid=ELASTIC if layer.axis == -1 else RIGID)(layer, inputs, outputs)


def _group_normalization(layer, inputs, outputs):
    scale = {"gamma": 1.0, "beta": 0.0}
    if layer.groups == outputs[0][_without_batch(layer.axis, outputs[0])] != 1:
        each = _normalization(scale, mixes=False, rigid=RIGID)(layer, inputs, outputs)
        return replace(cast("Weighted", each), size="groups", per_unit=False)
    return _normalization(scale, mixes=True, rigid=RIGID, multiple=layer.groups)(layer, inputs, outputs)


def _fixed_statistics(layer, inputs, outputs):
    return Pinned(
        f"layer '{layer.name}' (Normalization) holds the mean and variance of data that it was adapted to, and has none "
        "for other units; normalise with BatchNormalization here, or in front of the first layer that makes units",
        outputs[0],
    )


def _mixing(layer, axis, shape, what):
    axes = axis if isinstance(axis, list | tuple) else (axis,)
    places = tuple(_without_batch(a, shape) for a in axes)
    return Elementwise((f"layer '{layer.name}' ({type(layer).__name__}) {what}", places))


def _without_batch(axis: int, shape: Shape) -> int:
    return axis % (len(shape) + 1) - 1


def _activation(layer, inputs, outputs):
    reason = mixing_reason(layer)
    return Elementwise((reason, (-1,)) if reason else None)


def _positions(layer, inputs, outputs):
    return Positions(channel_axis(layer, len(inputs[0])), outputs[0], channel_axis(layer, len(outputs[0])))


def _rescaling(layer, inputs, outputs):
    if all(np.size(value) == 1 for value in (layer.scale, layer.offset)):
        return Elementwise()
    return Pinned(f"layer '{layer.name}' (Rescaling) scales each unit by a number of its own", outputs[0])


def _reshape(layer, inputs, outputs):
    open_axes = [axis for axis, extent in enumerate(layer.target_shape) if extent == -1]
    return Reshape(inputs[0], outputs[0], open_axes[0] if open_axes else None)


def _concatenate(layer, inputs, outputs):
    if layer.axis == 0:
        return Opaque(f"layer '{layer.name}' concatenates samples, not units", tuple(outputs))
    return Concatenate(_without_batch(layer.axis, outputs[0]))
