"""Read a Keras model as a graph of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_facts import changeable_facts, with_inner_layers
from keras_struct.core.structure.behaviours import Behaviour, Opaque
from keras_struct.core.structure.graph import Call, StructureGraph
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.sharing import SharedVariable
from keras_struct.core.surgery.registry import behaviour_of, knows_arguments


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
        facts: Each layer with those inside it, and what was true of them when their calls were read.
    """

    graph: StructureGraph
    layers: dict[str, Any]
    symbols: dict[int, list[Any]]
    first_inputs: dict[str, tuple[int, ...]]
    first_outputs: dict[str, tuple[int, ...]]
    first_names: dict[str, tuple[str, ...]]
    nodes: dict[Call, Any]
    facts: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=dict)
    _capable: dict[type, dict[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.facts = {path: _facts(with_inner_layers(layer)) for path, layer in self.layers.items()}

    def variables(self) -> list[Any]:
        """Variables of all layers, one that several layers hold at each of them."""
        return [variable for layer in self.layers.values() for variable in internals.own_variables(layer).values()]

    def having(self, capability: type) -> dict[str, Any]:
        """Layers with a capability, a protocol of `keras_struct.core.structure.capabilities`, by path."""
        if capability not in self._capable:
            self._capable[capability] = {
                path: held for path, held in self.layers.items() if isinstance(held, capability)
            }
        return self._capable[capability]

    def follow_layers(self) -> bool:
        """Read layers again whose activation, LoRA weights or quantisation were changed since. Returns whether any were."""
        changed = {path for path, (layers, facts) in self.facts.items() if changeable_facts(layers) != facts}
        if not changed:
            return False
        replaced = {}
        for call in (call for call in self.graph.calls if call.layer in changed):
            behaviour, masks = _behaviour(call.layer, self.nodes[call])
            replaced[call] = replace(call, behaviour=behaviour, masks=masks)
        self.nodes.update({new: self.nodes[old] for old, new in replaced.items()})
        self.graph = self.graph.with_calls(replaced)
        self.facts.update({path: _facts(with_inner_layers(self.layers[path])) for path in changed})
        return True


def _facts(layers: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return layers, changeable_facts(layers)


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
    tracer.collect(functional, "")
    outputs = [tracer.number(tensor) for tensor in functional.outputs]
    graph = StructureGraph(inputs, tracer.calls, outputs, names, shared=tracer.shared())
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

    def collect(self, functional: Any, prefix: str) -> None:
        """Collect the calls of one model."""
        for node in internals.nodes_in_order(functional):
            self.visit(node, prefix)

    def visit(self, node: Any, prefix: str) -> None:
        """Collect one call; of a nested model, the calls in it."""
        inputs, outputs = internals.node_tensors(node)
        inner = internals.nested_network(node.operation)
        path = f"{prefix}{node.operation.name}"
        if inner is None:
            self.add(path, node, [self.number(x) for x in inputs], [self.number(y) for y in outputs])
        else:
            self.enter(inner, path, [self.number(x) for x in inputs], outputs)

    def enter(self, inner: Any, path: str, inputs: list[int], outputs: list[Any]) -> None:
        """Collect the calls of a nested model, whose tensors are numbered again at every call of it."""
        for tensor in _tensors_of(inner):
            self._numbers.pop(id(tensor), None)
        for tensor, number in zip(inner.inputs, inputs, strict=True):
            self.bind(tensor, number)
        self.collect(inner, f"{path}/")
        for outer, tensor in zip(outputs, inner.outputs, strict=True):
            self.bind(outer, self.number(tensor))

    def add(self, path: str, node: Any, inputs: list[int], outputs: list[int]) -> None:
        """Collect one call of one layer; one that is called in several models goes by its first path."""
        path = self._paths.setdefault(id(node.operation), path)
        behaviour, masks = _behaviour(path, node)
        self.layers.setdefault(path, node.operation)
        self.first_inputs.setdefault(path, tuple(inputs))
        self.first_names.setdefault(path, tuple(_names(node) or ()))
        self.first_outputs.setdefault(path, tuple(outputs))
        self.calls.append(Call(path, behaviour, tuple(inputs), tuple(outputs), masks))
        self.nodes[self.calls[-1]] = node

    def shared(self) -> list[SharedVariable]:
        """Variables that several layers hold; one around a nested model holds nothing of its own."""
        held: dict[int, list[tuple[str, str]]] = {}
        for path, layer in self.layers.items():
            for name, variable in internals.own_variables(layer).items():
                held.setdefault(id(variable), []).append((path, name))
        for call, node in self.nodes.items():
            for variable in internals.passed_variables(node):
                held.setdefault(id(variable), []).append((call.layer, variable.name))
        found = (tuple(dict.fromkeys(h for h in holders if not _encloses(h, holders))) for holders in held.values())
        return [SharedVariable(holders) for holders in found if len({path for path, _ in holders}) > 1]


def _names(node: Any) -> list[str] | None:
    return internals.argument_names(node) if isinstance(node.operation, keras.layers.Layer) else None


def _behaviour(path: str, node: Any) -> tuple[Behaviour, tuple[int, ...]]:
    """What one call does to units, and which of the tensors that enter are masks."""
    operation, names = node.operation, _names(node)
    ins, outs = ([_shape(t) for t in tensors] for tensors in internals.node_tensors(node))
    masks = tuple(place for place, name in enumerate(names or ()) if name == "mask")
    ins = [shape for place, shape in enumerate(ins) if place not in masks]
    names = names and [name for name in names if name != "mask"]
    behaviour = behaviour_of(operation, ins, outs, internals.call_arguments(node), names)
    extra = internals.extra_arguments(node) and not knows_arguments(operation)
    if extra and not isinstance(behaviour, Opaque):
        behaviour = Opaque(_beside(path, names or ()), tuple(outs))
    return behaviour, masks


def _encloses(holder: tuple[str, str], others: list[tuple[str, str]]) -> bool:
    return any(path.startswith(f"{holder[0]}/") for path, _ in others)


def _beside(path: str, names: Sequence[str]) -> str:
    return (
        f"layer '{path}' is called with a tensor beside its inputs (arguments {', '.join(dict.fromkeys(names))}); put what "
        "it does into a layer of your own and register that with keras_struct.register_unit_rules"
    )


def _tensors_of(functional: Any) -> list[Any]:
    tensors = list(functional.inputs)
    for node in internals.nodes_in_order(functional):
        tensors += internals.node_tensors(node)[1]
    return tensors
