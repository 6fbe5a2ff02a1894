"""What the operations of a network do to unit labels. Each is a frozen value that knows neither Keras nor weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from keras_struct.core.structure.labels import FIXED, Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation
from keras_struct.core.structure.rules import AxisRule, named_inside


class Behaviour(ABC):
    """How one operation passes labels on."""

    @abstractmethod
    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Return the labels of the outputs of `layer`, given those of its inputs."""

    def within(self, layer: str) -> Behaviour:
        """Return the same for a layer that is inside another and called `layer` there."""
        return self


@dataclass(frozen=True)
class Weighted(Behaviour):
    """A layer whose variables lie along units, as its `rules` say.

    Attributes:
        rules: One for each axis of each variable that lies along units.
        axis: Axis of the input, without batch, along which the layer tells units apart.
        output_shape: Shape of the output without batch.
        units: How many units the layer makes; `None` for one that only passes its input's on.
        multiplier: How many outputs a passed unit has (a depthwise convolution's depth multiplier).
        mixes: Why the layer mixes the units that it outputs, if it does.
        mixes_inputs: Why it mixes those that it reads.
        rigid: `"in"`, `"out"` or both: where its number of units must be known when it is traced.
        multiple: The number of units that it reads must be a multiple of this.
        per_unit: Whether each output entry depends on the same entry of the input alone (normalisation with statistics
            of its own for each unit, PReLU).
        size: Attribute of the layer that holds how many units it passes, if one does.
    """

    rules: tuple[AxisRule, ...]
    axis: int
    output_shape: Shape
    units: int | None = None
    multiplier: int = 1
    mixes: str | None = None
    mixes_inputs: str | None = None
    rigid: tuple[str, ...] = ()
    multiple: int = 1
    per_unit: bool = False
    size: str | None = None

    def within(self, layer: str) -> Weighted:
        """Return the same with longer names of variables and attributes."""
        rules = tuple(rule.within(layer) for rule in self.rules)
        return replace(self, rules=rules, size=named_inside(layer, self.size))

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Read units along `axis`, record where they lie in the variables, and make or pass units."""
        read = propagation.read(layer, inputs[0], self.axis)
        if len(read) % self.multiple:
            raise ValueError(f"Layer '{layer}' needs a multiple of {self.multiple} units, but would get {len(read)}.")
        made = np.repeat(read, self.multiplier) if self.units is None else propagation.produce(layer, self.units)
        for rule in self.rules:
            propagation.record(layer, rule, made if rule.along_output else read)
        for side, ids in (("in", read), ("out", made)):
            if side in self.rigid:
                propagation.stiffen(ids)
        for ids, reason in ((made, self.mixes), (read, self.mixes_inputs)):
            if reason is not None:
                propagation.mix(ids, reason)
        if self.units is None and self.multiplier == 1 and not inputs[0].varies_only_along(self.axis):
            return [UnitLabels.fixed(self.output_shape)]
        if self.units is None and not inputs[0].varies[self.axis]:
            return [UnitLabels.fixed(self.output_shape)]
        return [UnitLabels.along(self.output_shape, self.axis, made)]


@dataclass(frozen=True)
class Elementwise(Behaviour):
    """Every entry of the output depends on the same entry of the input: activations, dropout, scaling by a number.

    Attributes:
        mixes: Reason and axes, for an activation that mixes entries along some axes (softmax).
    """

    mixes: tuple[str, tuple[int, ...]] | None = None

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Pass the labels."""
        if self.mixes and inputs[0].shape and any(inputs[0].varies[axis] for axis in self.mixes[1]):
            propagation.mix(inputs[0].ids, self.mixes[0])
        return [inputs[0]]


@dataclass(frozen=True)
class Alike(Behaviour):
    """A tensor of the same shape with the same number everywhere: `zeros_like`, `ones_like`."""

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Pass the labels, which only tell how many units there are."""
        return [replace(inputs[0], alike=True)]


@dataclass(frozen=True)
class Pinned(Behaviour):
    """Every entry has a constant of its own (a mean of data): fine for inputs, but units in its place cannot change.

    Attributes:
        reason: Why units that meet it are fixed, and what to do about it.
        output_shape: Shape of the output without batch.
    """

    reason: str
    output_shape: Shape

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Lock units that enter."""
        for x in inputs:
            if x.labelled:
                propagation.fixed_layers.setdefault(layer, self.reason)
                propagation.lock(x.ids, self.reason)
        return [UnitLabels.fixed(self.output_shape)]


@dataclass(frozen=True)
class Positions(Behaviour):
    """Pooling, padding, cropping, resizing, repeating: positions change, channels do not.

    Attributes:
        axis: Axis of the input, without batch, that holds channels.
        output_shape: Shape of the output without batch.
        output_axis: Axis of the output that holds channels.
        rigid: Whether the number of channels must be known when the layer is traced.
    """

    axis: int
    output_shape: Shape
    output_axis: int
    rigid: bool = False

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Keep the labels along the channel axis."""
        ids = propagation.read(layer, inputs[0], self.axis)
        if not inputs[0].labelled or not inputs[0].varies_only_along(self.axis):
            return [UnitLabels.fixed(self.output_shape)]
        if self.rigid:
            propagation.stiffen(ids)
        return [UnitLabels.along(self.output_shape, self.output_axis, ids)]


@dataclass(frozen=True)
class Flatten(Behaviour):
    """All axes become one.

    Attributes:
        channels_first: Whether the layer moves axis 0 last before it flattens.
    """

    channels_first: bool = False

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Repeat the labels once for each position."""
        x = inputs[0]
        if not x.shape:
            return [UnitLabels((1,), x.ids.reshape(1), (False,))]
        if any(extent is None for extent in x.shape):
            propagation.lock(x.ids, f"layer '{layer}' flattens an axis of unknown extent")
            return [UnitLabels.fixed((None,))]
        if not x.labelled:
            return [UnitLabels.fixed((prod(x.shape),))]  # type: ignore[arg-type]
        ids = np.moveaxis(x.full(), 0, -1) if self.channels_first and len(x.shape) > 1 else x.full()
        return [UnitLabels.along((ids.size,), 0, ids.reshape(-1))]


