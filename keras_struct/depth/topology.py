"""Which layers a model calls, and on what, as data; and the edit that makes it so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.aspects import StructureAspect, register_aspect
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.tensors import TensorRef
from keras_struct.core.surgery.call_edits import CallEditKind
from keras_struct.core.surgery.edit_kinds import register_edit
from keras_struct.core.surgery.graph_change import GraphChange
from keras_struct.depth.blocks import networks_in
from keras_struct.depth.edits import coded, decoded
from keras_struct.depth.grafting import layer_from
from keras_struct.depth.part_edits import new_names
from keras_struct.depth.parts import ref_of, serialized

Topology = Mapping[str, Mapping[str, Any]]
"""For each model, by what stands in front of the names of its layers: inputs, layers, calls, outputs and shapes of variables."""


@dataclass(frozen=True)
class SetTopology:
    """An edit that gives a model the layers and calls of another one of the same inputs and outputs; layers keep their weights.

    Attributes:
        topology: What `read_topology` returned.
    """

    topology: Topology = field(repr=False)


def read_topology(model: Any) -> dict[str, Any]:
    """Return which layers a model and models inside it call, and on what, as JSON can hold it."""
    return {prefix: _read(network) for network, prefix in networks_in(model, "")}


def _read(network: Any) -> dict[str, Any]:
    calls = []

    def named(value: Any) -> Any:
        return ref_of(network, value, "") if isinstance(value, keras.KerasTensor) else value

    for node in internals.nodes_in_order(network):
        args, kwargs = node.arguments.convert(named)
        calls.append([node.operation.name, coded(list(args)), coded(dict(kwargs))])
    operations = {
        name: op for op in internals.operations_of(network) if (name := op.name) in {call[0] for call in calls}
    }
    return {
        "inputs": [internals.made_by(tensor)[0].name for tensor in network.inputs],
        "layers": {name: serialized(operation) for name, operation in operations.items()},
        "calls": calls,
        "outputs": [coded(ref_of(network, tensor, "")) for tensor in network.outputs],
        "shapes": {
            name: {
                key: list(internals.shape_of(variable)) for key, variable in internals.own_variables(operation).items()
            }
            for name, operation in operations.items()
        },
    }


class TopologySetting(CallEditKind[SetTopology]):
    """Edits that give a model the layers and calls of another."""

    edit = SetTopology

    def connect(self, change: GraphChange, edit: SetTopology) -> None:
        """Call the layers that are missing, and let all read what they shall."""
        for prefix, wanted in edit.topology.items():
            if prefix and not _exists(change, prefix):
                continue  # the model inside is a new layer, and made as a whole
            network = change.inside(prefix)
            _connect(change, network, wanted)

    def name(self, edit: SetTopology) -> str:
        """Return the model."""
        return "model"

    def detail(self, edit: SetTopology) -> str:
        """Return what is done."""
        return "restore layers"


register_edit(TopologySetting())


def _exists(change: GraphChange, prefix: str) -> bool:
    try:
        change.inside(prefix)
    except ValueError:
        return False
    return True


def _connect(change: GraphChange, network: Any, wanted: Mapping[str, Any]) -> None:
    layers = {op.name: op for op in internals.operations_of(network) if _alike(op, wanted["layers"].get(op.name))}
    calls = {name: internals.calls_of(network, op) for name, op in layers.items()}
    tensors = {TensorRef(name): tensor for name, tensor in zip(wanted["inputs"], network.inputs, strict=True)}
    made: Counter[str] = Counter()

    def filled(value: Any) -> Any:
        return tensors[value] if isinstance(value, TensorRef) else value

    for name, args, kwargs in wanted["calls"]:
        if name not in layers:
            layers[name] = layer_from(wanted["layers"][name], name)
        given, named = (keras.tree.map_structure(filled, decoded(part)) for part in (args, kwargs))
        number, made[name] = made[name], made[name] + 1
        known = calls.get(name, [])
        if number < len(known):
            change.set_arguments(known[number], given, named)
            outputs = known[number].outputs
        else:
            outputs = change.call(layers[name], given, named)
        tensors |= {TensorRef(name, number, place): tensor for place, tensor in enumerate(outputs)}
    change.set_outputs(network, [tensors[decoded(ref)] for ref in wanted["outputs"]])


def _alike(operation: Any, config: Mapping[str, Any] | None) -> bool:
    return config is not None and type(operation).__name__ == config["class_name"]


class TopologyAspect(StructureAspect):
    """Which layers a model calls."""

    name = "topology"
    order = -1

    def read(self, live: LiveNetwork) -> dict[str, Any]:
        """Return the layers and calls of a model, and the names that its layers had when it was made.

        Nothing of a model with a layer that cannot be described as data: it can only be restored with the layers that it has.
        """
        try:
            return {"networks": read_topology(live.model), "origin": live.origin}
        except ValueError:
            return {}

    def edits(self, live: LiveNetwork, wanted: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Give layers that stay their widths, so that those that come fit, and then the model its calls."""
        if not wanted:
            return
        now = read_topology(live.model)
        topology = {
            prefix: _renamed(network, dict(zip(network["inputs"], now[prefix]["inputs"], strict=True)))
            if prefix in now and len(network["inputs"]) == len(now[prefix]["inputs"])
            else network
            for prefix, network in _by_own_names(wanted["networks"], wanted["origin"], live).items()
        }
        if _calls(topology) == _calls(now):
            return
        yield _resized(live, topology)
        yield [SetTopology(topology)]


