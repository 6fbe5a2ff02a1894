"""What operations on shapes do to unit labels: reshaping, splitting, indexing, reducing, stacking."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import FIXED, Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation


@dataclass(frozen=True)
class Reshape(Behaviour):
    """Entries keep their order and get another shape.

    Axes before and after fall into segments of equal size. Where one axis becomes several, units lie along one of these
    afterwards, the flexible one, and those that come to the same place of it become one unit: a channel shuffle edits a
    channel of each of its groups at once.

    Attributes:
        input_shape: Shape that enters, without batch, when the network was traced.
        output_shape: Shape that leaves.
        flexible: Axis of the output whose extent is not fixed; by default the last one of its segment.
        rigid: Whether the shape must be known when the network is traced.
    """

    input_shape: Shape
    output_shape: Shape
    flexible: int | None = None
    rigid: bool = False

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Follow the labels through each segment; they can vary within one of them."""
        x = inputs[0]
        if not x.labelled:
            return [UnitLabels.fixed(self.output_shape)]
        held = self._segments()
        places = [i for i, (before, _) in enumerate(held or ()) if any(x.varies[axis] for axis in before)]
        if held is None or len(places) != 1:
            propagation.lock(x.ids, f"layer '{layer}' reshapes its units from {x.shape} to {self.output_shape}")
            return [UnitLabels.fixed(self.output_shape)]
        return [self._through(propagation, layer, x, *held[places[0]])]

    def _segments(self) -> list[tuple[list[int], list[int]]] | None:
        """Pairs of neighbouring axes before and after with the same number of entries; `None` if an extent is unknown."""
        if any(extent is None for extent in (*self.input_shape, *self.output_shape)):
            return None
        found: list[tuple[list[int], list[int]]] = []
        left, right = (list(enumerate(int(e or 0) for e in shape)) for shape in (self.input_shape, self.output_shape))
        while left and right:
            before, after = [left.pop(0)], [right.pop(0)]
            while (difference := _size(before) - _size(after)) != 0:
                shorter, rest = (before, left) if difference < 0 else (after, right)
                if not rest:
                    return None
                shorter.append(rest.pop(0))
            found.append(([axis for axis, _ in before], [axis for axis, _ in after]))
        if found:
            found[-1][0].extend(axis for axis, _ in left)  # of extent 1
            found[-1][1].extend(axis for axis, _ in right)
        return found

    def _through(
        self, propagation: Propagation, layer: str, x: UnitLabels, before: list[int], after: list[int]
    ) -> UnitLabels:
        if self.rigid:
            propagation.stiffen(x.ids)
        extents = [int(x.shape[axis] or 0) for axis in before]
        ids = x.ids.reshape([x.ids.shape[axis] for axis in before])
        flat = np.broadcast_to(ids, extents).reshape(-1)
        shape: list[Any] = list(self.output_shape)
        place = self.flexible if self.flexible in after else self._last(after)
        beside = prod(int(shape[axis] or 0) for axis in after if axis != place)
        if len(flat) % beside:
            raise ValueError(f"Layer '{layer}' needs a multiple of {beside} units, but would get {len(flat)}.")
        shape[place] = len(flat) // beside
        rows = np.moveaxis(flat.reshape([int(shape[axis] or 0) for axis in after]), after.index(place), -1)
        rows = rows.reshape(-1, shape[place])
        joint = rows[0]
        for row in rows[1:]:
            joint = propagation.tie(joint, row, f"layer '{layer}' puts them into groups")
        return UnitLabels.along(tuple(shape), place, joint)

    def _last(self, after: list[int]) -> int:
        return max((axis for axis in after if self.output_shape[axis] != 1), default=after[-1])


def _size(axes: list[tuple[int, int]]) -> int:
    return prod(extent for _, extent in axes)