@dataclass(frozen=True)
class Permute(Behaviour):
    """Axes change places. `order[i]` is the axis of the input, without batch, that becomes axis i."""

    order: tuple[int, ...]

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Move the labels along."""
        x = inputs[0]
        shape, varies = tuple(x.shape[i] for i in self.order), tuple(x.varies[i] for i in self.order)
        return [UnitLabels(shape, x.ids.transpose(self.order), varies)]


@dataclass(frozen=True)
class Concatenate(Behaviour):
    """Tensors side by side along one axis."""

    axis: int

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Put the labels side by side; along other axes they meet."""
        axis = self.axis % len(inputs[0].shape)
        total = sum(int(x.shape[axis] or 0) for x in inputs)
        shape = tuple(total if i == axis else e for i, e in enumerate(inputs[0].shape))
        if all(x.varies_only_along(axis) for x in inputs):
            ids = np.concatenate([x.vector(axis) for x in inputs])
            found = UnitLabels.along(shape, axis, ids) if (ids != FIXED).any() else UnitLabels.fixed(shape)
            return [replace(found, alike=all(x.alike for x in inputs))]
        for x in inputs:
            propagation.lock(x.ids, f"layer '{layer}' concatenates along another axis than the one its units lie on")
        return [UnitLabels.fixed(shape)]


@dataclass(frozen=True)
class Merge(Behaviour):
    """Entries of several tensors meet: add, multiply, maximum and the like, with broadcasting."""

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Tie units that meet; one that is broadcast against others is locked."""
        rank = max(len(x.shape) for x in inputs)
        joint = _expand(inputs[0], rank)
        for x in inputs[1:]:
            joint = self._meet(propagation, layer, joint, _expand(x, rank))
        return [joint]

    def _meet(self, propagation: Propagation, layer: str, a: UnitLabels, b: UnitLabels) -> UnitLabels:
        shape = tuple(_extent(m, n) for m, n in zip(a.shape, b.shape, strict=True))
        spread = f"layer '{layer}' broadcasts its unit over several positions"
        a, b = (_without_broadcast(propagation, x, shape, spread) for x in (a, b))
        varies = tuple(m or n for m, n in zip(a.varies, b.varies, strict=True))
        if not any(varies):
            return UnitLabels.fixed(shape)
        if a.labelled and b.labelled and a.varies != b.varies:
            for x in (a, b):
                propagation.lock(x.ids, f"layer '{layer}' merges tensors whose units lie along different axes")
            return UnitLabels.fixed(shape)
        if not a.labelled or not b.labelled:
            known, other = (a, b) if a.labelled else (b, a)
            fills = all(other.shape[i] == 1 and known.shape[i] != 1 for i, v in enumerate(known.varies) if v)
            if fills:
                return UnitLabels(shape, known.ids, known.varies, known.alike)
        if not a.labelled and not b.labelled:
            return UnitLabels.fixed(shape)
        left, right = np.broadcast_arrays(a.ids, b.ids)
        joint = propagation.tie(left, right, f"layer '{layer}' merges tensors")
        return UnitLabels(shape, joint, varies, a.alike and b.alike)


def _expand(x: UnitLabels, rank: int) -> UnitLabels:
    """Add leading axes, as broadcasting does."""
    missing = rank - len(x.shape)
    shape, ids = (1,) * missing + x.shape, x.ids.reshape((1,) * missing + x.ids.shape)
    return UnitLabels(shape, ids, (False,) * missing + x.varies, x.alike)


def _extent(m: int | None, n: int | None) -> int | None:
    """Extent of an axis after broadcasting."""
    if m == 1:
        return n
    return m if n == 1 or m is not None else n


def _without_broadcast(propagation: Propagation, x: UnitLabels, shape: Shape, reason: str) -> UnitLabels:
    """Lock units that lie along an axis of extent 1 which is broadcast, and forget them."""
    if any(v and x.shape[i] == 1 and shape[i] != 1 for i, v in enumerate(x.varies)):
        propagation.lock(x.ids, reason)
        return UnitLabels.fixed(x.shape)
    return x


@dataclass(frozen=True)
class Opaque(Behaviour):
    """An operation of which nothing is known: what goes in and what comes out stays as it is.

    Attributes:
        reason: Why its units are fixed, and what to do about it.
        output_shapes: Shapes of the outputs without batch.
        inside: Names of layers inside the operation that cannot be edited for the same reason.
    """

    reason: str
    output_shapes: tuple[Shape, ...]
    inside: tuple[str, ...] = ()

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Lock every unit that enters."""
        for path in (layer, *(f"{layer}/{name}" for name in self.inside)):
            propagation.fixed_layers.setdefault(path, self.reason)
        for x in inputs:
            propagation.lock(x.ids, self.reason)
        return [UnitLabels.fixed(shape) for shape in self.output_shapes]
