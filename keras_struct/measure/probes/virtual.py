"""Units that do not exist: what they would add to the layers that read them, and how the loss would change with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_struct.core.backend import current
from keras_struct.core.structure.behaviours import Concatenate, Flatten, Merge, Positions
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.structure.rules import Port
from keras_struct.measure.probes.paths import path
from keras_struct.measure.probes.responses import activated, is_linear, linear_response, not_linear, unit_response


@dataclass(frozen=True)
class Reader:
    """One call of a layer that reads the units of an axis.

    Attributes:
        call: The call.
        port: The axis of its kernel along which it reads them.
        path: Calls between the first layer that makes the units and this one.
        shape: Shape of one unit's outgoing weights, `(positions, ...)`.
    """

    call: Any
    port: Port
    path: tuple[Any, ...]
    shape: tuple[int, ...]

    def open_shape(self, probe: Any) -> tuple[Any, ...]:
        """The same shape as the present kernel has it, also in a compiled function."""
        kernel = keras.ops.shape(keras.ops.stop_gradient(probe.variable(self.port)))
        return (self.shape[0], *(extent for i, extent in enumerate(kernel) if i != self.port.axis))


def readers_of(probe: Any, axis: str) -> list[Reader]:
    """Return the calls that read an axis, in the order of the measurement's `fan_out`; of a shared layer the first call.

    Raises:
        AxisRefused: If nothing reads the units, or a layer that does is not linear in them, or cannot be reached unit by unit.
    """
    graph, found = probe.network.graph, []
    for port, rule in graph.ports(axis).items():
        if rule.role != "consume":
            continue
        layer = probe.network.layers[port.layer]
        if not is_linear(layer, reads=True):
            why = not_linear(layer, port.layer)
            raise AxisRefused(f"Cannot compute gradients for axis '{axis}': of what reads its units, {why}")
        call = next(call for call in graph.calls if call.layer == port.layer)
        positions = int((graph.unit_along(port, axis) == 0).sum())
        shape = (positions, *(extent for i, extent in enumerate(probe.extents(port)) if i != port.axis))
        found.append(Reader(call, port, tuple(path(probe.network, axis, call)), shape))
    if not found:
        raise AxisRefused(
            f"Cannot compute gradients for axis '{axis}': no layer with weights reads its units, so new ones would have "
            "no outgoing weights. Put a Dense or Conv layer behind it, or leave the axis out of `axes`."
        )
    return found


class VirtualUnits:
    """K units added to an axis in thought, with the values that normalisation gives to new units.

    Args:
        probe: The `StructureProbe`.
        axis: Name of the axis.
        readers: The calls that read it.
        linear: Leave out normalisation and activation.
    """

    def __init__(self, probe: Any, axis: str, readers: Sequence[Reader], linear: bool = False) -> None:
        self.probe, self.axis, self.readers, self.linear = probe, axis, list(readers), linear
        self.maker = probe.maker(axis)

    def contributions(self, inputs: Any, fan_in: Any, bias: Any, fan_out: Sequence[Any]) -> list[Any]:
        """What the units add before the activation of each reader."""
        maker = self.maker
        sums = unit_response(maker.layer, inputs, fan_in, maker.port.axis, maker.rank)
        sums = sums + keras.ops.reshape(bias, [-1 if i == maker.place else 1 for i in range(len(sums.shape))])
        units = sums if self.linear else activated(maker.layer, sums)
        return [self._read(reader, units, out) for reader, out in zip(self.readers, fan_out, strict=True)]

    def _read(self, reader: Reader, units: Any, fan_out: Any) -> Any:
        flat = False
        for call in reader.path:
            behaviour = call.behaviour
            if isinstance(behaviour, Flatten):
                flat = True
            elif isinstance(behaviour, Positions):
                units = self.probe.network.nodes[call].operation(units)
            elif not isinstance(behaviour, Merge | Concatenate) and not self.linear:
                units = self.probe.apply_chain(call, units)
        if flat:
            last = self.maker.place == len(units.shape) - 1
            units = units if last else keras.ops.moveaxis(units, self.maker.place, -1)
            units = keras.ops.reshape(units, (keras.ops.shape(units)[0], -1))
        kernel = keras.ops.moveaxis(self._rows(reader, fan_out), 0, reader.port.axis)
        return linear_response(self.probe.network.layers[reader.call.layer], units, kernel)

    @staticmethod
    def _rows(reader: Reader, fan_out: Any) -> Any:
        """Outgoing weights `(positions * K, ...)` of units at one or several places, each with weights of its own."""
        if reader.shape[0] == 1:
            return keras.ops.take(fan_out, 0, axis=1)
        moved = keras.ops.moveaxis(fan_out, 0, 1)
        return keras.ops.reshape(moved, (-1, *keras.ops.shape(moved)[2:]))

    def gradients(self, inputs: Any, *arrays: Any) -> list[Any]:
        """Gradients of the loss by incoming weights and by each reader's outgoing weights.

        Args:
            inputs: What enters the layer that makes the units.
            *arrays: Gradients of the loss before the activation of each reader; then incoming weights, biases, and
                outgoing weights for each reader.
        """
        number = len(self.readers)
        cotangents, (fan_in, bias), fan_out = arrays[:number], arrays[number : number + 2], arrays[number + 2 :]

        def change(fan_in: Any, *fan_out: Any) -> Any:
            return self._change(inputs, cotangents, fan_in, bias, fan_out)

        return current().vjp(change, [fan_in, *fan_out], keras.ops.ones((), fan_in.dtype))

    def _change(self, inputs: Any, cotangents: Sequence[Any], fan_in: Any, bias: Any, fan_out: Sequence[Any]) -> Any:
        """Change of the loss by the units, to first order in what they add."""
        parts = self.contributions(inputs, fan_in, bias, fan_out)
        products = [keras.ops.sum(p * keras.ops.cast(g, p.dtype)) for p, g in zip(parts, cotangents, strict=True)]
        return sum(products[1:], products[0])

    def fan_in_gradients(self, inputs: Any, cotangents: Sequence[Any], fan_out: Sequence[Any]) -> Any:
        """Gradients of the loss by the incoming weights, `(..., K)`, of units that have none yet."""
        one = self.maker.no_fan_in()
        fan_in = keras.ops.repeat(one, keras.ops.shape(fan_out[0])[0], axis=-1)
        bias = keras.ops.zeros((1,), fan_in.dtype)
        (found,) = current().vjp(
            lambda weights: self._change(inputs, cotangents, weights, bias, fan_out),
            [fan_in],
            keras.ops.ones((), fan_in.dtype),
        )
        return found

    def transposed(self, inputs: Any, cotangents: Sequence[Any], directions: Any) -> list[Any]:
        """The transpose of `fan_in_gradients`, which is linear in the outgoing weights, applied to `directions`."""
        count = keras.ops.shape(directions)[-1]
        zeros = [keras.ops.zeros((count, *reader.open_shape(self.probe)), directions.dtype) for reader in self.readers]
        return current().vjp(lambda *out: self.fan_in_gradients(inputs, cotangents, out), zeros, directions)
