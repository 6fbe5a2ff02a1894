"""Layers with several inputs: these meet unit by unit, or variables lie along them, or they hold no units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_struct.core.structure.assemblies import Read
from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation, unnamed
from keras_struct.core.structure.rules import AxisRule


@dataclass(frozen=True)
class Meet(Behaviour):
    """A layer that passes units on, whose inputs meet unit by unit: a weighted sum, a gate.

    Attributes:
        meeting: Places of those inputs, with the axis (without batch) along which their units lie.
        reads: What its other inputs are read by; one that is named nowhere must not hold units.
        rules: One for each axis of each variable that lies along the units that meet.
        output_shape: Shape of the output without batch.
        axis: Axis of the output along which the units lie.
        rigid: Whether the number of units must be known when the layer is traced.
        mixes: Why the layer mixes the units that it passes, if it does.
    """

    meeting: tuple[tuple[int, int], ...]
    reads: tuple[Read, ...]
    rules: tuple[AxisRule, ...]
    output_shape: Shape
    axis: int
    rigid: bool = True
    mixes: str | None = None

    def within(self, layer: str) -> Meet:
        """Return the same with longer names of variables and attributes."""
        reads = tuple(read.within(layer) for read in self.reads)
        return replace(self, reads=reads, rules=tuple(rule.within(layer) for rule in self.rules))

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Tie the units that meet, and record where they lie in the variables."""
        for read in self.reads:
            ids = propagation.read(layer, inputs[read.source], read.axis)
            self._note(propagation, layer, read.rules, ids)
            if read.mixes is not None:
                propagation.mix(ids, read.mixes)
        found = [propagation.read(layer, inputs[place], axis) for place, axis in self.meeting]
        if len({len(ids) for ids in found}) > 1:
            raise ValueError(f"Layer '{layer}' would get {', '.join(str(len(ids)) for ids in found)} units at once.")
        joint = found[0]
        for ids in found[1:]:
            joint = propagation.tie(joint, ids, f"layer '{layer}' merges tensors")
        self._note(propagation, layer, self.rules, joint)
        known = {place for place, _ in self.meeting} | {read.source for read in self.reads}
        for place, x in enumerate(inputs):
            if place not in known:
                propagation.lock(x.ids, unnamed(layer, place))
        if self.mixes:
            propagation.mix(joint, self.mixes)
        return [UnitLabels.along(self.output_shape, self.axis, joint)]

    def _note(self, propagation: Propagation, layer: str, rules: tuple[AxisRule, ...], ids: np.ndarray) -> None:
        for rule in rules:
            propagation.record(layer, rule, ids)
        if self.rigid:
            propagation.stiffen(ids)
