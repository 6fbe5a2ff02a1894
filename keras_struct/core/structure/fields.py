"""Units that occupy several channels in a row: the fields of equivariant networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import FIXED, Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation
from keras_struct.core.structure.rules import AxisRule


@dataclass(frozen=True)
class Fields(Behaviour):
    """A layer whose units have a channel for each element of a group.

    Attributes:
        rules: One for each axis of each variable that lies along fields.
        axis: Axis of the input, without batch, that holds channels.
        output_shape: Shape of the output without batch.
        channels_in: Channels of a field that enters.
        channels_out: Channels of a field that leaves.
        units: How many fields the layer makes; `None` for one that passes its input's on.
        mixes: Why the layer mixes the fields that it makes, if it does.
    """

    rules: tuple[AxisRule, ...]
    axis: int
    output_shape: Shape
    channels_in: int
    channels_out: int
    units: int | None = None
    mixes: str | None = None

    def with_channels(self, channels_out: int) -> Fields:
        """Return the same with another number of channels of a field that leaves."""
        shape, axis = list(self.output_shape), self.axis % len(self.output_shape)
        extent = shape[axis]
        shape[axis] = None if extent is None else extent // self.channels_out * channels_out
        return replace(self, channels_out=channels_out, output_shape=tuple(shape))

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Read one label of each field, record where fields lie in the variables, and make or pass them."""
        channels = propagation.read(layer, inputs[0], self.axis)
        fields = propagation.units.find(channels).reshape(-1, self.channels_in)
        if (fields != fields[:, :1]).any():
            propagation.lock(channels, f"layer '{layer}' takes each {self.channels_in} of them for one field")
            fields = np.full_like(fields, FIXED)
        read = fields[:, 0]
        made = read if self.units is None else propagation.produce(layer, self.units)
        for rule in self.rules:
            propagation.record(layer, rule, made if rule.along_output else read)
        if self.mixes:
            propagation.mix(made, self.mixes)
        if (made == FIXED).all():
            return [UnitLabels.fixed(self.output_shape)]
        return [
            UnitLabels.along(self.output_shape, self.axis % len(self.output_shape), np.repeat(made, self.channels_out))
        ]
