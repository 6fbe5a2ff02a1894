"""Layers made of several parts: what each of their inputs is read by, and the sets of units that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import Shape, UnitLabels
from keras_struct.core.structure.propagation import Propagation, unnamed
from keras_struct.core.structure.rules import AxisRule


@dataclass(frozen=True)
class Read:
    """Units of one input that variables lie along.

    Attributes:
        source: Which input.
        axis: Its axis, without batch, along which the units lie.
        rules: One for each axis of each variable that lies along them.
        groups: Into how many groups the units fall of which each is read by the same entries; units at the same place
            of every group become one.
        mixes: Why no edit of these units keeps the function, if none does.
    """

    source: int
    axis: int
    rules: tuple[AxisRule, ...]
    groups: int = 1
    mixes: str | None = None

    def within(self, layer: str) -> Read:
        """Return the same with longer names."""
        return replace(self, rules=tuple(rule.within(layer) for rule in self.rules))


@dataclass(frozen=True)
class Make:
    """A set of units that a layer makes.

    Attributes:
        units: How many.
        rules: One for each axis of each variable that lies along them.
        part: Name of the set; empty for the layer's main one.
        tied_to: Inputs that hold the same units: initial states, and what a layer adds its outputs to.
        mixes: Why no edit of these units keeps the function, if none does.
        axis: Axis of those inputs, without batch, along which the units lie.
    """

    units: int
    rules: tuple[AxisRule, ...]
    part: str = ""
    tied_to: tuple[int, ...] = ()
    mixes: str | None = None
    axis: int = -1

    def within(self, layer: str) -> Make:
        """Return the same with longer names."""
        return replace(self, rules=tuple(rule.within(layer) for rule in self.rules))


@dataclass(frozen=True)
class Give:
    """One output: sets of units side by side along an axis, the whole repeated `tile` times.

    Attributes:
        shape: Shape of the output without batch.
        axis: Axis of the output.
        made: Numbers of the sets; none for an output without units.
        tile: How often.
    """

    shape: Shape
    axis: int = -1
    made: tuple[int, ...] = (0,)
    tile: int = 1


@dataclass(frozen=True)
class Assembly(Behaviour):
    """A layer of several parts: recurrence, attention, groups of a convolution.

    Attributes:
        reads: What its inputs are read by; an input that is not named here must not hold units. Of several for one
            input that one counts along whose axis its units lie.
        makes: The sets of units that it makes.
        gives: What comes out.
        rigid: Whether its number of units must be known when it is traced.
    """

    reads: tuple[Read, ...]
    makes: tuple[Make, ...]
    gives: tuple[Give, ...]
    rigid: bool = True

    def within(self, layer: str) -> Assembly:
        """Return the same with longer names of variables and attributes."""
        reads = tuple(read.within(layer) for read in self.reads)
        return replace(self, reads=reads, makes=tuple(make.within(layer) for make in self.makes))

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Read, make, and give."""
        for read in self.reads:
            others = [r.axis for r in self.reads if r.source == read.source and r is not read]
            self._read(propagation, layer, read, inputs[read.source], others)
        made = [self._make(propagation, layer, make, inputs) for make in self.makes]
        known = {read.source for read in self.reads} | {place for make in self.makes for place in make.tied_to}
        for number, x in enumerate(inputs):
            if number not in known:
                propagation.lock(x.ids, unnamed(layer, number))
        return [_given(give, made) for give in self.gives]

    def _read(self, propagation: Propagation, layer: str, read: Read, x: UnitLabels, others: list[int]) -> None:
        if any(x.varies[axis] and x.varies_only_along(axis) for axis in others):
            x = UnitLabels.fixed(x.shape)
        ids = propagation.read(layer, x, read.axis)
        if len(ids) % read.groups:
            raise ValueError(f"Layer '{layer}' needs a multiple of {read.groups} units, but would get {len(ids)}.")
        rows = ids.reshape(read.groups, -1)
        if read.groups > 1:
            propagation.tie(
                np.broadcast_to(rows[:1], rows.shape).ravel(), rows.ravel(), f"layer '{layer}' works in groups"
            )
        for rule in read.rules:
            propagation.record(layer, rule, rows[0])
        if self.rigid:
            propagation.stiffen(ids)
        if read.mixes is not None:
            propagation.mix(ids, read.mixes)

    def _make(self, propagation: Propagation, layer: str, make: Make, inputs: list[UnitLabels]) -> np.ndarray:
        ids = propagation.produce(f"{layer}/{make.part}" if make.part else layer, make.units)
        for rule in make.rules:
            propagation.record(layer, rule, ids)
        for place in make.tied_to:
            entering = propagation.read(layer, inputs[place], make.axis)
            propagation.tie(ids, entering, f"layer '{layer}' ties its units to those that enter it")
        if self.rigid:
            propagation.stiffen(ids)
        if make.mixes:
            propagation.mix(ids, make.mixes)
        return ids


def _given(give: Give, made: list[np.ndarray]) -> UnitLabels:
    if not give.made:
        return UnitLabels.fixed(give.shape)
    ids = np.tile(np.concatenate([made[number] for number in give.made]), give.tile)
    return UnitLabels.along(give.shape, give.axis, ids)


@dataclass(frozen=True)
class EachStep(Behaviour):
    """The same behaviour at each place of the first axis (time), whatever it is.

    Attributes:
        inner: What happens at each place.
    """

    inner: Behaviour

    def within(self, layer: str) -> EachStep:
        """Return the same with longer names of variables and attributes."""
        return replace(self, inner=self.inner.within(layer))

    def run(self, propagation: Propagation, layer: str, inputs: list[UnitLabels]) -> list[UnitLabels]:
        """Leave the axis out, and put it back."""
        reason = f"layer '{layer}' goes through them one by one"
        inside = []
        for x in inputs:
            if x.varies[0]:
                propagation.lock(x.ids, reason)
                x = UnitLabels.fixed(x.shape)
            inside.append(UnitLabels(x.shape[1:], x.ids[0], x.varies[1:]))
        steps = inputs[0].shape[0]
        found = self.inner.run(propagation, layer, inside)
        return [UnitLabels((steps, *y.shape), y.ids[None], (False, *y.varies)) for y in found]
