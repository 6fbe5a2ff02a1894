"""Read a Keras model as a graph of units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from keras_struct.backend import keras_internals as internals
from keras_struct.structure.behaviours import Opaque
from keras_struct.structure.graph import Call, StructureGraph
from keras_struct.structure.labels import Shape
from keras_struct.surgery.registry import behaviour_of, knows_arguments


@dataclass
class Network:
    """A Keras model read as a graph of units.

    Attributes:
        graph: The structure.
        layers: Each layer by its path: its name, behind the names of the models that it is nested in.
        symbols: Symbolic tensors of each tensor number; one inside a nested model has one at every place of a call.
        first_inputs: Numbers of the tensors that enter the first call of each layer.
        first_outputs: Numbers of those that leave it.
        first_names: Parameters of `call` that the former are passed for.
        nodes: Keras's record of each call.
    """

    graph: StructureGraph
    layers: dict[str, Any]
    symbols: dict[int, list[Any]]
    first_inputs: dict[str, tuple[int, ...]]
    first_outputs: dict[str, tuple[int, ...]]
    first_names: dict[str, tuple[str, ...]]
    nodes: dict[Call, Any]

    def variables(self) -> list[Any]:
        """Variables of all layers, one that several layers hold at each of them."""
        return [variable for layer in self.layers.values() for variable in internals.own_variables(layer).values()]


def trace(model: Any) -> Network:
    """Read a built Functional or Sequential model, nested models included.

    Args:
        model: The model.

    Returns:
        The network with its graph.

    Raises:
        ValueError: If the model is not built, or is a subclassed model without a graph of layers.
    """
    functional = internals.functional_of(model)
    if functional is None:
        raise ValueError(_no_graph(model))
    tracer = Tracer()
    inputs = {tracer.number(tensor): _shape(tensor) for tensor in functional.inputs}
    names = {tracer.number(tensor): tensor.name for tensor in functional.inputs}
    tracer.walk(functional, "")
    outputs = [tracer.number(tensor) for tensor in functional.outputs]
    graph = StructureGraph(inputs, tracer.calls, outputs, names)
    first = (tracer.first_inputs, tracer.first_outputs, tracer.first_names)
    return Network(graph, tracer.layers, tracer.symbols, *first, tracer.nodes)


def _no_graph(model: Any) -> str:
    name = getattr(model, "name", type(model).__name__)
    if isinstance(model, keras.Sequential):
        return (
            f"Cannot read the structure of the Sequential model '{name}': it is not built. Put "
            "keras.Input(shape=...) first, or call model.build(input_shape)."
        )
    return (
        f"Cannot read the structure of '{name}' ({type(model).__name__}): expected a Functional or Sequential model, "
        "whose graph of layers Keras knows. A subclassed model keeps its graph in Python code: write it with "
        "keras.Model(inputs, outputs)."
    )


def _shape(tensor: Any) -> Shape:
    return tuple(tensor.shape[1:])


@dataclass
class Tracer:
    """Numbers tensors and collects calls."""

    calls: list[Call] = field(default_factory=list)
    layers: dict[str, Any] = field(default_factory=dict)
    symbols: dict[int, list[Any]] = field(default_factory=dict)
    first_inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first_outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: dict[Call, Any] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _paths: dict[int, str] = field(default_factory=dict)
    _count: int = 0

    @classmethod
    def continuing(cls, network: Network) -> Tracer:
        """A tracer that goes on where another has read a network."""
        numbers = {id(tensor): number for number, held in network.symbols.items() for tensor in held}
        paths = {id(layer): path for path, layer in network.layers.items()}
        symbols = {number: list(held) for number, held in network.symbols.items()}
        return cls(symbols=symbols, _numbers=numbers, _paths=paths, _count=max(symbols, default=-1) + 1)

    def knows(self, tensor: Any) -> bool:
        """Whether a symbolic tensor has a number."""
        return id(tensor) in self._numbers

    def number(self, tensor: Any) -> int:
        """Number of a symbolic tensor; a new one if it was not seen."""
        if id(tensor) not in self._numbers:
            self.bind(tensor, self._count)
            self._count += 1
        return self._numbers[id(tensor)]

    def bind(self, tensor: Any, number: int) -> None:
        """Let a symbolic tensor stand for tensor `number`."""
        self._numbers[id(tensor)] = number
        self.symbols.setdefault(number, []).append(tensor)

    def walk(self, functional: Any, prefix: str) -> None:
        """Collect the calls of one model."""
        for node in internals.nodes_in_order(functional):
            self.visit(node, prefix)

    def visit(self, node: Any, prefix: str) -> None:
        """Collect one call; of a nested model, the calls in it."""
        inputs, outputs = internals.node_tensors(node)
        inner = internals.functional_of(node.operation) if isinstance(node.operation, keras.Model) else None
        path = f"{prefix}{node.operation.name}"
        if inner is None:
            self.add(path, node, [self.number(x) for x in inputs], [self.number(y) for y in outputs])
        else:
            self.enter(inner, path, [self.number(x) for x in inputs], outputs)

    def enter(self, inner: Any, path: str, inputs: list[int], outputs: list[Any]) -> None:
        """Collect the calls of a nested model, whose tensors are numbered anew at every call of it."""
        for tensor in _tensors_of(inner):
            self._numbers.pop(id(tensor), None)
        for tensor, number in zip(inner.inputs, inputs, strict=True):
            self.bind(tensor, number)
        self.walk(inner, f"{path}/")
        for outer, tensor in zip(outputs, inner.outputs, strict=True):
            self.bind(outer, self.number(tensor))

    def add(self, path: str, node: Any, inputs: list[int], outputs: list[int]) -> None:
        """Collect one call of one layer; one that is called in several models goes by its first path."""
        path = self._paths.setdefault(id(node.operation), path)
        ins, outs = ([_shape(t) for t in tensors] for tensors in internals.node_tensors(node))
        names = internals.argument_names(node) if isinstance(node.operation, keras.layers.Layer) else None
        behaviour = behaviour_of(node.operation, ins, outs, internals.call_arguments(node), names)
        extra = internals.extra_arguments(node) and not knows_arguments(node.operation)
        if extra and not isinstance(behaviour, Opaque):
            behaviour = Opaque(f"layer '{path}' is called with a tensor beside its inputs", tuple(outs))
        self.layers.setdefault(path, node.operation)
        self.first_inputs.setdefault(path, tuple(inputs))
        self.first_names.setdefault(path, tuple(names or ()))
        self.first_outputs.setdefault(path, tuple(outputs))
        self.calls.append(Call(path, behaviour, tuple(inputs), tuple(outputs)))
        self.nodes[self.calls[-1]] = node


def _tensors_of(functional: Any) -> list[Any]:
    tensors = list(functional.inputs)
    for node in internals.nodes_in_order(functional):
        tensors += internals.node_tensors(node)[1]
    return tensors
