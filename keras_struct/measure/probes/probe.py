"""Measure a running network on given inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, prod
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.behaviours import Weighted
from keras_struct.core.structure.refusal import AxisRefused, MeasurementError
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.measurements.axis import AxisMeasurement, Normalization
from keras_struct.measure.measurements.gradients import AxisGradients, BatchGradients
from keras_struct.measure.probes.activation_at_zero import activations_at_zero
from keras_struct.measure.probes.fans import fan_in, fan_out
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.probes.making import Maker, maker_of
from keras_struct.measure.probes.paths import is_unitwise
from keras_struct.measure.probes.responses import activated, computing, unit_response
from keras_struct.measure.probes.single_units import single_unit_copy, unit_by_unit
from keras_struct.measure.probes.sweep import Sweep

SMALLEST_BUFFER = 128
SAMPLES_PER_UNIT = 2
UNLIMITED = 2**31


class StructureProbe:
    """Measures the unit axes of a network in inference mode. Compiled functions survive changes of width.

    Args:
        network: The network.
        outputs: Structure in which the model returns its outputs; `None` for a single tensor.
    """

    def __init__(self, network: Network, outputs: Any = None) -> None:
        self.network = network
        self._structure = outputs
        self._compiled: dict[Any, Any] = {}
        self._singles: dict[Any, Any] = {}
        self._at_zero: dict[str, tuple[float, float]] = {}
        self._columns: tuple[Any, dict[str, np.ndarray | None]] = (None, {})

    def outputs(self, inputs: Any) -> list[Any]:
        """Return the outputs of the network."""
        numbers = self.network.graph.output_numbers
        return self.compute(
            ("outputs",), lambda x: [found[n] for found in [run(self.network, x, numbers)] for n in numbers], inputs
        )

    def measure(
        self,
        inputs: Any,
        axes: Sequence[str],
        limits: Mapping[str, int],
        gradients: Callable[[int | None], BatchGradients] | None = None,
        residual: bool = True,
    ) -> dict[str, AxisMeasurement]:
        """Return a measurement of each axis; the network runs when a policy asks for more than weights.

        Args:
            inputs: Inputs to measure on, or `None` if only weights are needed.
            axes: Names of the axes.
            limits: Largest width of each axis.
            gradients: Takes a number of samples, or `None` for all, and returns what computes gradients; `None` if there is
                no batch with targets.
            residual: Whether residual connections stay on while activations are measured.
        """
        found = {axis: self._measurement(axis, limits.get(axis)) for axis in axes}
        if inputs is not None:
            sweep = Sweep(self, inputs, tuple(axes), residual)
            found = {axis: sweep.added_to(measured) for axis, measured in found.items()}
        if gradients is not None:
            found = {axis: replace(m, gradients=AxisGradients(gradients, axis)) for axis, m in found.items()}
        return found

    def samples_needed(self, axes: Sequence[str], limits: Mapping[str, int]) -> int:
        """How many inputs to keep so that every axis has more rows than it may have units."""
        widths = {axis: limits.get(axis, self.network.graph.units[axis].width) for axis in axes}
        return max(
            [SMALLEST_BUFFER, *(SAMPLES_PER_UNIT * self.rows_needed(axis, width) for axis, width in widths.items())]
        )

    def rows_needed(self, axis: str, width: int) -> int:
        """How many samples have as many rows, one for each position, as `width`; none if units stay inside their layer."""
        return ceil(width / self._positions(axis)) if self.emits(axis) else 0

    def widest(self, axis: str, samples: int) -> int:
        """Largest width of an axis that can be measured on so many samples: one less than their rows."""
        return samples * self._positions(axis) - 1 if self.emits(axis) else UNLIMITED

    def emits(self, axis: str) -> bool:
        """Whether the units of an axis leave the layer that makes them."""
        layer, _ = self.network.graph.units[axis].producers[0]
        return any(call.layer == layer for call in self.network.graph.calls)

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
        found = next((call for call in self.network.graph.calls if call.layer == layer), None)
        if found is None:
            raise AxisRefused(
                f"Cannot measure activations of axis '{axis}': its units stay inside their layer. Name the axes to work on "
                "with `axes`, or use a strategy that looks at weights."
            )
        return found

    def made_first(self, axis: str) -> Port:
        """The axis of a variable along which the units of an axis are made first."""
        return next(port for port, rule in self.network.graph.ports(axis).items() if rule.role == "produce")

    def maker(self, axis: str) -> Maker:
        """The first layer that makes the units of an axis.

        Raises:
            AxisRefused: If new units of it cannot be computed.
        """
        return maker_of(self, axis)

    def chain(self, axis: str) -> list[Any]:
        """Calls that follow one by one, treating each unit by itself: normalisation, activation, dropout."""
        chain: list[Any] = []
        number = self.first_call(axis).outputs[0]
        while True:
            readers = [call for call in self.network.graph.calls if number in call.inputs]
            if (
                len(readers) != 1
                or number in self.network.graph.output_numbers
                or not is_unitwise(readers[0].behaviour)
            ):
                return chain
            chain.append(readers[0])
            number = readers[0].outputs[0]

    def readings(self, axis: str) -> dict[tuple[Any, int], np.ndarray]:
        """Every input of a layer with weights that reads units of an axis.

        Returns:
            By the call and the place of the input, for each of its channels the index of the unit there, or -1 for a unit of
            another axis.
        """
        graph, found = self.network.graph, {}
        readers = {port.layer for port, rule in graph.ports(axis).items() if rule.role == "consume"}
        for call in graph.calls:
            for place, number in enumerate(call.inputs if call.layer in readers else ()):
                labels = graph.tensors[number]
                if labels.labelled:
                    units = graph.unit_of(axis, labels.vector(labels.varies.index(True)))
                    found.update({(call, place): units} if (units >= 0).any() else {})
        return found

    def normalization(self, axis: str) -> Normalization | None:
        """The batch normalisation behind the first layer of an axis; `None` without one."""
        for call in self.chain(axis):
            layer = self.network.layers[call.layer]
            if isinstance(layer, keras.layers.BatchNormalization):
                variance = current().read(layer.moving_variance).astype(np.float64)
                gamma = current().read(layer.gamma).astype(np.float64) if layer.scale else np.ones_like(variance)
                columns = self.columns(axis)
                pick = slice(None) if columns is None else columns
                return Normalization(gamma[pick], (gamma / np.sqrt(variance + layer.epsilon))[pick])
        return None

    def columns(self, axis: str) -> np.ndarray | None:
        """Places of an axis's units among the channels of its post-activation; `None` when they are all of them."""
        if self._columns[0] is not self.network.graph:
            self._columns = (self.network.graph, {})
        found = self._columns[1]
        if axis not in found:
            found[axis] = self._find_columns(axis)
        return found[axis]

    def _find_columns(self, axis: str) -> np.ndarray | None:
        number, graph = self.post_activation(axis), self.network.graph
        labels = graph.tensors[number]
        place = next((i for i, varies in enumerate(labels.varies) if varies), len(labels.shape) - 1)
        found = graph.find_units(axis, labels.vector(place))
        return None if np.array_equal(found, np.arange(labels.shape[place] or 0)) else found

    def apply_chain(self, call: Any, outputs: Any) -> Any:
        """What one call of a chain makes of new units."""
        operation = self.network.nodes[call].operation
        if isinstance(call.behaviour, Weighted):
            return unit_by_unit(self._single(call), outputs, call.behaviour.axis % (len(outputs.shape) - 1) + 1)
        return operation(outputs, **({"training": False} if internals.takes_training(operation) else {}))

    def _single(self, call: Any) -> Any:
        """A one-unit copy of a layer; made outside of any compiled function."""
        if call not in self._singles:
            layer, labels = self.network.layers[call.layer], self.network.graph.tensors[call.inputs[0]]
            self._singles[call] = current().outside(lambda: single_unit_copy(layer, labels))
        return self._singles[call]

    def evaluate_candidates(self, axis: str, entering: Any, kernels: Any) -> Any:
        """Post-activations of new units with these incoming weights and no bias, given what enters their layer.

        A unit with several places along the kernel has as many channels, those of all units at the first place first.
        """
        maker = self.maker(axis)
        fresh = activated(maker.layer, unit_response(maker.layer, entering, kernels, maker.port.axis, maker.rank))
        for call in self.chain(axis):
            fresh = self.apply_chain(call, fresh)
        return fresh

    def activation_at_zero(self, axis: str) -> tuple[float, float]:
        """What a unit emits whose inputs sum to zero, and the derivative there, largest over the ways to its readers."""
        if axis not in self._at_zero:
            ends = activations_at_zero(self, axis)
            self._at_zero[axis] = (max((e[0] for e in ends), key=abs), max((e[1] for e in ends), key=abs))
        return self._at_zero[axis]

    def packed(self, outputs: Sequence[Any]) -> Any:
        """Outputs of the network in the structure in which the model returns them."""
        return outputs[0] if self._structure is None else keras.tree.pack_sequence_as(self._structure, list(outputs))

    def compute(self, key: Any, function: Any, *args: Any) -> Any:
        """Compile a function under a key when it is first requested, and call it."""
        if key not in self._compiled:
            self._compiled[key] = current().compiled(function)
        try:
            with internals.keeping_states(self.network.layers.values()):
                return self._compiled[key](*args)
        except current().RUN_ERRORS as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MeasurementError(
                f"The network cannot be run on what is measured on: {first} A network of a fixed batch size is measured on "
                "batches of that size."
            ) from error

    def _measurement(self, axis: str, limit: int | None) -> AxisMeasurement:
        """What is known of an axis without running the network."""
        ports = self.network.graph.ports(axis)
        makers = [port for port, rule in ports.items() if rule.role == "produce" and self.rank(port) > 1]
        readers = [port for port, rule in ports.items() if rule.role == "consume"]
        return AxisMeasurement(
            axis,
            self.network.graph.units[axis].width,
            limit,
            "conv" if self._shares_positions(axis) else "dense",
            tuple(fan_in(self, axis, port) for port in makers),
            lambda: tuple(fan_out(self, axis, port) for port in readers),
            lambda count: self._entries(axis, count),
            bias=lambda: self._bias(axis),
            normalization=lambda: self.normalization(axis),
            slope=lambda: self.activation_at_zero(axis)[1],
            offset=lambda: self.activation_at_zero(axis)[0],
        )

    def _entries(self, axis: str, count: int) -> dict[str, tuple[int, ...]]:
        """Shapes of what an edit takes for new units, by the names that it takes it under."""
        graph, found = self.network.graph, {}
        for port, rule in graph.ports(axis).items():
            shape = list(self.extents(port))
            shape[port.axis] = count * len(graph.places(port, axis)) // graph.units[axis].width
            found[f"{port.key}/{port.axis}"] = tuple(shape)
            if rule.role == "produce" or port.key not in found:
                found[port.key] = tuple(shape)
        return found

    def _shares_positions(self, axis: str) -> bool:
        """Whether the first layer that makes the units is a convolution, which computes each of them at many positions."""
        layer, _ = self.network.graph.units[axis].producers[0]
        return internals.slides_kernel(computing(self.network.layers.get(layer)))

    def _bias(self, axis: str) -> np.ndarray | None:
        """Biases of the units in the first layer that makes them."""
        layer, _ = self.network.graph.units[axis].producers[0]
        made = [p for p, rule in self.network.graph.ports(axis).items() if p.layer == layer and rule.role == "produce"]
        port = next((port for port in made if self.rank(port) == 1), None)
        return None if port is None else current().read(self.variable(port))[self.network.graph.places(port, axis)]

    def variable(self, port: Port) -> Any:
        """The variable that a port is an axis of."""
        return internals.own_variables(self.network.layers[port.layer])[port.variable]

    def extents(self, port: Port) -> tuple[int, ...]:
        """Present shape of the variable that a port is an axis of, also in a compiled function."""
        return current().outside(lambda: tuple(int(extent) for extent in self.variable(port).shape))

    def rank(self, port: Port) -> int:
        """How many axes that variable has."""
        return len(internals.shape_of(self.variable(port)))
