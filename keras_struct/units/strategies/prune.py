"""Pruning: a trigger, a selector and a schedule put together; and growth and pruning side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypedDict

from keras_struct.core.structure.edits import Resize
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import JSON
from keras_struct.policies.scheduled import AxesState, Scheduled, asked_by
from keras_struct.policies.schedules import AmountSchedule, EveryNSteps, Schedule
from keras_struct.policies.selector import Selector
from keras_struct.policies.strategy import Strategy
from keras_struct.policies.trigger import Trigger
from keras_struct.units.selectors.norm import SmallestNorm
from keras_struct.units.strategies.grow import Grow, GrowState


@dataclass(frozen=True)
class Prune(Scheduled[AxesState]):
    """Prune every axis whose trigger fires, or by what the schedule says.

    Any trigger goes with any selector and any schedule. An axis on which either cannot work is left out; a warning names it once.

    Args:
        trigger: Says how many units to remove where; `None` with an `AmountSchedule` (`Linear`, `Batched`).
        selector: Says which.
        schedule: When to look; after every gradient step by default. With a trigger, an `AmountSchedule` is an upper bound.
        minimum: How many units each axis keeps.
        axes: Names of the axes to prune. By default all editable ones, also those over which a normalisation mixes units, but
            for units that a layer makes or reads which is not trainable: it stays as it is unless it is named.
        residual: Whether residual connections stay on while activations are measured.

    Raises:
        ValueError: If there is neither a trigger nor an `AmountSchedule`, or `minimum` is not positive.
    """

    trigger: Trigger | None = None
    selector: Selector = SmallestNorm()  # noqa: RUF009
    schedule: Schedule | AmountSchedule = EveryNSteps(1)  # noqa: RUF009
    minimum: int = 1
    axes: tuple[str, ...] | None = None
    residual: bool = False

    verb: ClassVar[str] = "prune"
    grows: ClassVar[bool] = False
    includes_full_axes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check_fields("LostDimension()", "minimum")

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.selector.needs_inputs or (self.trigger is not None and self.trigger.needs_inputs)

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.selector.needs_gradients or (self.trigger is not None and self.trigger.needs_gradients)

    def requirements(self) -> frozenset[str]:
        """What the trigger, and a selector that looks at activations, ask of a measurement."""
        return asked_by(self.trigger) | ({"activations"} if self.selector.needs_inputs else set())

    def init(self, measurements: Mapping[str, AxisMeasurement]) -> AxesState:
        """State to start from: what the trigger remembers of each axis."""
        return {"axes": self._init_trigger(measurements)}

    def propose(
        self, step: int, measurements: Mapping[str, AxisMeasurement], state: AxesState, since: int | None = None
    ) -> tuple[list[Resize], AxesState]:
        """Return the edits to make now, and the new state; arguments as for `Grow.propose`."""
        remembered, bound = dict(state["axes"]), self._bound(step, since)
        edits: list[Resize] = []
        for axis, measured in measurements.items():
            known = remembered.get(axis)
            edit, remembered[axis] = self._attempt(measured, (None, known), self._pruned, bound, measured, known)
            edits += [] if edit is None else [edit]
        return edits, {"axes": remembered}

    def _pruned(self, bound: int | None, measured: AxisMeasurement, known: JSON) -> tuple[Resize | None, JSON]:
        """The edit of one axis, if it is to lose units, and what the trigger remembers of it."""
        count, known = self._count(bound, measured, known)
        count = min(count, measured.units - self.minimum)
        return (self.selector.propose(measured, count) if count > 0 else None), known


class GrowAndPruneState(TypedDict):
    """What either remembers.

    Attributes:
        grow: The state of `grow`.
        prune: The state of `prune`.
    """

    grow: GrowState
    prune: AxesState


@dataclass(frozen=True)
class GrowAndPrune(Strategy[AxisMeasurement, GrowAndPruneState]):
    """Grow and prune in the same training: any `Grow` beside any `Prune`.

    Both look at the same measurements, pruning first; an axis that is pruned does not grow in the same step. With
    `max_parameters` or `max_flops` of `grow` the network keeps its size and turns its units over.

    Args:
        grow: How to grow.
        prune: How to prune.
        moving_baseline: Whether an axis that was edited is measured again at once, so that triggers compare with its state
            after the last edit instead of that at the start.

    Raises:
        TypeError: If either is something else.

    References:
        Maile et al., thesis section 7.2, algorithm 5.
    """

    grow: Grow
    prune: Prune
    moving_baseline: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.grow, Grow) or not isinstance(self.prune, Prune):
            raise TypeError(
                "GrowAndPrune takes a Grow (or a strategy that is one, such as NorthSelect) and a Prune. Received: "
                f"grow={self.grow!r}, prune={self.prune!r}"
            )

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.grow.needs_inputs or self.prune.needs_inputs

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.grow.needs_gradients or self.prune.needs_gradients

    @property
    def axes(self) -> tuple[str, ...] | None:
        """Names of the axes that either works on, or `None` for all."""
        if self.grow.axes is None or self.prune.axes is None:
            return None
        return tuple(dict.fromkeys((*self.grow.axes, *self.prune.axes)))

    @property
    def residual(self) -> bool:
        """Whether residual connections stay on while activations are measured."""
        return self.grow.residual

    def check(self, axes: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is something to edit.

        Raises:
            ValueError: As `Grow.check`.
        """
        self.grow.check(axes, locked)
        self.prune.check(axes, locked)

    def requirements(self) -> frozenset[str]:
        """What is asked of a measurement by either."""
        return self.grow.requirements() | self.prune.requirements()

    def check_axes(self, measurements: Mapping[str, AxisMeasurement]) -> None:
        """Raise a ValueError with the reason if growth can work on none of its axes."""
        self.grow.check_axes(_those(measurements, self.grow.axes))

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis."""
        return self.grow.limits(initial_widths)

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether to look at the structure after `step` gradient steps."""
        return self.grow.due(step, since) or self.prune.due(step, since)

    def init(self, measurements: Mapping[str, AxisMeasurement]) -> GrowAndPruneState:
        """State to start from."""
        return {
            "grow": self.grow.init(_those(measurements, self.grow.axes)),
            "prune": self.prune.init(_those(measurements, self.prune.axes)),
        }

    def propose(
        self, step: int, measurements: Mapping[str, AxisMeasurement], state: GrowAndPruneState, since: int | None = None
    ) -> tuple[list[Resize], GrowAndPruneState]:
        """Return the edits to make now, and the new state; arguments as for `Grow.propose`."""
        growing, pruning, edits = state["grow"], state["prune"], list[Resize]()
        if self.prune.due(step, since):
            found = _those(measurements, self.prune.axes)
            edits, pruning = self.prune.propose(step, found, pruning, since)
        if self.grow.due(step, since):
            pruned = {edit.axis for edit in edits}
            rest = {axis: m for axis, m in _those(measurements, self.grow.axes).items() if axis not in pruned}
            more, growing = self.grow.propose(step, rest, growing, since)
            edits = [*edits, *more]
        return edits, {"grow": growing, "prune": pruning}

    def settle(self, measurements: Mapping[str, AxisMeasurement], state: GrowAndPruneState) -> GrowAndPruneState:
        """Return the state after edits, given measurements of the axes that changed."""
        if not self.moving_baseline:
            return state
        growing, pruning = state["grow"], state["prune"]
        grown = self.grow.renewed(_those(measurements, self.grow.axes))
        pruned = self.prune.renewed(_those(measurements, self.prune.axes))
        return {
            "grow": {**growing, "axes": {**growing["axes"], **grown}},
            "prune": {**pruning, "axes": {**pruning["axes"], **pruned}},
        }

    def cautions(self, measurements: Mapping[str, AxisMeasurement], state: GrowAndPruneState) -> dict[str, str]:
        """What is to be said of the state to start from; a baseline that moves is soon another."""
        return {} if self.moving_baseline else self.grow.cautions(_those(measurements, self.grow.axes), state["grow"])

    def idle(self, measurements: Mapping[str, AxisMeasurement], state: GrowAndPruneState) -> dict[str, str]:
        """Why neither can act on an axis: what is pruned may grow afterwards."""
        growing, pruning = (_those(measurements, part.axes) for part in (self.grow, self.prune))
        found = (
            (growing, self.grow.idle(growing, state["grow"])),
            (pruning, self.prune.idle(pruning, state["prune"])),
        )
        texts: dict[str, str] = {}
        for axis in measurements:
            own = [idle.get(axis) for axes, idle in found if axis in axes]
            if own and None not in own:
                texts[axis] = " ".join(text for text in own if text is not None)
        return texts


def _those(measurements: Mapping[str, AxisMeasurement], axes: tuple[str, ...] | None) -> dict[str, AxisMeasurement]:
    return {axis: measured for axis, measured in measurements.items() if axes is None or axis in axes}
