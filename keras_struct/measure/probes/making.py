"""The layer that makes the units of an axis, as far as new units of it can be computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.structure.rules import Port
from keras_struct.measure.probes.responses import is_linear, not_linear


@dataclass(frozen=True)
class Maker:
    """The first layer that makes the units of an axis.

    Attributes:
        call: Its first call.
        layer: The layer.
        port: The axis of its kernel along which units lie.
        variable: That kernel.
        extents: Its present shape.
        blocks: At how many places along that axis each unit lies: in a grouped convolution once in each group.
        place: Axis of its output, batch included, along which units lie.
    """

    call: Any
    layer: Any
    port: Port
    variable: Any
    extents: tuple[int, ...]
    blocks: int
    place: int

    @property
    def rank(self) -> int:
        """How many axes the kernel has."""
        return len(self.extents)

    @property
    def fan_in(self) -> tuple[int, ...]:
        """Shape of the incoming weights of one unit."""
        others = tuple(extent for i, extent in enumerate(self.extents) if i != self.port.axis)
        return others if self.blocks == 1 else (*others, self.blocks)

    def no_fan_in(self) -> Any:
        """Incoming weights of zero of one unit, `(*fan_in, 1)`, also in a compiled function."""
        units_last = keras.ops.moveaxis(keras.ops.stop_gradient(self.variable), self.port.axis, -1)
        first = units_last[..., : self.blocks]
        return keras.ops.zeros_like(first if self.blocks == 1 else keras.ops.expand_dims(first, -1))


def maker_of(probe: Any, axis: str) -> Maker:
    """Return the first layer that makes the units of an axis.

    Raises:
        AxisRefused: If its units are not sums of inputs times weights.
    """
    graph, call = probe.network.graph, probe.first_call(axis)
    layer = probe.network.layers[call.layer]
    if not is_linear(layer):
        raise AxisRefused(f"Cannot compute new units of axis '{axis}': {not_linear(layer, call.layer)}")
    port = probe.made_first(axis)
    labels = graph.tensors[call.outputs[0]]
    blocks = len(graph.places(port, axis)) // graph.units[axis].width
    place = labels.varies.index(True) + 1
    return Maker(call, layer, port, probe.variable(port), probe.extents(port), blocks, place)
