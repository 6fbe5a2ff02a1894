"""Run a traced network call by call, to see what lies between its layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_struct.backend import keras_internals as internals
from keras_struct.surgery.trace import Network


def run(network: Network, inputs: Any, wanted: Iterable[int]) -> dict[int, Any]:
    """Compute tensors of a network in inference mode.

    Args:
        network: The network.
        inputs: What the model takes: an array `(samples, ...)` or a structure of them.
        wanted: Numbers of the tensors to return.

    Returns:
        The tensors by number.
    """
    missing = set(wanted)
    values: dict[int, Any] = dict(zip(network.graph.input_numbers, _flat(network, inputs), strict=True))
    for call in network.graph.calls:
        if missing <= values.keys():
            break
        values.update(zip(call.outputs, _call(network, call, values), strict=True))
    return {number: values[number] for number in missing}


def _flat(network: Network, inputs: Any) -> list[Any]:
    if isinstance(inputs, Mapping):
        names = network.graph.input_names
        inputs = [inputs[names[number]] for number in network.graph.input_numbers]
    symbols = [network.symbols[number][0] for number in network.graph.input_numbers]
    flat = [
        keras.ops.convert_to_tensor(x, dtype=s.dtype) for x, s in zip(keras.tree.flatten(inputs), symbols, strict=True)
    ]
    return [
        keras.ops.expand_dims(x, -1) if len(x.shape) < len(s.shape) else x for x, s in zip(flat, symbols, strict=True)
    ]


def _call(network: Network, call: Any, values: Mapping[int, Any]) -> list[Any]:
    node = network.nodes[call]
    tensors, _ = internals.node_tensors(node)
    args, kwargs = internals.filled_arguments(
        node, dict(zip(map(id, tensors), (values[i] for i in call.inputs), strict=True))
    )
    if internals.takes_training(node.operation):
        kwargs["training"] = False
    return keras.tree.flatten(node.operation(*args, **kwargs))
