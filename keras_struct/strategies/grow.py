"""Growth: a trigger, an initializer and a schedule put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.schedules import EveryNSteps, Schedule
from keras_struct.structure.edits import Resize, grow
from keras_struct.structure.policy import Policy
from keras_struct.triggers import Trigger

DEFAULT_GROWTH = 8


@dataclass(frozen=True)
class Grow(Policy):
    """Grow every axis whose trigger fires, or by what the schedule says.

    Any trigger goes with any initializer and any schedule.

    Args:
        trigger: Says how many units to add where; `None` with a schedule that says how many (`Linear`, `Batched`).
        initializer: Gives the new units their weights.
        schedule: When to look; after every gradient step by default. With a trigger, a schedule that returns a number
            is an upper bound.
        max_units: Largest width of each axis; by default 8 times its width at the start. `max_units` or `max_filters`
            of a layer goes before.
        axes: Names of the axes to grow; all editable ones by default.
        seed: Same seed and same measurements give the same edits, also after a resume.

    Raises:
        ValueError: If there is neither a trigger nor a schedule that says how many.
    """

    trigger: Trigger | None = None
    initializer: Initializer = RandomFanIn()  # noqa: RUF009
    schedule: Schedule = EveryNSteps(1)  # noqa: RUF009
    max_units: int | None = None
    axes: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trigger is None and isinstance(self.schedule, EveryNSteps):
            raise ValueError(
                "Grow needs to know how many units to add: pass a trigger such as EffectiveDimension(), or a schedule that "
                f"says how many, such as Linear(units=64, steps=1000). Received: schedule={self.schedule}"
            )
        if self.max_units is not None and self.max_units < 1:
            raise ValueError(f"`max_units` must be a positive integer or None. Received: max_units={self.max_units}")
        if self.axes is not None:
            object.__setattr__(self, "axes", (self.axes,) if isinstance(self.axes, str) else tuple(self.axes))

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.initializer.needs_inputs or (self.trigger is not None and self.trigger.needs_inputs)

    def check(self, axes: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is something to grow.

        Raises:
            ValueError: If an axis of `axes` is unknown or locked, or the model has no editable axis.
        """
        for name in self.axes or ():
            if name not in axes:
                why = f"it is fixed: {locked[name]}" if name in locked else "there is no such axis"
                raise ValueError(
                    f"{type(self).__name__} cannot grow axis '{name}': {why}. Editable axes: {sorted(axes)}."
                )
        if not axes:
            raise ValueError(
                f"{type(self).__name__} has no layer to act on: every axis of the model is fixed ({dict(locked)}). Put a "
                "hidden layer such as GrowableDense between input and output."
            )

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis."""
        return {axis: self.max_units or DEFAULT_GROWTH * width for axis, width in initial_widths.items()}

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether to look at the structure after `step` gradient steps.

        Args:
            step: Gradient steps so far.
            since: Step after which it was asked before; `step - 1` by default, less when an execution makes many steps.
        """
        return bool(self._amount(step, since))

    def init(self, measurements: Mapping[str, Any]) -> dict[str, Any]:
        """State to start from: what the trigger remembers of each axis."""
        return {axis: None if self.trigger is None else self.trigger.init(m) for axis, m in measurements.items()}

    def propose(
        self, step: int, measurements: Mapping[str, Any], state: dict[str, Any], since: int | None = None
    ) -> tuple[list[Resize], dict[str, Any]]:
        """Return the edits to make now, and the new state.

        Args:
            step: Gradient steps so far.
            measurements: `AxisMeasurement` of each axis, all taken before any of the edits.
            state: What `init` or the last `propose` returned.
            since: Step after which it was asked before; what the schedule says for the steps in between counts, too.
        """
        rng, edits, new_state = np.random.default_rng((self.seed, step)), [], {}
        amount = self._amount(step, since)
        for axis, measured in measurements.items():
            count, new_state[axis] = self._count(amount, measured, state.get(axis))
            if (count := min(count, measured.room)) > 0:
                edits.append(grow(axis, measured.units, count, self.initializer(measured, count, rng)))
        return edits, new_state

    def _amount(self, step: int, since: int | None) -> bool | int:
        amounts = [self.schedule(s) for s in range(step if since is None else since + 1, step + 1)]
        return any(amounts) if all(isinstance(amount, bool) for amount in amounts) else sum(amounts)

    def _count(self, amount: bool | int, measured: Any, state: Any) -> tuple[int, Any]:
        if self.trigger is None:
            return int(amount), None
        count, state = self.trigger(measured, self.trigger.init(measured) if state is None else state)
        return count if isinstance(amount, bool) else min(count, amount), state
