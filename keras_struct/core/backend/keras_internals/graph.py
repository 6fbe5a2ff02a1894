"""Models as graphs of calls: their ends, nodes and tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_struct.core.backend.keras_internals.layers import is_library_class


def functional_of(model: Any) -> Any:
    """Return the Functional network behind a Functional or Sequential model; `None` if it has none (yet).

    Raises:
        TypeError: If the model belongs to Keras 2.
    """
    _refuse_keras_2(model)
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_nodes_by_depth") else None


def nested_network(operation: Any) -> Any:
    """The Functional network behind a model that is called as a layer; `None` where there is none, or more than that is run."""
    if not isinstance(operation, keras.Model) or has_own_call(operation):
        return None
    return functional_of(operation)


def has_own_call(model: Any) -> bool:
    """Whether a user's class of models says itself what a call computes, so that the graph of layers does not tell."""
    kinds = type(model).__mro__
    owners = [next((kind for kind in kinds if name in vars(kind)), object) for name in ("call", "__call__")]
    return not all(is_library_class(kind) for kind in owners)


def _refuse_keras_2(model: Any) -> None:
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "tf_keras" in packages:
        raise TypeError(
            f"Received the model '{model.name}' of tf_keras, which is Keras 2: expected one of Keras {keras.__version__}. "
            "Build the same network with `keras` in place of `tf_keras`, and give it the weights: "
            "new.set_weights(old.get_weights())."
        )


def structured_ends(model: Any) -> tuple[Any, Any]:
    """Inputs and outputs of a Functional or Sequential model, in the structure in which it takes and returns them."""
    functional = functional_of(model)
    return functional._inputs_struct, functional._outputs_struct


def nodes_in_order(functional: Any) -> Iterator[Any]:
    """Calls of operations in an order in which they can be run, that of `layers` where several can. Input layers are left out."""
    place = {id(operation): i for i, operation in enumerate(functional.operations)}
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in sorted(functional._nodes_by_depth[depth], key=lambda node: place.get(id(node.operation), 0)):
            if not node.is_input:
                yield node


def operations_of(network: Any) -> list[Any]:
    """Layers and operations that a Functional model calls; none before it knows them."""
    return getattr(network, "_operations", [])


def calls_in(network: Any) -> list[Any]:
    """All calls of a Functional model, those of its input layers too."""
    return [node for nodes in network._nodes_by_depth.values() for node in nodes]


def calls_behind(network: Any) -> dict[int, Any]:
    """Calls that lead from the inputs of a Functional model to its outputs, by `id`."""
    found: dict[int, Any] = {}
    ends = set(map(id, network.inputs))
    waiting = list(network.outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in ends and id(node := made_by(tensor)[1]) not in found:
            found[id(node)] = node
            waiting += node.input_tensors
    return found


def calls_of(network: Any, operation: Any) -> list[Any]:
    """Calls of one layer or operation in a Functional model, in the order in which they were made."""
    inside = {id(node) for node in calls_in(network)}
    return [node for node in operation._inbound_nodes if id(node) in inside]


def readers_of(tensor: Any) -> list[Any]:
    """Calls that read a symbolic tensor, in whatever models."""
    calls = {id(node): node for node in tensor._keras_history.operation._outbound_nodes}
    return [node for node in calls.values() if any(tensor is read for read in node.input_tensors)]


def node_tensors(node: Any) -> tuple[list[Any], list[Any]]:
    """Symbolic tensors that go into and come out of a call."""
    return list(node.input_tensors), list(node.output_tensors)


def calls_around(operation: Any) -> list[Any]:
    """Calls of an operation, and calls that read what it makes, in whatever models."""
    return [*operation._inbound_nodes, *operation._outbound_nodes]


def made_by(tensor: Any) -> tuple[Any, Any]:
    """The operation that makes a symbolic tensor, and the call of it."""
    operation, place, _ = tensor._keras_history
    return operation, operation._inbound_nodes[place]
