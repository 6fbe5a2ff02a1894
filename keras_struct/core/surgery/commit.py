"""Write a plan into a model and its optimizer: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_facts import refresh_facts
from keras_struct.core.structure.labels import UnitLabels
from keras_struct.core.surgery.build_shapes import build_shapes
from keras_struct.core.surgery.plan import Plan
from keras_struct.core.surgery.trace import Network


class Commit:
    """A plan that was carried out, and can be taken back until it is settled.

    If anything fails, everything is put back as it was and the error is raised again.

    Attributes:
        stale: Whether compiled steps must be traced again.

    Args:
        network: The network that the plan was made for; it has the new graph afterwards.
        plan: What to write.
    """

    def __init__(self, network: Network, plan: Plan) -> None:
        self._network, self._plan, self._graph = network, plan, network.graph
        self._written: list[tuple[Any, Any, Any]] = []
        self._facts = [(layer, attribute, getattr(layer, attribute)) for layer, attribute, _ in plan.facts]
        self._touched = {port.layer for port in plan.changes}
        self.stale = plan.stale
        try:
            self._write()
        except BaseException:
            self.take_back()
            raise

    def _write(self) -> None:
        backend = current()
        for variable, old, value in self._plan.writes:
            self._written.append((variable, internals.holder(variable), old))
            self.stale = backend.write(variable, value) or self.stale
        for layer, attribute, size in self._plan.facts:
            internals.set_fact(layer, attribute, size)
        _follow_calls(self._network, self._plan)
        self._network.graph = self._plan.graph
        refresh(self._network, self._touched)

    def take_back(self) -> None:
        """Make variables, layers and the graph what they were."""
        backend = current()
        for variable, holder, value in reversed(self._written):
            internals.put_back(variable, holder)
            backend.write(variable, value)
        for layer, attribute, size in self._facts:
            internals.set_fact(layer, attribute, size)
        self._network.graph = self._graph
        refresh(self._network, self._touched)

    def undo(self) -> None:
        """Take it back after it was settled: who has compiled something since follows, or fails, too."""
        now = [(variable, internals.holder(variable)) for variable, _, _ in self._written]
        self.take_back()
        replaced = [(variable, held) for variable, held in now if internals.holder(variable) is not held]
        reshaped = [variable for variable, old, value in self._plan.writes if old.shape != value.shape]
        current().retire(replaced, reshaped, self._network.variables() if self._plan.stale else ())

    def settle(self) -> None:
        """Let compiled functions of whoever holds the variables follow, or fail when they are next called."""
        replaced = [(variable, held) for variable, held, _ in self._written if internals.holder(variable) is not held]
        reshaped = [variable for variable, old, value in self._plan.writes if old.shape != value.shape]
        current().retire(replaced, reshaped, self._network.variables() if self._plan.stale else ())


def _follow_calls(network: Network, plan: Plan) -> None:
    """Keep Keras's record of calls that the plan replaces."""
    for old, new in zip(network.graph.calls, plan.graph.calls, strict=True):
        network.nodes.setdefault(new, network.nodes[old])


def refresh(network: Network, inside: Collection[str] = ()) -> None:
    """Bring everything that Keras recorded about shapes in line with the graph.

    Args:
        network: The network.
        inside: Layers of which something changed that can be seen neither in what enters nor in what leaves.
    """
    changed = {number for number, labels in network.graph.tensors.items() if _set_shapes(network, number, labels)}
    for path, numbers in network.first_inputs.items():
        if not changed.isdisjoint(numbers) or not changed.isdisjoint(network.first_outputs[path]):
            _refresh_layer(network, path, numbers)
        elif path in inside:
            _refresh_facts(network, path)


def loosen(network: Network) -> None:
    """Let every layer accept any width along editable axes."""
    for path, numbers in network.first_inputs.items():
        _refresh_layer(network, path, numbers)


def _set_shapes(network: Network, number: int, labels: UnitLabels) -> bool:
    """Give the symbolic tensors of one number its present shape; returns whether any had another."""
    stale = [symbol for symbol in network.symbols.get(number, ()) if symbol.shape[1:] != labels.shape]
    for symbol in stale:
        internals.set_symbolic_shape(symbol, (symbol.shape[0], *labels.shape))
        internals.follow_input_shape(symbol)
    return bool(stale)


def _refresh_layer(network: Network, path: str, numbers: tuple[int, ...]) -> None:
    layer = network.layers[path]
    shapes = [tuple(network.symbols[number][0].shape) for number in numbers]
    for part, recorded in build_shapes(layer, network.first_names.get(path, ()), shapes):
        internals.set_build_shapes(part, recorded)
    _refresh_facts(network, path)
    for inner in internals.inner_layers(layer):
        internals.loosen_spec(inner)
    spec = internals.input_spec_of(layer)
    alone = len(shapes) - network.first_names.get(path, ()).count("mask") == 1
    if spec is not None and spec.axes and alone:
        rank = len(shapes[0])
        axes = {axis: shapes[0][axis % rank] for axis in spec.axes}
        axes = {axis: extent for axis, extent in axes.items() if not _labelled(network, numbers[0], axis, rank)}
        if axes != spec.axes:
            layer.input_spec = keras.layers.InputSpec(
                ndim=spec.ndim, min_ndim=spec.min_ndim, axes=axes, dtype=spec.dtype
            )


def _labelled(network: Network, number: int, axis: int, rank: int) -> bool:
    """Whether units lie along an axis (batch included) of a tensor: its extent is not pinned then."""
    labels = network.graph.tensors[number]
    place = axis % rank - 1
    return place >= 0 and labels.labelled and labels.varies[place]


def _refresh_facts(network: Network, path: str) -> None:
    labels = network.graph.tensors[network.first_outputs[path][0]]
    refresh_facts(network.layers[path], labels.shape, labels.varies.index(True) if labels.labelled else None)
