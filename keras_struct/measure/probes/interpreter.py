"""Run a traced network call by call, to see what lies between its layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.probes.responses import seen_before_activation


def run(
    network: Network,
    inputs: Any,
    wanted: Iterable[int],
    without: Collection[tuple[Any, int]] = (),
    see: Callable[[Any, Any], Any] | None = None,
    seen: Collection[Any] = (),
    change: Mapping[tuple[Any, int], Callable[[Any], Any]] | None = None,
) -> dict[int, Any]:
    """Compute tensors of a network in inference mode.

    Args:
        network: The network.
        inputs: What the model takes: an array `(samples, ...)` or a structure of them.
        wanted: Numbers of the tensors to return.
        without: Inputs of merging calls that are left out: pairs of a call and the place of the input.
        see: Called with each call of `seen` and what enters its activation; returns what does instead.
        seen: The calls that `see` is called with.
        change: What becomes of inputs of calls before these read them, by the call and the place of the input.

    Returns:
        The tensors by number.
    """
    missing = set(wanted)
    values: dict[int, Any] = dict(zip(network.graph.input_numbers, _flat(network, inputs), strict=True))
    for call in network.graph.calls:
        if missing <= values.keys():
            break
        kept = [n for place, n in enumerate(call.inputs) if (call, place) not in without]
        if len(kept) == 1 < len(call.inputs):
            results = [values[kept[0]]]
        else:
            read = [values[n] for n in call.inputs]
            if change:
                read = [change[call, i](x) if (call, i) in change else x for i, x in enumerate(read)]
            results = _call(network, call, read, see if call in seen else None)
        values.update(zip(call.outputs, results, strict=True))
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


def _call(network: Network, call: Any, read: list[Any], see: Callable | None) -> list[Any]:
    node = network.nodes[call]
    tensors, _ = internals.node_tensors(node)
    args, kwargs = internals.filled_arguments(node, dict(zip(map(id, tensors), read, strict=True)))
    if internals.takes_training(node.operation):
        kwargs["training"] = False
    if see is not None:
        return [seen_before_activation(node.operation, args, kwargs, lambda sums: see(call, sums))]
    return keras.tree.flatten(node.operation(*args, **kwargs))
