"""Growth: a trigger, an initializer and a schedule put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.initializer import Initializer
from keras_struct.policies.policy import JSON
from keras_struct.policies.scheduled import AxesState, Scheduled, asked_by
from keras_struct.policies.schedules import AmountSchedule, EveryNSteps, Schedule
from keras_struct.policies.trigger import Trigger
from keras_struct.units.initializers.random import RandomFanIn

DEFAULT_GROWTH = 8


class GrowState(AxesState):
    """What `Grow` remembers beside what its trigger does.

    Attributes:
        turn: How often it was asked: whose turn it is.
    """

    turn: int


@dataclass(frozen=True)
class Grow(Scheduled[GrowState]):
    """Grow every axis whose trigger fires, or by what the schedule says.

    Any trigger goes with any initializer and any schedule. An axis on which the trigger cannot work (gradients of a recurrent
    layer, say) is left out, and one on which the initializer cannot gets units of random fan-in; a warning names each once.

    Args:
        trigger: Says how many units to add where; `None` with an `AmountSchedule` (`Linear`, `Batched`).
        initializer: Gives the new units their weights.
        schedule: When to look; after every gradient step by default. With a trigger, an `AmountSchedule` is an upper bound.
        max_units: Largest width of each axis, or a dictionary of them by the name of the axis; by default 8 times the width
            at the start, also for axes that a dictionary does not name. `max_units` or `max_filters` of a layer goes before.
        axes: Names of the axes to grow; all editable ones by default. Those whose new units would change the function, never
            learn, or cannot be measured as asked are left out, with a warning that says why.
        max_parameters: Largest number of parameters of the whole model.
        max_flops: Largest number of floating point operations of one sample's forward pass.
        round_robin: Whether axes grow in turns, one at each evaluation, instead of all at once.
        residual: Whether residual connections stay on while activations are measured; the thesis switches them off to see
            what each layer contributes.
        seed: Same seed and same measurements give the same edits, also after a resume.

    Raises:
        ValueError: If there is neither a trigger nor an `AmountSchedule`, or a limit is not positive.
    """

    trigger: Trigger | None = None
    initializer: Initializer = RandomFanIn()  # noqa: RUF009
    schedule: Schedule | AmountSchedule = EveryNSteps(1)  # noqa: RUF009
    max_units: int | Mapping[str, int] | None = None
    axes: tuple[str, ...] | None = None
    max_parameters: int | None = None
    max_flops: int | None = None
    round_robin: bool = False
    residual: bool = False
    seed: int = 0

    verb: ClassVar[str] = "grow"
    prunes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        own = self.max_units if isinstance(self.max_units, Mapping) else None
        limits = ("max_parameters", "max_flops") if own is not None else ("max_units", "max_parameters", "max_flops")
        self._check_fields("EffectiveDimension()", *limits)
        if own is not None:
            object.__setattr__(self, "max_units", _checked_limits(own))

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.initializer.needs_inputs or (self.trigger is not None and self.trigger.needs_inputs)

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.initializer.needs_gradients or (self.trigger is not None and self.trigger.needs_gradients)

    def requirements(self) -> frozenset[str]:
        """What the trigger asks of a measurement."""
        return asked_by(self.trigger)

    def check(self, axes: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is something to grow.

        Raises:
            ValueError: If an axis of `axes` or `max_units` is unknown or locked, or the model has no editable axis.
        """
        super().check(axes, locked)
        limited = self.max_units if isinstance(self.max_units, Mapping) else {}
        if unknown := [name for name in limited if name not in axes]:
            raise ValueError(f"`max_units` names {unknown}, which are no axes that can grow: these are {sorted(axes)}.")

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis."""
        own = self.max_units if isinstance(self.max_units, Mapping) else {}
        default = None if isinstance(self.max_units, Mapping) else self.max_units
        return {
            axis: own.get(axis, DEFAULT_GROWTH * width if default is None else default)
            for axis, width in initial_widths.items()
        }

    def init(self, measurements: Mapping[str, AxisMeasurement]) -> GrowState:
        """State to start from: what the trigger remembers of each axis, and whose turn it is."""
        self.check_axes(measurements)
        return {"axes": self._init_trigger(measurements), "turn": 0}

    def check_axes(self, measurements: Mapping[str, AxisMeasurement]) -> None:
        """Raise if the initializer can work on no axis; those that it cannot work on get random units."""
        refusals, found = list[AxisRefused](), list(measurements.values())
        for measured in found:
            try:
                self.initializer.check(measured)
            except AxisRefused as refusal:
                refusals.append(refusal)
        if refusals and len(refusals) == len(found):
            raise ValueError(str(refusals[0]))

    def _edit(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Resize | None:
        """The edit that adds units, with random incoming weights where the initializer cannot work."""
        try:
            return self.initializer.propose(measured, count, rng)
        except AxisRefused as refusal:
            instead = f"gives new units of axis '{measured.axis}' random incoming weights"
            self._leave_out(measured, refusal, instead)
            return RandomFanIn().propose(measured, count, rng)

    def propose(
        self, step: int, measurements: Mapping[str, AxisMeasurement], state: GrowState, since: int | None = None
    ) -> tuple[list[Resize], GrowState]:
        """Return the edits to make now, and the new state.

        Args:
            step: Gradient steps so far.
            measurements: `AxisMeasurement` of each axis that has room, all taken before any of the edits.
            state: What `init` or the last `propose` returned.
            since: Step after which it was asked before; what the schedule says for the steps in between counts, too.
        """
        rng, remembered = np.random.default_rng((self.seed, step)), dict(state["axes"])
        edits: list[Resize] = []
        bound, growth = self._bound(step, since), dict[str, int]()
        for axis in self._turn(list(measurements), state["turn"]):
            measured, known = measurements[axis], remembered.get(axis)
            edit, remembered[axis] = self._attempt(
                measured, (None, known), self._grown, bound, measured, known, growth, rng
            )
            if edit is not None:
                growth[axis] = len(edit.source) - measured.units
                edits.append(edit)
        return edits, {"axes": remembered, "turn": state["turn"] + 1}

    def _grown(
        self,
        bound: int | None,
        measured: AxisMeasurement,
        known: JSON,
        growth: Mapping[str, int],
        rng: np.random.Generator,
    ) -> tuple[Resize | None, JSON]:
        """The edit of one axis, if it is to grow, and what the trigger remembers of it."""
        count, known = self._count(bound, measured, known)
        count = self._affordable(measured, min(count, measured.room), growth)
        return (self._edit(measured, count, rng) if count > 0 else None), known

    def _turn(self, axes: list[str], turn: int) -> list[str]:
        """Axes that may grow now."""
        return [axes[turn % len(axes)]] if self.round_robin and axes else axes

    def _affordable(self, measured: AxisMeasurement, count: int, growth: Mapping[str, int]) -> int:
        """How many of `count` units the budgets allow, beside what other axes are to grow by."""
        if count < 1 or (self.max_parameters is None and self.max_flops is None):
            return count
        return measured.affordable(count, growth, self.max_parameters, self.max_flops)


def _checked_limits(limits: Mapping[str, int]) -> dict[str, int]:
    """Limits by the name of an axis."""
    if wrong := {name: n for name, n in limits.items() if not isinstance(n, Integral) or isinstance(n, bool) or n < 1}:
        raise ValueError(f"`max_units` must hold positive integers, by the name of an axis. Received: {wrong}")
    return {name: int(limit) for name, limit in limits.items()}
