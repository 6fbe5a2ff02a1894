"""Floating point operations of `keras.ops` in the graph of a model, by the name of the operation's class.

Operations that are not listed are free: they move data, or act on single entries as an activation does.
"""

from __future__ import annotations

from math import isqrt, prod

from keras_struct.measure.statistics.flops_layers import SOFTMAX
from keras_struct.measure.statistics.flops_sequences import einsum_flops, scaled_products
from keras_struct.measure.statistics.layer_calls import LayerCall, Rule

ARITHMETIC = """Add Subtract Multiply Divide TrueDivide FloorDivide Mod Power Maximum Minimum Negative Square
Reciprocal""".split()
REDUCTIONS = "Sum Mean Max Min Amax Amin Prod Argmax Argmin".split()


def _each_output(call: LayerCall) -> int:
    return prod(call.outputs[0])


def _each_input(call: LayerCall) -> int:
    return prod(call.inputs[0])


def _softmax(call: LayerCall) -> int:
    return SOFTMAX * prod(call.outputs[0])


def _matmul(call: LayerCall) -> int:
    return 2 * call.inputs[0][-1] * prod(call.outputs[0])


def _tensordot(call: LayerCall) -> int:
    """The extents that are summed over are what the two shapes have twice and the result has not."""
    first, second = (prod(shape) for shape in call.inputs[:2])
    entries = prod(call.outputs[0])
    return 2 * isqrt(first * second // entries) * entries if entries else 0


def _einsum(call: LayerCall) -> int:
    """A product of three and more arrays is counted as one loop over all indices, whatever order is really taken."""
    return einsum_flops(call.layer.subscripts, call.inputs, call.outputs[0])


def _convolution(call: LayerCall) -> int:
    """The kernel holds its positions and the input channels of a group on all axes but the last."""
    return 2 * prod(call.inputs[1][:-1]) * prod(call.outputs[0])


def _depthwise_convolution(call: LayerCall) -> int:
    return 2 * prod(call.inputs[1][:-2]) * prod(call.outputs[0])


def _transposed_convolution(call: LayerCall) -> int:
    return 2 * prod(call.inputs[1][:-1]) * prod(call.inputs[0])


def _separable_convolution(call: LayerCall) -> int:
    """A depthwise kernel `(..., channels, multiplier)`, a pointwise one `(..., channels x multiplier, filters)`."""
    _, depthwise, (*_, between, filters) = call.inputs
    entries = prod(call.outputs[0])
    return 2 * prod(depthwise) * (entries // filters) + 2 * between * entries


def _pooling(call: LayerCall) -> int:
    size, rank = call.layer.pool_size, len(call.outputs[0]) - 2
    return (size**rank if isinstance(size, int) else prod(size)) * prod(call.outputs[0])


def _attention(call: LayerCall) -> int:
    """Query and key of shape `(batch, length, heads, features)`."""
    query, key, value = call.inputs[:3]
    return scaled_products(prod(query[:-1]) * key[1], query[-1], value[-1])


RULES: dict[str, Rule] = {
    **dict.fromkeys(ARITHMETIC, _each_output),
    **dict.fromkeys(REDUCTIONS, _each_input),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    "Matmul": _matmul,
    "Dot": _matmul,
    "Tensordot": _tensordot,
    "Einsum": _einsum,
    "Conv": _convolution,
    "DepthwiseConv": _depthwise_convolution,
    "ConvTranspose": _transposed_convolution,
    "SeparableConv": _separable_convolution,
    **dict.fromkeys(("MaxPool", "AveragePool"), _pooling),
    "DotProductAttention": _attention,
}
