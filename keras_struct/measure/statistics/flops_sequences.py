"""Floating point operations of recurrent and attention layers, of `EinsumDense` and of wrappers around sequences."""

from __future__ import annotations

from math import prod

from keras_struct.measure.statistics.flops_layers import SOFTMAX, activation_flops, channels
from keras_struct.measure.statistics.layer_calls import LayerCall, Rule, Shape


def einsum_flops(equation: str, inputs: tuple[Shape, ...], output: Shape) -> int:
    """Operations of a product of arrays: for each combination of indices the products, and an addition if summed.

    Args:
        equation: Such as `"ab,bc->ac"`; both sides may have an ellipsis, and the right side may be implied.
        inputs: Shapes of the arrays that are known, the first ones of the equation.
        output: Shape of the result.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        names = left.replace(",", "").replace(".", "")
        right = "..." * ("..." in left) + "".join(sorted(name for name in set(names) if names.count(name) == 1))
    extents: dict[str, int] = {}
    for term, shape in zip((*terms[: len(inputs)], right), (*inputs, output), strict=True):
        extents |= _index_extents(term, shape)
    summed = set(extents) - set(_index_extents(right, output))
    return (len(terms) - 1 + bool(summed)) * prod(extents.values())


def _index_extents(term: str, shape: Shape) -> dict[str, int]:
    """Extent of each index of one term; the axes of an ellipsis are numbered from the last."""
    before, dots, after = term.partition("...")
    names = list(before)
    if dots:
        names += [f"...{i}" for i in reversed(range(len(shape) - len(before) - len(after)))]
    return dict(zip((*names, *after), shape, strict=True))


def _einsum_dense(call: LayerCall) -> int:
    layer, output = call.layer, call.outputs[0]
    bias = prod(output) if layer.bias_axes else 0
    products = einsum_flops(layer.equation, call.inputs[:1], output)
    return products + bias + activation_flops(layer.activation, output, call.of)


def _time_distributed(call: LayerCall) -> int:
    batch, steps, *rest = call.inputs[0]
    return steps * call.of(call.layer.layer, (batch, *rest))


def _bidirectional(call: LayerCall) -> int:
    """Both directions, and how their outputs are merged."""
    layer = call.layer
    merging = {"sum": 1, "mul": 1, "ave": 2}.get(layer.merge_mode, 0)
    directions = (layer.forward_layer, layer.backward_layer)
    return sum(call.of(each, call.inputs[0]) for each in directions) + merging * prod(call.outputs[0])


def _recurrent(call: LayerCall) -> int:
    """The cell, once for each step."""
    batch, steps, *features = call.inputs[0]
    return steps * call.of(call.layer.cell, (batch, *features))


def _stacked_cells(call: LayerCall) -> int:
    total, (batch, *features) = 0, call.inputs[0]
    for cell in call.layer.cells:
        total += call.of(cell, (batch, *features))
        features = [_output_size(cell)]
    return total


def _output_size(cell) -> int:
    """Features that a cell hands to the next one."""
    from keras_struct.core.backend import keras_internals

    size = keras_internals.output_size_of(cell)
    size = cell.state_size if size is None else size
    return size[0] if isinstance(size, list | tuple) else size


def _cell(gates: int, sums: int, biases: int, arithmetic: int) -> Rule:
    """A recurrent cell: for each unit two dot products a gate, then so many operations."""

    def count(call: LayerCall) -> int:
        (batch, features), units = call.inputs[0], call.layer.units
        extra = sums + biases * bool(call.layer.use_bias) + arithmetic
        return batch * units * (2 * gates * (features + units) + extra)

    return count


def _gru_cell(call: LayerCall) -> int:
    """Three gates; `reset_after` has a second bias."""
    return _cell(gates=3, sums=3, biases=6 if call.layer.reset_after else 3, arithmetic=5)(call)


def _convolutional_lstm(call: LayerCall) -> int:
    """As the LSTM's, with convolutions for the dot products; that of the state keeps its size."""
    layer, (batch, steps, *frame) = call.layer, call.inputs[0]
    space = call.outputs[0][2:] if layer.return_sequences else call.outputs[0][1:]
    fan_in = prod(layer.kernel_size) * (channels(layer, (batch, *frame)) + layer.filters)
    return batch * steps * prod(space) * (2 * 4 * fan_in + 4 + 4 * bool(layer.use_bias) + 4)