register_aspect(TopologyAspect())


def _calls(topology: Topology) -> list[Any]:
    return [[prefix, network["calls"], network["outputs"]] for prefix, network in topology.items()]


def _resized(live: LiveNetwork, topology: Topology) -> list[Resize]:
    """Edits that give layers which stay the widths that their weights have in a topology."""
    shapes = {
        f"{prefix}{name}": held for prefix, network in topology.items() for name, held in network["shapes"].items()
    }
    extents = {}
    for port in live.graph.all_ports:
        shape = shapes.get(port.layer, {}).get(port.variable, ())
        if len(shape) > port.axis:
            extents[port] = shape[port.axis]
    now, widths = live.graph.axes, live.graph.widths_from(extents)
    return [Resize(axis, tuple(np.arange(width) % now[axis])) for axis, width in widths.items() if now[axis] != width]


def _by_own_names(topology: Topology, origin: list[str], live: LiveNetwork) -> Topology:
    """What is said of layers, by their names here: Keras names layers again in each model, and keeps their order."""
    if origin == live.origin or len(origin) != len(live.origin):
        return topology
    prefixes, names = {"": ""}, dict[str, dict[str, str]]()
    for old, new in zip(map(_parts, origin), map(_parts, live.origin), strict=True):
        for depth in range(min(len(old), len(new))):
            inside = "".join(f"{part}/" for part in old[:depth])
            names.setdefault(inside, {})[old[depth]] = new[depth]
            prefixes[inside] = "".join(f"{part}/" for part in new[:depth])
    renamed = {}
    for prefix, network in topology.items():
        known = dict(names.get(prefix, {}))
        more = [name for name in network["layers"] if name not in known]
        known |= dict(zip(more, new_names(more, set(known.values())), strict=True))
        renamed[prefixes.get(prefix, prefix)] = _renamed(network, known)
    return renamed


def _parts(path: str) -> list[str]:
    return path.split("/")


def _renamed(network: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What is said of a model whose layers have other names."""

    def of(given: Any) -> Any:
        if isinstance(given, list):
            return [of(item) for item in given]
        if not isinstance(given, Mapping):
            return given
        if "tensor" in given:
            layer, *rest = given["tensor"]
            return {"tensor": [names.get(layer, layer), *rest]}
        return {key: value if key == "value" else of(value) for key, value in given.items()}

    def named(name: str) -> str:
        return names.get(name, name)

    return {
        "inputs": [named(name) for name in network["inputs"]],
        "layers": {named(name): config for name, config in network["layers"].items()},
        "calls": [[named(name), of(args), of(kwargs)] for name, args, kwargs in network["calls"]],
        "outputs": of(network["outputs"]),
        "shapes": {named(name): held for name, held in network["shapes"].items()},
    }
