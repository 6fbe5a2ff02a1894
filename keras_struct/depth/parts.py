"""Parts of networks as data: read from layers that are given, or from a region of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth.edits import Entry, Made, Part, PartCall, Source, Start
from keras_struct.depth.part_edits import new_names


def part_of(layers: Any, taken: Collection[str] = ()) -> Part:
    """Return layers behind each other, or a Functional model of one input and one output, as a part.

    Args:
        layers: A layer, a list of layers, or a Functional or Sequential model, whose layers become layers of the network. Those
            that are built bring their weights along.
        taken: Names that the network has; a layer whose name Keras has chosen gets another one.

    Raises:
        TypeError: If something is no layer.
        ValueError: If a name is taken or given twice, or a model has several inputs or outputs.
    """
    network = internals.functional_of(layers) if isinstance(layers, keras.Model) else None
    if network is not None:
        return _part_of_model(network, taken)
    chain = list(layers) if isinstance(layers, list | tuple) else [layers]
    names = names_for([_checked(layer).name for layer in chain], taken, chain)
    calls = tuple(PartCall(name, (Entry() if i == 0 else Made(i - 1),)) for i, name in enumerate(names))
    configs = {name: serialized(layer) for name, layer in zip(names, chain, strict=True)}
    starts = {name: start_of(layer) for name, layer in zip(names, chain, strict=True) if layer.weights}
    return Part(configs, calls, (Made(len(chain) - 1),) if chain else (Entry(),), starts)


def _part_of_model(network: Any, taken: Collection[str]) -> Part:
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            f"Model '{network.name}' has {len(network.inputs)} inputs and {len(network.outputs)} outputs: expected one of each."
        )
    nodes = list(internals.nodes_in_order(network))
    operations = list({id(node.operation): node.operation for node in nodes}.values())
    names = dict(zip(map(id, operations), names_for([o.name for o in operations], taken, operations), strict=True))
    part, outside = part_of_calls(nodes, network.inputs, network.outputs, lambda operation: names[id(operation)])
    if outside:
        raise ValueError(f"Model '{network.name}' reads tensors from outside.")
    return replace(part, starts={names[id(o)]: start_of(o) for o in operations if isinstance(o, keras.layers.Layer)})


def _checked(layer: Any) -> Any:
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"Expected a layer, or a list of layers, such as keras.layers.Dense(64). Received: {layer!r}")
    return layer


def serialized(operation: Any) -> dict[str, Any]:
    """Return the configuration of a layer or operation, from which it can be made again.

    Raises:
        ValueError: If it has none.
    """
    try:
        return keras.saving.serialize_keras_object(operation)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"Layer '{operation.name}' ({type(operation).__name__}) cannot be described as data, which an edit has to: give its "
            "class a get_config that returns the arguments of its constructor."
        ) from error


def start_of(layer: Any) -> Start:
    """Return the weights that a layer has, as those that a new one starts with."""
    held = internals.own_variables(layer)
    return Start("values", values={name: np.array(current().read(variable)) for name, variable in held.items()})


def names_for(names: Sequence[str], taken: Collection[str], layers: Sequence[Any] = ()) -> list[str]:
    """Return names for layers that a network does not have yet.

    Args:
        names: The wanted ones.
        taken: Those that the network has.
        layers: The layers, of which those keep their names that the user has chosen.

    Raises:
        ValueError: If a name that the user has chosen is taken.
    """
    for i, (name, layer) in enumerate(zip(names, layers, strict=False)):
        if name in {*taken, *names[:i]} and not _is_automatic(layer):
            raise ValueError(
                f"There is a layer '{name}' in the network or among the new ones already: expected another name. Give the layer "
                "one with `name=`."
            )
    return new_names(names, taken)


def _is_automatic(layer: Any) -> bool:
    """Whether Keras has chosen the name of a layer: that of its class, and a number."""
    kind = internals.name_of_class(type(layer))
    rest = layer.name.removeprefix(kind)
    return layer.name.startswith(kind) and (not rest or (rest[0] == "_" and rest[1:].isdigit()))


def part_of_calls(
    nodes: Sequence[Any], entries: Sequence[Any], exits: Sequence[Any], name_of: Callable[[Any], str]
) -> tuple[Part, list[Any]]:
    """Return calls of a network as a part.

    Args:
        nodes: The calls, each behind those that it reads.
        entries: Symbolic tensors where the part begins.
        exits: Those that it puts out.
        name_of: Name of a layer or operation in the part.

    Returns:
        The part, and further tensors from outside that its calls read, which are entries behind the others.
    """
    sources: dict[int, Source] = {id(tensor): Entry(place) for place, tensor in enumerate(entries)}
    outside: list[Any] = []
    calls: list[PartCall] = []
    layers: dict[str, Any] = {}

    def coded(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        if id(value) not in sources:
            sources[id(value)] = Entry(len(entries) + len(outside))
            outside.append(value)
        return sources[id(value)]

    for number, node in enumerate(nodes):
        args, kwargs = node.arguments.convert(coded)
        name = name_of(node.operation)
        layers.setdefault(name, serialized(node.operation))
        calls.append(PartCall(name, tuple(args), dict(kwargs)))
        sources |= {id(tensor): Made(number, place) for place, tensor in enumerate(node.outputs)}
    return Part(layers, tuple(calls), tuple(sources[id(tensor)] for tensor in exits)), outside


def ref_of(network: Any, tensor: Any, prefix: str) -> TensorRef:
    """Return the name of a symbolic tensor in a Functional model whose layers have a prefix in front of their names."""
    operation, node = internals.made_by(tensor)
    calls = internals.calls_of(network, operation)
    number = next(i for i, call in enumerate(calls) if call is node)
    output = next(i for i, made in enumerate(node.outputs) if made is tensor)
    return TensorRef(f"{prefix}{operation.name}", number, output)
