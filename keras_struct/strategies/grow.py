"""Growth: a trigger, an initializer and a schedule put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.schedules import EveryNSteps, Schedule
from keras_struct.strategies.scheduled import Scheduled
from keras_struct.structure.edits import Resize
from keras_struct.structure.refusal import AxisRefused
from keras_struct.triggers import Trigger

DEFAULT_GROWTH = 8


@dataclass(frozen=True)
class Grow(Scheduled):
    """Grow every axis whose trigger fires, or by what the schedule says.

    Any trigger goes with any initializer and any schedule. An axis on which the trigger cannot work (gradients of a recurrent
    layer, say) is left out, and one on which the initializer cannot gets units of random fan-in; a warning names each once.

    Args:
        trigger: Says how many units to add where; `None` with a schedule that says how many (`Linear`, `Batched`).
        initializer: Gives the new units their weights.
        schedule: When to look; after every gradient step by default. With a trigger, a schedule that returns a number
            is an upper bound.
        max_units: Largest width of each axis; by default 8 times its width at the start. `max_units` or `max_filters`
            of a layer goes before.
        axes: Names of the axes to grow; all editable ones by default.
        max_parameters: Largest number of parameters of the whole model.
        max_flops: Largest number of floating point operations of one sample's forward pass.
        round_robin: Whether axes grow in turns, one at each look at the structure, instead of all at once.
        residual: Whether residual connections stay on while activations are measured; the thesis switches them off to see
            what each layer contributes.
        seed: Same seed and same measurements give the same edits, also after a resume.

    Raises:
        ValueError: If there is neither a trigger nor a schedule that says how many.
    """

    trigger: Trigger | None = None
    initializer: Initializer = RandomFanIn()  # noqa: RUF009
    schedule: Schedule = EveryNSteps(1)  # noqa: RUF009
    max_units: int | None = None
    axes: tuple[str, ...] | None = None
    max_parameters: int | None = None
    max_flops: int | None = None
    round_robin: bool = False
    residual: bool = False
    seed: int = 0

    verb: ClassVar[str] = "grow"

    def __post_init__(self) -> None:
        self._check_fields("EffectiveDimension()", "max_units", "max_parameters", "max_flops")

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.initializer.needs_inputs or (self.trigger is not None and self.trigger.needs_inputs)

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.initializer.needs_gradients or (self.trigger is not None and self.trigger.needs_gradients)

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis."""
        return {axis: self.max_units or DEFAULT_GROWTH * width for axis, width in initial_widths.items()}

    def init(self, measurements: Mapping[str, Any]) -> dict[str, Any]:
        """State to start from: what the trigger remembers of each axis, and whose turn it is."""
        self._check_initializer(measurements.values())
        return {"axes": {axis: self._baseline(measured) for axis, measured in measurements.items()}, "turn": 0}

    def _check_initializer(self, measurements: Iterable[Any]) -> None:
        """Raise if the initializer can work on no axis; those that it cannot work on get random units."""
        refusals, found = list[AxisRefused](), list(measurements)
        for measured in found:
            try:
                self.initializer.check(measured)
            except AxisRefused as refusal:
                refusals.append(refusal)
        if refusals and len(refusals) == len(found):
            raise refusals[0]

    def _edit(self, measured: Any, count: int, rng: np.random.Generator) -> Resize | None:
        """The edit that adds units, with random incoming weights where the initializer cannot work."""
        try:
            return self.initializer.propose(measured, count, rng)
        except AxisRefused as refusal:
            instead = f"gives new units of axis '{measured.axis}' random incoming weights"
            self._leave_out(measured, refusal, instead)
            return RandomFanIn().propose(measured, count, rng)

    def propose(
        self, step: int, measurements: Mapping[str, Any], state: dict[str, Any], since: int | None = None
    ) -> tuple[list[Resize], dict[str, Any]]:
        """Return the edits to make now, and the new state.

        Args:
            step: Gradient steps so far.
            measurements: `AxisMeasurement` of each axis that has room, all taken before any of the edits.
            state: What `init` or the last `propose` returned.
            since: Step after which it was asked before; what the schedule says for the steps in between counts, too.
        """
        rng, edits, remembered = np.random.default_rng((self.seed, step)), [], dict(state["axes"])
        amount, growth = self._amount(step, since), dict[str, int]()
        for axis in self._turn(list(measurements), state["turn"]):
            measured = measurements[axis]
            count, remembered[axis] = self._count(amount, measured, remembered.get(axis))
            count = self._affordable(measured, min(count, measured.room), growth)
            edit = self._edit(measured, count, rng) if count > 0 else None
            if edit is not None:
                growth[axis] = len(edit.source) - measured.units
                edits.append(edit)
        return edits, {"axes": remembered, "turn": state["turn"] + 1}

    def _turn(self, axes: list[str], turn: int) -> list[str]:
        """Axes that may grow now."""
        return [axes[turn % len(axes)]] if self.round_robin and axes else axes

    def _affordable(self, measured: Any, count: int, growth: Mapping[str, int]) -> int:
        """How many of `count` units the budgets allow, beside what other axes are to grow by."""
        if count < 1 or (self.max_parameters is None and self.max_flops is None):
            return count
        return measured.affordable(count, growth, self.max_parameters, self.max_flops)
