"""Measure a running network on given inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

import keras
import numpy as np

from keras_struct.backend import current
from keras_struct.backend import keras_internals as internals
from keras_struct.probes.interpreter import run
from keras_struct.probes.measurement import AxisMeasurement, FanIn
from keras_struct.probes.sweep import Sweep
from keras_struct.structure.behaviours import Elementwise, Weighted
from keras_struct.structure.rules import AxisRule, Port
from keras_struct.surgery.trace import Network

SMALLEST_BUFFER = 128
SAMPLES_PER_UNIT = 2


class StructureProbe:
    """Measures the unit axes of a network in inference mode. Compiled functions survive changes of width.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._compiled: dict[Any, Any] = {}
        self._singles: dict[Any, Any] = {}

    def outputs(self, inputs: Any) -> list[Any]:
        """Return the outputs of the network."""
        numbers = self.network.graph.output_numbers
        return self.compute(
            ("outputs",), lambda x: [found[n] for found in [run(self.network, x, numbers)] for n in numbers], inputs
        )

    def measure(self, inputs: Any, axes: Sequence[str], limits: Mapping[str, int]) -> dict[str, AxisMeasurement]:
        """Return a measurement of each axis; the network runs when a policy asks for more than weights.

        Args:
            inputs: Inputs to measure on, or `None` if only weights are needed.
            axes: Names of the axes.
            limits: Largest width of each axis.
        """
        sweep = None if inputs is None else Sweep(self, inputs, tuple(axes))
        return {axis: self._measurement(axis, sweep, limits.get(axis)) for axis in axes}

    def samples_needed(self, axes: Sequence[str], limits: Mapping[str, int]) -> int:
        """How many inputs to keep so that every axis has more rows than it may have units."""
        widths = {axis: limits.get(axis, self.network.graph.units[axis].width) for axis in axes}
        return max(
            [SMALLEST_BUFFER, *(SAMPLES_PER_UNIT * self.rows_needed(axis, width) for axis, width in widths.items())]
        )

    def rows_needed(self, axis: str, width: int) -> int:
        """How many samples have as many rows, one for each position, as `width`."""
        return ceil(width / self._positions(axis))

    def widest(self, axis: str, samples: int) -> int:
        """Largest width of an axis that can be measured on so many samples: one less than their rows."""
        return samples * self._positions(axis) - 1

    def _positions(self, axis: str) -> int:
        number = self.post_activation(axis)
        labels = self.network.graph.tensors[number]
        return prod(extent or 1 for extent, unit in zip(labels.shape, labels.varies, strict=True) if not unit)

    def post_activation(self, axis: str) -> int:
        """Number of the tensor in which the units of an axis stand after normalisation and activation."""
        return ([self.first_call(axis).outputs[0]] + [call.outputs[0] for call in self.chain(axis)])[-1]

    def first_call(self, axis: str) -> Any:
        """The first call of the first layer that makes the units of an axis."""
        layer, _ = self.network.graph.units[axis].producers[0]
        return next(call for call in self.network.graph.calls if call.layer == layer)

    def chain(self, axis: str) -> list[Any]:
        """Calls that follow one by one, treating each unit by itself: normalisation, activation, dropout."""
        chain: list[Any] = []
        number = self.first_call(axis).outputs[0]
        while True:
            readers = [call for call in self.network.graph.calls if number in call.inputs]
            if len(readers) != 1 or number in self.network.graph.output_numbers or not _unitwise(readers[0].behaviour):
                return chain
            chain.append(readers[0])
            number = readers[0].outputs[0]

    def columns(self, axis: str) -> np.ndarray | None:
        """Places of an axis's units among the channels of its post-activation; `None` when they are all of them."""
        number, graph = self.post_activation(axis), self.network.graph
        labels = graph.tensors[number]
        place = next((i for i, varies in enumerate(labels.varies) if varies), len(labels.shape) - 1)
        found = graph.find_units(axis, labels.vector(place))
        return None if np.array_equal(found, np.arange(labels.shape[place] or 0)) else found

    def prepare(self, axis: str) -> None:
        """Make the one-unit copies of layers that `follow` needs, outside of any compiled function."""
        for call in self.chain(axis):
            if isinstance(call.behaviour, Weighted) and call not in self._singles:
                self._singles[call] = _single(
                    self.network.layers[call.layer], self.network.graph.tensors[call.inputs[0]]
                )

    def follow(self, call: Any, outputs: Any) -> Any:
        """What one call of a chain makes of new units."""
        operation = self.network.nodes[call].operation
        if call in self._singles:
            return _unit_by_unit(self._singles[call], outputs, call.behaviour.axis % (len(outputs.shape) - 1) + 1)
        return operation(outputs, **({"training": False} if internals.takes_training(operation) else {}))

    def compute(self, key: Any, function: Any, *args: Any) -> Any:
        """Compile a function under a key when it is first asked for, and call it."""
        if key not in self._compiled:
            self._compiled[key] = current().compiled(function)
        return self._compiled[key](*args)

    def _measurement(self, axis: str, sweep: Sweep | None, limit: int | None) -> AxisMeasurement:
        graph = self.network.graph
        ports = graph.ports(axis)
        fan_in = tuple(
            self._fan_in(axis, port, rule)
            for port, rule in ports.items()
            if rule.role == "produce" and self._rank(port) > 1
        )
        consumers = [port for port, rule in ports.items() if rule.role == "consume"]
        made = [self._rank(port) for port, rule in ports.items() if rule.role == "produce"]
        kind = "conv" if max(made, default=0) > 2 else "dense"
        lazy = {} if sweep is None else sweep.measures(axis)
        return AxisMeasurement(
            axis,
            graph.units[axis].width,
            limit,
            kind,
            fan_in,
            lambda: tuple(self._fan_out(axis, port) for port in consumers),
            **lazy,
        )

    def _variable(self, port: Port) -> Any:
        return internals.own_variables(self.network.layers[port.layer])[port.variable]

    def _rank(self, port: Port) -> int:
        return len(self._variable(port).shape)

    def kernel_rank(self, axis: str) -> int:
        """Rank of the first variable that makes the units of an axis."""
        return next(self._rank(p) for p, r in self.network.graph.ports(axis).items() if r.role == "produce")

    def _fan_in(self, axis: str, port: Port, rule: AxisRule) -> FanIn:
        graph = self.network.graph
        weights, places = current().read(self._variable(port)), graph.places(port, axis)
        if len(places) < weights.shape[port.axis]:
            weights = np.take(weights, places, axis=port.axis)
        if weights.dtype.itemsize < 4:  # NumPy computes little in half precision, and nothing in bfloat16
            weights = weights.astype(np.float32)
        units_last = np.moveaxis(weights, port.axis, -1)
        width = graph.units[axis].width
        blocks = units_last.shape[-1] // width

        def expand(new: np.ndarray) -> np.ndarray:
            flat = new if blocks == 1 else new.reshape(*new.shape[:-2], -1)
            return np.moveaxis(flat, -1, port.axis).astype(weights.dtype)

        if blocks > 1:
            units_last = units_last.reshape(*units_last.shape[:-1], blocks, width)
        return FanIn(port.key, units_last, expand)

    def _fan_out(self, axis: str, port: Port) -> np.ndarray:
        units = self.network.graph.unit_along(port, axis)
        rows = np.moveaxis(current().read(self._variable(port)), port.axis, 0)
        rows = rows[np.argsort(units, kind="stable")][(units < 0).sum() :]
        return rows.reshape(self.network.graph.units[axis].width, -1, *rows.shape[1:])


def _unitwise(behaviour: Any) -> bool:
    if isinstance(behaviour, Elementwise):
        return behaviour.mixes is None
    return (
        isinstance(behaviour, Weighted) and behaviour.units is None and behaviour.mixes is None and behaviour.per_unit
    )


def _single(layer: Any, labels: Any) -> Any:
    """A copy of a layer for a single new unit, with the values that a unit without ancestor gets."""
    config = {key: value for key, value in layer.get_config().items() if key != "name"}
    single = type(layer).from_config(config)
    single.build((None, *(1 if varies else extent for extent, varies in zip(labels.shape, labels.varies, strict=True))))
    return single


def _unit_by_unit(single: Any, outputs: Any, axis: int) -> Any:
    """Send each new unit through the one-unit copy of a layer, as if it were a sample."""
    moved = keras.ops.moveaxis(outputs, axis, 0)
    shape = keras.ops.shape(moved)
    folded = keras.ops.expand_dims(keras.ops.reshape(moved, (-1, *shape[2:])), axis)
    extra = {"training": False} if internals.takes_training(single) else {}
    result = keras.ops.squeeze(single(folded, **extra), axis)
    return keras.ops.moveaxis(keras.ops.reshape(result, shape), 0, axis)
