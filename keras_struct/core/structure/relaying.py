"""What it means for the rest of a network that the outputs of one layer are rearranged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.graph import Call, StructureGraph
from keras_struct.core.structure.labels import Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation
from keras_struct.core.structure.rearrangement import Rearrangement
from keras_struct.core.structure.rules import Port


@dataclass(frozen=True)
class _Places(Behaviour):
    """Every channel that a layer outputs is a unit of its own, so that one sees where it goes."""

    axis: int
    output_shape: Shape
    channels: int

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        made = propagation.produce(layer, self.channels)
        return [UnitLabels.along(self.output_shape, self.axis % len(self.output_shape), made)]


def relay(graph: StructureGraph, layer: str, source: np.ndarray) -> tuple[StructureGraph, Mapping[Port, Rearrangement]]:
    """Rearrange the channels that a layer makes of each field.

    Args:
        graph: The structure.
        layer: A layer that passes fields on.
        source: For each channel of a field afterwards, which one before it is equal to.

    Returns:
        The structure afterwards, and what carriers and consumers of the channels have to do so that the function is kept.

    Raises:
        ValueError: If the channels are an output of the model, meet those of another layer, or enter what has no unit rules.
    """
    calls = [call for call in graph.calls if call.layer == layer]
    shapes = {call: graph.tensors[call.outputs[0]].shape for call in calls}
    places, after = {}, {}
    for call in calls:
        behaviour = call.behaviour
        if not isinstance(behaviour, Fields):
            raise TypeError(f"Layer '{layer}' passes no fields on.")
        channels = int(shapes[call][behaviour.axis % len(shapes[call])] or 0)
        places[call] = _replaced(call, _Places(behaviour.axis, shapes[call], channels))
        after[call] = _replaced(call, behaviour.with_channels(len(source)))
    seen = graph.with_calls(places)
    axis = next((axis for axis in seen.units.values() if axis.producers[0][0] == layer), None)
    if axis is None or axis.locked is not None or len(axis.producers) > 1 or axis.width != channels:
        why = "they meet those of other layers" if axis is None or axis.locked is None else axis.locked
        raise ValueError(f"Cannot rearrange the channels of layer '{layer}': {why}.")
    old = int(source.max()) + 1
    whole = (np.arange(channels // old)[:, None] * old + source).ravel()
    _, changes = seen.edited(Resize(axis.name, tuple(whole.tolist())))
    return graph.with_calls(after), changes


def _replaced(call: Call, behaviour: Behaviour) -> Call:
    return replace(call, behaviour=behaviour)
