"""Changes of the graph of calls in place: models, layers and tensors stay the objects that they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
from keras.src.ops.function import map_graph
from keras.src.ops.node import KerasHistory
from keras.src.ops.symbolic_arguments import SymbolicArguments
from keras.src.utils.tracking import DotNotTrackScope

_GRAPH = ("_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth")
_OUTPUTS = ("_outputs", "_outputs_struct", "output_names")


class WiringChange:
    """A change of which calls there are and what they read, which can be taken back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._lists: dict[int, tuple[list[Any], list[Any]]] = {}
        self._operations: dict[int, Any] = {}
        self._sealed: list[tuple[list[Any], list[Any]]] = []

    def call(self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a layer or an operation on symbolic tensors.

        Returns:
            What it puts out.
        """
        self._keep_calls(operation)
        for tensor in keras.tree.flatten((list(args), kwargs)):
            if isinstance(tensor, keras.KerasTensor):
                self._keep_readers(tensor)
        return operation(*args, **kwargs)

    def redirect(self, old: Any, new: Any, calls: Iterable[Any]) -> None:
        """Let calls read the tensor `new` in place of `old`."""
        for node in calls:
            self.set_arguments(node, *node.arguments.convert(lambda value: new if value is old else value))

    def set_arguments(self, node: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Let a call be made with other arguments."""
        self._undo.append(_setting(node, "arguments", node.arguments))
        after = SymbolicArguments(*args, **kwargs)
        for tensor in (*node.arguments.keras_tensors, *after.keras_tensors):
            self._keep_readers(tensor)
        for tensor in node.arguments.keras_tensors:
            _remove_one(_readers(tensor), node)
        for tensor in after.keras_tensors:
            _readers(tensor).append(node)
        node.arguments = after

    def redirect_outputs(self, network: Any, old: Any, new: Any) -> None:
        """Let a Functional model put out the tensor `new` in place of `old`."""
        self.set_outputs(network, [new if tensor is old else tensor for tensor in network.outputs])

    def set_outputs(self, network: Any, outputs: Sequence[Any]) -> None:
        """Let a Functional model put out other tensors, in the structure in which it puts them out."""
        self._keep(network, _OUTPUTS)
        ends = keras.tree.pack_sequence_as(network._outputs_struct, list(outputs))
        with DotNotTrackScope():
            network._outputs_struct, network._outputs = ends, keras.tree.flatten(ends)
            network.output_names = [tensor._keras_history.operation.name for tensor in network._outputs]

    def take_out(self, calls: Collection[Any]) -> None:
        """Remove calls whose results nothing reads any more."""
        for node in calls:
            self._keep_calls(node.operation)
            for tensor in node.arguments.keras_tensors:
                self._keep_readers(tensor)
        for node in calls:
            for tensor in node.arguments.keras_tensors:
                _remove_one(_readers(tensor), node)
            _remove_one(node.operation._inbound_nodes, node)
        for operation in {id(node.operation): node.operation for node in calls}.values():
            _number_calls(operation)

    def read_again(self, network: Any) -> None:
        """Bring what a Functional model knows of its calls and layers in line with them.

        Raises:
            ValueError: If its outputs cannot be computed from its inputs, or two layers have the same name.
        """
        self._keep(network, _GRAPH)
        before = set(map(id, network._operations))
        found = map_graph(network._inputs, network._outputs)
        with DotNotTrackScope():
            for name, value in zip(_GRAPH, found, strict=True):
                setattr(network, name, value)
        layers, known = network.layers, list(network._layers)
        own = before | set(map(id, layers))
        self._undo.append(lambda: _set_layers(network, known))
        _set_layers(network, [*layers, *(layer for layer in known if id(layer) not in own)])

    def take_back(self) -> None:
        """Make everything what it was."""
        while self._undo:
            self._undo.pop()()
        for held, items in self._lists.values():
            held[:] = items
        for operation in self._operations.values():
            _number_calls(operation)
        self._lists, self._operations = {}, {}

    def seal(self) -> None:
        """Note which calls there are now, for `is_sealed`."""
        self._sealed = [(held, list(held)) for held, _ in self._lists.values()]

    def is_sealed(self) -> bool:
        """Whether the same calls are there as when `seal` was called."""
        return all(
            len(held) == len(known) and all(x is y for x, y in zip(held, known, strict=True))
            for held, known in self._sealed
        )

    def _keep_calls(self, operation: Any) -> None:
        self._operations.setdefault(id(operation), operation)
        self._keep_list(operation._inbound_nodes)

    def _keep_readers(self, tensor: Any) -> None:
        self._keep_list(_readers(tensor))

    def _keep_list(self, held: list[Any]) -> None:
        self._lists.setdefault(id(held), (held, list(held)))

    def _keep(self, network: Any, names: Sequence[str]) -> None:
        self._undo += [_setting(network, name, getattr(network, name)) for name in names]


def _setting(held: Any, name: str, value: Any) -> Callable[[], None]:
    def put_back() -> None:
        with DotNotTrackScope():
            setattr(held, name, value)

    return put_back


def _readers(tensor: Any) -> list[Any]:
    """The list of calls that read what the maker of a tensor puts out."""
    operation = tensor._keras_history.operation
    return [] if operation is None else operation._outbound_nodes


def _remove_one(nodes: list[Any], node: Any) -> None:
    place = next((i for i, other in enumerate(nodes) if other is node), None)
    if place is not None:
        del nodes[place]


def _number_calls(operation: Any) -> None:
    """Let each tensor that an operation makes know which call of it made it."""
    for number, node in enumerate(operation._inbound_nodes):
        for place, tensor in enumerate(node.outputs):
            if tensor._keras_history.node_index != number:
                tensor._keras_history = KerasHistory(operation, number, place)


def _set_layers(network: Any, layers: Sequence[Any]) -> None:
    """Give a model its layers, in a list that other objects of Keras refer to."""
    network._layers[:] = layers
    ids = network._tracker.stored_ids["layers"]
    ids.clear()
    ids.update(map(id, layers))
