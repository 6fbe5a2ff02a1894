"""What layers remember of their sizes beside the weights, brought in line with these after an edit."""

from __future__ import annotations

from math import sqrt
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals

Shape = tuple[int | None, ...]
_CELLS = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)


def with_inner_layers(layer: Any) -> tuple[Any, ...]:
    """A layer and those inside it, all of which decide what it does to units; none for a bare operation."""
    return (layer, *internals.inner_layers(layer)) if isinstance(layer, keras.layers.Layer) else ()


def changeable_facts(layers: tuple[Any, ...]) -> tuple[Any, ...]:
    """What users change of layers that are built, and what they do to units depends on."""
    return tuple(
        (internals.has_lora(layer), layer.quantization_mode, *internals.activations_of(layer)) for layer in layers
    )


def refresh_facts(layer: Any, shape: Shape, unit_axis: int | None) -> None:
    """Bring attributes of a layer, of layers inside it, or of an operation, in line with its weights.

    Args:
        layer: The layer or operation.
        shape: Shape of its first output, without batch.
        unit_axis: The axis of it along which units lie, if any does.
    """
    if isinstance(layer, keras.layers.Reshape):
        _reshape_layer(layer, shape, unit_axis)
    elif isinstance(layer, keras.layers.EinsumDense):
        _einsum_dense(layer, shape)
    elif isinstance(layer, keras.layers.MultiHeadAttention):
        _attention(layer, shape)
    elif isinstance(layer, keras.layers.GroupQueryAttention):
        _grouped_query_attention(layer, shape)
    elif isinstance(layer, keras.layers.SpectralNormalization):
        layer.kernel_shape = layer.kernel.shape
    elif isinstance(layer, keras.layers.TimeDistributed):
        refresh_facts(layer.layer, shape[1:], None if unit_axis is None else unit_axis - 1)
    elif isinstance(layer, keras.layers.Bidirectional):
        for inner in (layer.forward_layer, layer.backward_layer):
            _recurrent(inner)
    elif isinstance(layer, keras.layers.RNN):
        _recurrent(layer)
    elif isinstance(layer, _CELLS):
        _cell(layer)
    elif not isinstance(layer, keras.layers.Layer) and hasattr(layer, "newshape"):
        _reshape_operation(layer, shape, unit_axis)


def _reshape_layer(layer: Any, shape: Shape, unit_axis: int | None) -> None:
    """Let the axis along which units lie take its extent from the input."""
    if unit_axis is not None:
        layer.target_shape = tuple(-1 if i == unit_axis else extent for i, extent in enumerate(shape))


def _reshape_operation(operation: Any, shape: Shape, unit_axis: int | None) -> None:
    if unit_axis is not None and tuple(operation.newshape) != (-1, *shape):
        internals.set_operation_argument(operation, "newshape", (-1, *shape))


def _einsum_dense(layer: Any, shape: Shape) -> None:
    given = layer.partial_output_shape
    last = shape[len(shape) - len(given) :]
    layer.partial_output_shape = tuple(None if old is None else new for old, new in zip(given, last, strict=True))


def _recurrent(layer: Any) -> None:
    cell: Any = getattr(layer, "cell", None)
    cells = getattr(cell, "cells", [cell])
    for each in cells:
        _cell(each)
    if hasattr(cells[0], "kernel") and not isinstance(cell, internals.CONV_LSTM_CELL):
        _rebuilt_with(cell, int(cells[0].kernel.shape[0]))
    if not isinstance(cell, internals.CONV_LSTM_CELL):
        layer.state_size = cell.state_size if isinstance(cell.state_size, list | tuple) else [cell.state_size]


def _rebuilt_with(cell: Any, entering: int) -> None:
    """Correct the shape that a cell will be built with when it is loaded."""
    if recorded := internals.build_shapes(cell):
        internals.set_build_shapes(cell, {key: (*shape[:-1], entering) for key, shape in recorded.items()})


def _cell(cell: Any) -> None:
    if isinstance(cell, internals.CONV_LSTM_CELL):
        cell.kernel_shape = tuple(int(extent) for extent in cell.kernel.shape)
        cell.input_dim = cell.kernel_shape[-2]
        cell.input_spec = keras.layers.InputSpec(ndim=cell.rank + 2)
    elif hasattr(cell, "units"):
        several = isinstance(cell.state_size, list | tuple)
        cell.state_size = [cell.units] * len(cell.state_size) if several else cell.units
        cell.output_size = cell.units
        _rebuilt_with(cell, int(cell.kernel.shape[0]))


def _attention(layer: Any, shape: Shape) -> None:
    layer._inverse_sqrt_key_dim = 1.0 / sqrt(float(layer.key_dim))
    if layer._output_shape or layer.output_dense.kernel.shape[-1] != shape[-1]:
        layer._output_shape = (*(layer._output_shape or ())[:-1], shape[-1])
    _projections(layer, layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)


def _grouped_query_attention(layer: Any, shape: Shape) -> None:
    layer._inverse_sqrt_head_dim = 1.0 / sqrt(float(layer.head_dim))
    layer.feature_dim = shape[-1]
    _projections(layer, layer._query_dense, layer._key_dense, layer._value_dense, layer._output_dense)


def _projections(layer: Any, *projections: Any) -> None:
    *inward, outward = projections
    for dense in inward:
        heads, size = (int(extent) for extent in dense.kernel.shape[-2:])
        _einsum_dense(dense, (*(None,) * len(dense.partial_output_shape), heads, size))
    _einsum_dense(outward, (*(None,) * len(outward.partial_output_shape), int(outward.kernel.shape[-1])))