def scaled_products(pairs: int, key_dim: int, value_dim: int) -> int:
    """Scores, their scaling, softmax, and the weighted sum of the values, for so many pairs of query and key."""
    return pairs * (2 * key_dim + 1 + SOFTMAX + 2 * value_dim)


def _multi_head_attention(call: LayerCall) -> int:
    layer, query, value = call.layer, *call.inputs[:2]
    (key,) = call.arguments.get("key", (value,))
    keys, values = layer.num_heads * layer.key_dim, layer.num_heads * layer.value_dim
    axes = layer.attention_axes or range(1, len(query) - 1)
    axes = (axes,) if isinstance(axes, int) else axes
    pairs = prod(query[:-1]) * prod(value[axis] for axis in axes) * layer.num_heads
    products = scaled_products(pairs, layer.key_dim, layer.value_dim)
    return products + _projections(call, layer.get_config(), ((query, keys), (key, keys), (value, values)), values)


def _grouped_query_attention(call: LayerCall) -> int:
    layer, query, value = call.layer, *call.inputs[:2]
    outer, inner = layer.num_query_heads * layer.head_dim, layer.num_key_value_heads * layer.head_dim
    pairs = prod(query[:-1]) * value[1] * layer.num_query_heads
    (key,) = call.arguments.get("key", (value,))
    products = scaled_products(pairs, layer.head_dim, layer.head_dim)
    return products + _projections(call, layer.get_config(), ((query, outer), (key, inner), (value, inner)), outer)


def _projections(call: LayerCall, config: dict, heads: tuple[tuple[Shape, int], ...], attended: int) -> int:
    """Projections into the heads, out of them, and the gate where there is one, with their biases."""
    output, bias = call.outputs[0], bool(config["use_bias"])
    total = sum(prod(shape[:-1]) * width * (2 * shape[-1] + bias) for shape, width in heads)
    if config.get("use_gate", False):
        query = heads[0][0]
        total += prod(query[:-1]) * attended * (2 * query[-1] + bias + 1)
    return total + prod(output) * (2 * attended + bias)


def _attention(call: LayerCall) -> int:
    """Dot-product attention without projections; `score_mode="concat"` adds, squashes and sums instead."""
    layer, query, value = call.layer, *call.inputs[:2]
    pairs, scale = prod(query[:-1]) * value[-2], bool(layer.use_scale)
    score = 2 * query[-1] + scale if layer.score_mode == "dot" else (2 + scale) * query[-1]
    return pairs * (score + SOFTMAX + 2 * value[-1])


def _additive_attention(call: LayerCall) -> int:
    query, value = call.inputs[:2]
    score = (2 + bool(call.layer.use_scale)) * query[-1] - 1
    return prod(query[:-1]) * value[-2] * (score + SOFTMAX + 2 * value[-1])


RULES: dict[str, Rule] = {
    "EinsumDense": _einsum_dense,
    "TimeDistributed": _time_distributed,
    "Bidirectional": _bidirectional,
    "RNN": _recurrent,
    "StackedRNNCells": _stacked_cells,
    "SimpleRNNCell": _cell(gates=1, sums=1, biases=1, arithmetic=0),
    "LSTMCell": _cell(gates=4, sums=4, biases=4, arithmetic=4),
    "GRUCell": _gru_cell,
    **{f"ConvLSTM{rank}D": _convolutional_lstm for rank in (1, 2, 3)},
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _grouped_query_attention,
    "Attention": _attention,
    "AdditiveAttention": _additive_attention,
}