@dataclass(frozen=True)
class Split(Behaviour):
    """A tensor cut into equal parts along an axis; where units lie there, those at the same place become one.

    Attributes:
        axis: The axis, without batch.
        parts: How many.
    """

    axis: int
    parts: int

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Cut the labels."""
        x, axis = inputs[0], self.axis
        if not x.varies[axis]:
            shape = tuple(int(e or 0) // self.parts if i == axis else e for i, e in enumerate(x.shape))
            return [UnitLabels(shape, x.ids, x.varies)] * self.parts
        if x.ids.shape[axis] % self.parts:
            raise ValueError(
                f"Layer '{layer}' needs a multiple of {self.parts} units, but would get {x.ids.shape[axis]}."
            )
        pieces = np.split(x.ids, self.parts, axis)
        joint = pieces[0]
        for piece in pieces[1:]:
            joint = propagation.tie(joint, piece, f"layer '{layer}' cuts them into equal parts")
        shape = tuple(joint.shape[axis] if i == axis else e for i, e in enumerate(x.shape))
        return [UnitLabels(shape, joint, x.varies)] * self.parts


@dataclass(frozen=True)
class Reduce(Behaviour):
    """A mean, sum or maximum over some axes.

    Attributes:
        axes: The axes, without batch.
        keepdims: Whether they stay, with an extent of 1.
        repeats: Whether the result is the same however often an entry is repeated (a maximum, `any`).
    """

    axes: tuple[int, ...]
    keepdims: bool = False
    repeats: bool = False

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Leave the axes out; units that lie there are mixed."""
        x = inputs[0]
        mixed = any(x.varies[axis] for axis in self.axes)
        if mixed and not (self.repeats and x.alike):
            propagation.mix(x.ids, f"layer '{layer}' reduces over its units")
        kept = [i for i in range(len(x.shape)) if i not in self.axes]
        shape: Shape = tuple(x.shape[i] for i in kept)
        if self.keepdims:
            shape = tuple(e if i in kept else 1 for i, e in enumerate(x.shape))
        if mixed or not x.labelled:
            return [UnitLabels.fixed(shape)]
        if self.keepdims:
            return [UnitLabels(shape, x.ids, x.varies, x.alike)]
        ids = x.ids.reshape([x.ids.shape[i] for i in kept])
        return [UnitLabels(shape, ids, tuple(x.varies[i] for i in kept), x.alike)]


@dataclass(frozen=True)
class Slice(Behaviour):
    """Some positions of some axes, `x[:, 0]`, and new axes, `x[:, None]`; axes along which units lie must be taken whole.

    Attributes:
        taken: For each axis what is taken of it: `"all"`, `"some"` of it, or `"one"` place, which drops the axis; and
            `"new"` where an axis of extent 1 is put in.
        output_shape: Shape of the output without batch.
    """

    taken: tuple[str, ...]
    output_shape: Shape

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Keep the labels along the axes that are taken whole."""
        x = inputs[0]
        own = [taken for taken in self.taken if taken != "new"]
        if any(v and taken != "all" for v, taken in zip(x.varies, own, strict=True)):
            propagation.lock(
                x.ids, f"layer '{layer}' takes some of its units by their number; use keras.ops.split for equal parts"
            )
            return [UnitLabels.fixed(self.output_shape)]
        places = iter(range(len(own)))
        order = [None if taken == "new" else next(places) for taken in self.taken]
        kept = [i for i, taken in zip(order, self.taken, strict=True) if taken != "one"]
        shape = tuple(
            x.shape[i] if i is not None and own[i] == "all" else e for i, e in zip(kept, self.output_shape, strict=True)
        )
        ids = x.ids.reshape([1 if i is None else x.ids.shape[i] for i in kept])
        return [UnitLabels(shape, ids, tuple(i is not None and x.varies[i] for i in kept), x.alike)]


@dataclass(frozen=True)
class NewAxes(Behaviour):
    """Axes of extent 1 come, or go.

    Attributes:
        order: For each axis of the output its axis in the input, or `None` for a new one.
    """

    order: tuple[int | None, ...]

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Move the labels along; a unit along an axis that goes is locked."""
        x = inputs[0]
        gone = [i for i in range(len(x.shape)) if i not in self.order]
        shape = tuple(1 if i is None else x.shape[i] for i in self.order)
        if any(x.varies[i] for i in gone):
            propagation.lock(x.ids, f"layer '{layer}' drops the axis that its unit lies along")
            return [UnitLabels.fixed(shape)]
        ids = x.ids.reshape([1 if i is None else x.ids.shape[i] for i in self.order])
        return [UnitLabels(shape, ids, tuple(i is not None and x.varies[i] for i in self.order), x.alike)]


@dataclass(frozen=True)
class Stack(Behaviour):
    """Several tensors along a new axis; units at the same place become one."""

    axis: int

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Tie the labels, and add the axis."""
        first = inputs[0]
        if any(x.varies != first.varies for x in inputs):
            for x in inputs:
                propagation.lock(x.ids, f"layer '{layer}' stacks tensors whose units lie along different axes")
            first = UnitLabels.fixed(first.shape)
        joint = first.ids
        for x in inputs[1:] if any(first.varies) else ():
            joint = propagation.tie(joint, x.ids, f"layer '{layer}' stacks them")
        shape = (*first.shape[: self.axis], len(inputs), *first.shape[self.axis :])
        varies = (*first.varies[: self.axis], False, *first.varies[self.axis :])
        if (joint == FIXED).all():
            return [UnitLabels.fixed(shape)]
        return [UnitLabels(shape, np.expand_dims(joint, self.axis), varies)]
