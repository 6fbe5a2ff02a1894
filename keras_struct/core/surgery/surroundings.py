"""Layers around a network that read its tensors without belonging to its model, such as a new head on a hidden layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.surgery.catching_up import fits
from keras_struct.core.surgery.trace import Network, Tracer


def with_surroundings(network: Network) -> Network:
    """Return a network with what is connected to its layers elsewhere: consumers of its tensors, other calls of its layers.

    Its graph has the same editable axes. Where the surroundings would forbid an edit that the network itself allows, or do
    not fit together, they are left out: they fail when they are next called.
    """
    found = _Surroundings(network)
    found.collect()
    if not found.calls:
        return network
    try:
        whole = found.whole()
    except ValueError:
        return network
    kept = network.graph.axes.items() <= whole.graph.axes.items()
    return whole if kept and fits(whole) else network


def connections(network: Network) -> int:
    """A number that grows whenever something is connected to the layers of a network."""
    return sum(len(internals.calls_around(layer)) for layer in network.layers.values())


@dataclass
class _Surroundings:
    """Collects the calls around a network, as a continuation of its own."""

    network: Network
    tracer: Tracer = field(init=False)
    inputs: dict[int, tuple[int | None, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tracer = Tracer.continuing(self.network)

    @property
    def calls(self) -> list[Any]:
        """The calls that were collected."""
        return self.tracer.calls

    def collect(self) -> None:
        """Find all calls that are connected to the network, in an order in which they can be run."""
        waiting = [node for node in self._connected() if id(node) not in self._own()]
        while waiting:
            ready = [node for node in waiting if all(self._known(x) for x in internals.node_tensors(node)[0])]
            if not ready:
                return
            for node in ready:
                self.tracer.visit(node, f"around/{len(self.tracer.calls)}/")
            waiting = [node for node in waiting if not any(node is done for done in ready)]

    def _own(self) -> set[int]:
        return {id(node) for node in self.network.nodes.values()}

    def _connected(self) -> Iterator[Any]:
        """Calls that are connected to the layers of the network in whatever way, inner layers of models apart."""
        operations, seen = list(self.network.layers.values()), set(map(id, self.network.layers.values()))
        nodes: set[int] = set()
        while operations:
            for node in internals.calls_around(operations.pop()):
                around = [internals.made_by(x)[0] for x in internals.node_tensors(node)[0]]
                for operation in (node.operation, *around):
                    if id(operation) not in seen:
                        seen.add(id(operation))
                        operations.append(operation)
                if id(node) not in nodes and not node.is_input:
                    nodes.add(id(node))
                    yield node

    def _known(self, tensor: Any) -> bool:
        if isinstance(internals.made_by(tensor)[0], keras.layers.InputLayer) and not self.tracer.knows(tensor):
            self.inputs[self.tracer.number(tensor)] = tuple(tensor.shape[1:])
        return self.tracer.knows(tensor)

    def whole(self) -> Network:
        """The network with its surroundings."""
        own, more = self.network, self.tracer

        def joined(name: str) -> dict[Any, Any]:
            return {**getattr(more, name), **getattr(own, name)}

        more.layers, more.nodes = joined("layers"), joined("nodes")
        graph = own.graph.extended(self.inputs, more.calls, more.shared())
        first = (joined("first_inputs"), joined("first_outputs"), joined("first_names"))
        return Network(graph, more.layers, more.symbols, *first, more.nodes)
