"""What factors on the units of an axis do to the loss: gates that are open, and that shut one unit after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.assemblies import Assembly, EachStep
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.structure.rules import Port
from keras_struct.measure.probes.buffer import samples_between, samples_of
from keras_struct.measure.probes.interpreter import run

SAMPLES = 64
"""How many samples are differentiated one by one, where units stay inside their layer."""


class UnitGates:
    """Gates on what is read of the units of an axis, on one batch and in inference mode.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        loss: Takes inputs, targets, outputs and sample weights; returns the mean loss.
        inputs: Inputs of a batch.
        wanted: Targets, and sample weights if there are any.
    """

    def __init__(self, probe: Any, loss: Callable, inputs: Any, wanted: tuple[Any, ...]) -> None:
        self.probe, self.loss, self.inputs, self.wanted = probe, loss, inputs, wanted

    def derivatives(self, axis: str) -> np.ndarray:
        """Derivative of each sample's loss by a factor on what is read of each unit; `(samples, M)` float64.

        Where layers read units from their inputs, the gates stand there, one for each sample. Heads of an attention, or what
        a recurrent layer reads of itself, never leave their layer: there the gates stand before outgoing weights, at most 64
        samples are taken, and one after the other.
        """
        readings, ports = self.probe.readings(axis), self._reading(axis)
        factors = keras.ops.ones((self.probe.network.graph.units[axis].width + 1,), "float32")
        if all(port.layer in {call.layer for call, _ in readings} and not self._inside(port) for port in ports):
            places = [keras.ops.convert_to_tensor(units.astype("int32")) for units in readings.values()]
            function = partial(self._by_sample, tuple(readings))
            return _numpy(self._compute(("gates", axis), function, self.inputs, self.wanted, factors, *places))
        places, found = self._places(axis, ports), []
        for i in range(min(SAMPLES, samples_of(self.inputs))):
            inputs, wanted = (samples_between(part, i, i + 1) for part in (self.inputs, self.wanted))
            found.append(
                _numpy(self._compute(("gate", axis), partial(self._of_all, ports), inputs, wanted, factors, *places))
            )
        return np.stack(found)

    def losses_without(self, axis: str) -> np.ndarray:
        """Loss of the batch with the outgoing weights of each unit, by itself, zero; `(M,)` float64."""
        ports, found = self._reading(axis), []
        places, function = self._places(axis, ports), partial(self._loss_scaled, ports)
        for mask in 1.0 - np.eye(self.probe.network.graph.units[axis].width):
            factors = keras.ops.convert_to_tensor(np.append(mask, 1.0).astype("float32"))
            value = self._compute(("masked", axis), function, self.inputs, self.wanted, factors, *places)
            found.append(float(keras.ops.convert_to_numpy(value)))
        return np.array(found)

    def _reading(self, axis: str) -> tuple[Port, ...]:
        """Every axis of a variable that units are read by."""
        ports = tuple(p for p, rule in self.probe.network.graph.ports(axis).items() if rule.role == "consume")
        if not ports:
            raise AxisRefused(
                f"Cannot measure what axis '{axis}' does to the loss: no layer with weights reads its units. Put a Dense or Conv "
                "layer behind it, or leave the axis out of `axes`."
            )
        return ports

    def _inside(self, port: Port) -> bool:
        """Whether a layer reads by these weights what it made itself, such as its state."""
        behaviour = next((c.behaviour for c in self.probe.network.graph.calls if c.layer == port.layer), None)
        while isinstance(behaviour, EachStep):
            behaviour = behaviour.inner
        made = [rule for make in behaviour.makes for rule in make.rules] if isinstance(behaviour, Assembly) else []
        return any((rule.variable, rule.axis) == (port.variable, port.axis) for rule in made)

    def _places(self, axis: str, ports: Sequence[Port]) -> list[Any]:
        graph = self.probe.network.graph
        return [keras.ops.convert_to_tensor(graph.unit_along(port, axis).astype("int32")) for port in ports]

    def _compute(self, key: tuple[str, str], function: Callable, inputs: Any, wanted: Any, *rest: Any) -> Any:
        """`function` takes inputs, targets, sample weights, factors `(M + 1,)`, the last for other units, and places."""
        count = len(keras.tree.flatten(wanted))

        def look(inputs: Any, *flat: Any) -> Any:
            packed = keras.tree.pack_sequence_as(wanted, list(flat[:count]))
            targets, weights = packed if len(packed) == 2 else (packed[0], None)
            return function(inputs, targets, weights, *flat[count:])

        return self.probe.compute((*key, len(wanted)), look, inputs, *keras.tree.flatten(wanted), *rest)

    def _by_sample(
        self, read: Sequence[Any], inputs: Any, targets: Any, weights: Any, factors: Any, *places: Any
    ) -> Any:
        count = keras.ops.shape(keras.tree.flatten(inputs)[0])[0]
        gates = keras.ops.ones((count, 1), factors.dtype) * keras.ops.expand_dims(factors, 0)
        tensors = self.probe.network.graph.tensors

        def loss(watch: Callable, inputs: Any) -> tuple[Any, None]:
            seen = watch("gates", gates)
            change = {
                (call, place): lambda x, labels=tensors[call.inputs[place]], units=units: (
                    x * _spread(seen, x, units, labels)
                )
                for (call, place), units in zip(read, places, strict=True)
            }
            return self._loss(inputs, targets, weights, change), None

        gradients, _ = current().gradients(loss, inputs)
        return (gradients["gates"] * keras.ops.cast(count, factors.dtype))[:, :-1]

    def _of_all(
        self, ports: Sequence[Port], inputs: Any, targets: Any, weights: Any, factors: Any, *places: Any
    ) -> Any:
        def loss(watch: Callable, inputs: Any) -> tuple[Any, None]:
            return self._loss_scaled(ports, inputs, targets, weights, watch("gates", factors), *places), None

        gradients, _ = current().gradients(loss, inputs)
        return gradients["gates"][:-1]

    def _loss_scaled(
        self, ports: Sequence[Port], inputs: Any, targets: Any, weights: Any, factors: Any, *places: Any
    ) -> Any:
        """Loss with the outgoing weights of units multiplied by factors."""
        scaled: dict[int, tuple[Any, Any]] = {}
        for port, units in zip(ports, places, strict=True):
            variable = self.probe.variable(port)
            value = scaled.get(id(variable), (variable, keras.ops.convert_to_tensor(variable.value)))[1]
            shape = [-1 if i == port.axis else 1 for i in range(len(variable.shape))]
            taken = keras.ops.cast(_taken(factors, units, 0), value.dtype)
            scaled[id(variable)] = (variable, value * keras.ops.reshape(taken, shape))
        with keras.StatelessScope(state_mapping=list(scaled.values())):
            return self._loss(inputs, targets, weights)

    def _loss(self, inputs: Any, targets: Any, weights: Any, change: Any = None) -> Any:
        numbers = self.probe.network.graph.output_numbers
        found = run(self.probe.network, inputs, set(numbers), change=change)
        return self.loss(inputs, targets, self.probe.packed([found[n] for n in numbers]), weights)


def _numpy(found: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(found).astype(np.float64)


def _taken(gates: Any, units: Any, axis: int) -> Any:
    """Gates `(..., M + 1)` in the order of `units`; -1 means the last."""
    return keras.ops.take(gates, keras.ops.where(units < 0, keras.ops.shape(gates)[axis] - 1, units), axis=axis)


def _spread(gates: Any, tensor: Any, units: Any, labels: Any) -> Any:
    """Gates `(samples, M + 1)` laid out along the axis of a tensor on which units lie."""
    taken = keras.ops.cast(_taken(gates, units, 1), tensor.dtype)
    shape = [1] * len(labels.shape)
    shape[labels.varies.index(True)] = -1
    return keras.ops.reshape(taken, (keras.ops.shape(gates)[0], *shape))
