"""Products of two tensors that are summed over axes: `matmul`, `einsum`, `Dot`, scores of attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation
from keras_struct.core.structure.rules import AxisRule


@dataclass(frozen=True)
class Contract(Behaviour):
    """Two tensors are multiplied, and summed over the axes that the result lacks.

    Units along an axis of one tensor alone pass on. Those that meet along an axis of both become one; where the products are
    summed over them no edit keeps the function, since a new unit enters every sum.

    Attributes:
        axes: For each tensor a name of each of its axes, without batch.
        result: Names of the axes of the result.
        output_shape: Shape of the result without batch.
        constants: Shapes of tensors, by their place, that do not come from the network: arrays and variables.
        reason: What the operation does to units that it sums over, for an error message.
    """

    axes: tuple[tuple[str, ...], tuple[str, ...]]
    result: tuple[str, ...]
    output_shape: Shape
    constants: Mapping[int, Shape]
    reason: str

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Tie what meets, and pass on what remains."""
        entering = iter(inputs)
        tensors = [UnitLabels.fixed(self.constants[i]) if i in self.constants else next(entering) for i in (0, 1)]
        found: dict[str, np.ndarray] = {}
        for place, (x, names) in enumerate(zip(tensors, self.axes, strict=True)):
            varied = [i for i, varies in enumerate(x.varies) if varies]
            if len(varied) > 1 or any(names.count(names[i]) > 1 for i in varied):
                propagation.lock(x.ids, f"layer '{layer}' takes several axes of them apart")
            elif varied:
                found.update(self._along(propagation, layer, place, varied[0], tensors, found))
        kept = {name: ids for name, ids in found.items() if name in self.result}
        if len(kept) != 1:
            for ids in kept.values():
                propagation.lock(ids, f"layer '{layer}' multiplies each of them by each unit of another tensor")
            return [UnitLabels.fixed(self._shape(kept))]
        ((name, ids),) = kept.items()
        return [UnitLabels.along(self._shape(kept), self.result.index(name), ids)]

    def _along(self, propagation, layer, place, axis, tensors, found) -> dict[str, np.ndarray]:
        """Labels along a named axis, tied to what they meet there in the other tensor."""
        ids, name = tensors[place].vector(axis), self.axes[place][axis]
        other, names = tensors[1 - place], self.axes[1 - place]
        if name not in names:
            if name not in self.result:
                propagation.mix(ids, self.reason)
            return {name: ids}
        if name not in found:
            held = names.index(name)
            alone = other.shape[held] == 1 != len(ids)
            across = np.full(len(ids), -1) if alone or not other.varies[held] else other.vector(held)
            if not (alone and name in self.result):
                ids = propagation.tie(ids, across, f"layer '{layer}' multiplies tensors")
        if name not in self.result:
            propagation.mix(ids, self.reason)
        return {name: ids}

    def _shape(self, kept: Mapping[str, np.ndarray]) -> Shape:
        return tuple(len(kept[n]) if n in kept else e for n, e in zip(self.result, self.output_shape, strict=True))


@dataclass(frozen=True)
class Attend(Behaviour):
    """Attention without weights of its own but for the scores: units of queries meet those of keys, values pass on.

    Attributes:
        output_shapes: Shapes of the outputs without batch; the first one holds the values.
        rules: One for each axis of each variable that lies along the units of queries and keys.
        mixes: Why no edit of these keeps the function, if none does.
    """

    output_shapes: tuple[Shape, ...]
    rules: tuple[AxisRule, ...] = ()
    mixes: str | None = None

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Tie queries and keys, and pass on the values; without keys of their own, the values are those, too."""
        query, value, key = (propagation.read(layer, x, -1) for x in (inputs[0], inputs[1], inputs[-1]))
        joint = propagation.tie(query, key, f"layer '{layer}' compares queries with keys")
        for rule in self.rules:
            propagation.record(layer, rule, joint)
        if self.mixes:
            propagation.mix(joint, self.mixes)
        for ids in (joint, value):
            propagation.stiffen(ids)
        first, *rest = self.output_shapes
        return [UnitLabels.along(first, -1, value), *(UnitLabels.fixed(shape) for shape in rest)]
