"""Floating point operations of the layers of Keras that act on one position, patch or vector at a time.

Each rule maps a `LayerCall` to the operations of that call at inference. A multiplication and an addition are one
operation each. `flops` tells the whole convention.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from keras_struct.measure.statistics.layer_calls import LayerCall, Rule, Shape

SOFTMAX = 5  # an entry: maximum, difference, exponential, sum, quotient; as TensorFlow's profiler has it


def activation_flops(activation: Any, shape: Shape, of: Callable[..., int]) -> int:
    """Operations of an activation on a tensor of `shape`: softmax counts, what acts on single entries is free."""
    import keras

    if isinstance(activation, keras.layers.Layer):
        return of(activation, shape)
    softmaxes = (keras.activations.softmax, keras.activations.log_softmax)
    return SOFTMAX * prod(shape) if activation in softmaxes else 0


def channels(layer: Any, shape: Shape) -> int:
    """Extent of the channel axis of a tensor that `layer` works on."""
    return shape[1] if layer.data_format == "channels_first" else shape[-1]


def _finish(call: LayerCall) -> int:
    """Bias and activation of a layer that has both."""
    entries = prod(call.outputs[0])
    return entries * bool(call.layer.use_bias) + activation_flops(call.layer.activation, call.outputs[0], call.of)


def _dense(call: LayerCall) -> int:
    return 2 * call.inputs[0][-1] * prod(call.outputs[0]) + _finish(call)


def _convolution(call: LayerCall) -> int:
    """Every output entry is a sum over the kernel's positions and the input channels of its group."""
    layer = call.layer
    fan_in = prod(layer.kernel_size) * (channels(layer, call.inputs[0]) // layer.groups)
    return 2 * fan_in * prod(call.outputs[0]) + _finish(call)


def expanded_convolution(call: LayerCall) -> int:
    """Operations of a plain convolution with all input channels; expanding a kernel once for all samples is not counted."""
    fan_in = prod(call.layer.kernel_size) * channels(call.layer, call.inputs[0])
    return 2 * fan_in * prod(call.outputs[0]) + _finish(call)


def _transposed_convolution(call: LayerCall) -> int:
    """Every input entry goes to the kernel's positions and all output channels."""
    fan_out = prod(call.layer.kernel_size) * channels(call.layer, call.outputs[0])
    return 2 * fan_out * prod(call.inputs[0]) + _finish(call)


def _depthwise_convolution(call: LayerCall) -> int:
    return 2 * prod(call.layer.kernel_size) * prod(call.outputs[0]) + _finish(call)


def _separable_convolution(call: LayerCall) -> int:
    """A depthwise convolution, then a convolution with kernels of size one."""
    layer, entries = call.layer, prod(call.outputs[0])
    between = channels(layer, call.inputs[0]) * layer.depth_multiplier
    positions = entries // channels(layer, call.outputs[0])
    return 2 * prod(layer.kernel_size) * positions * between + 2 * between * entries + _finish(call)


def _each_input(count: int) -> Rule:
    """So many operations for each entry of the input."""
    return lambda call: count * prod(call.inputs[0])


def _normalization(moments: int) -> Rule:
    """The moments of the input, the normalisation, and for each entry the learned scale and offset, where there are."""

    def count(call: LayerCall) -> int:
        from keras_struct.core.backend import keras_internals

        layer = call.layer
        centered = bool(layer.center) and not keras_internals.normalizes_by_mean_square(layer)
        learned = int(bool(layer.scale)) + int(centered)
        return (moments + learned) * prod(call.inputs[0])

    return count


def _activation(call: LayerCall) -> int:
    return activation_flops(call.layer.activation, call.outputs[0], call.of)


def _pooling(call: LayerCall) -> int:
    return prod(call.layer.pool_size) * prod(call.outputs[0])


def _merge(call: LayerCall) -> int:
    """One operation for each entry and each input after the first."""
    return (len(call.inputs) - 1) * prod(call.outputs[0])


def _average(call: LayerCall) -> int:
    return len(call.inputs) * prod(call.outputs[0])


def _dot(call: LayerCall) -> int:
    axes = call.layer.axes
    axis = axes if isinstance(axes, int) else axes[0]
    return 2 * call.inputs[0][axis] * prod(call.outputs[0])


def _embedding(call: LayerCall) -> int:
    """A look-up is free; the reverse of a reversible embedding (same rank) is a matrix product."""
    given, result = call.inputs[0], call.outputs[0]
    return 2 * given[-1] * prod(result) if len(given) == len(result) else 0


def _wrapped(call: LayerCall) -> int:
    return call.of(call.layer.layer, *call.inputs)


def _for_ranks(name: str, rule: Rule) -> dict[str, Rule]:
    return {name.format(rank): rule for rank in ("1D", "2D", "3D")}


FREE = """Identity InputLayer Masking Flatten Reshape Permute RepeatVector Concatenate
Cropping1D Cropping2D Cropping3D ZeroPadding1D ZeroPadding2D ZeroPadding3D UpSampling1D UpSampling2D UpSampling3D
Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout
ActivityRegularization ReLU LeakyReLU ELU""".split()

RULES: dict[str, Rule] = {
    **dict.fromkeys(FREE, _each_input(0)),
    "Dense": _dense,
    **_for_ranks("Conv{}", _convolution),
    **_for_ranks("Conv{}Transpose", _transposed_convolution),
    **_for_ranks("DepthwiseConv{}", _depthwise_convolution),
    **_for_ranks("SeparableConv{}", _separable_convolution),
    "BatchNormalization": _each_input(2),  # at inference one factor and one offset a channel
    "LayerNormalization": _normalization(moments=6),
    "GroupNormalization": _each_input(6),  # scale and offset are folded into those of the normalisation
    "RMSNormalization": _each_input(4),
    "UnitNormalization": _each_input(3),
    "Normalization": _each_input(2),
    "Rescaling": _each_input(2),
    "SpectralNormalization": _wrapped,
    "PReLU": _each_input(3),  # relu(x) - alpha * relu(-x)
    "Softmax": _each_input(SOFTMAX),
    "Activation": _activation,
    **_for_ranks("MaxPooling{}", _pooling),
    **_for_ranks("AveragePooling{}", _pooling),
    **_for_ranks("GlobalMaxPooling{}", _each_input(1)),
    **_for_ranks("GlobalAveragePooling{}", _each_input(1)),
    **_for_ranks("AdaptiveMaxPooling{}", _each_input(1)),
    **_for_ranks("AdaptiveAveragePooling{}", _each_input(1)),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Maximum", "Minimum"), _merge),
    "Average": _average,
    "Dot": _dot,
    "Embedding": _embedding,
}
