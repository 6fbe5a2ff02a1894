"""Growth: a trigger, an initializer and a schedule put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.schedules import EveryNSteps, Schedule
from keras_struct.structure.edits import Resize
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

    def __post_init__(self) -> None:
        if self.trigger is None and isinstance(self.schedule, EveryNSteps):
            raise ValueError(
                "Grow needs to know how many units to add: pass a trigger such as EffectiveDimension(), or a schedule that "
                f"says how many, such as Linear(units=64, steps=1000). Received: schedule={self.schedule}"
            )
        for name in ("max_units", "max_parameters", "max_flops"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"`{name}` must be a positive integer or None. Received: {name}={limit}")
        if self.axes is not None:
            object.__setattr__(self, "axes", (self.axes,) if isinstance(self.axes, str) else tuple(self.axes))

    @property
    def needs_inputs(self) -> bool:
        """Whether inputs must be kept for measuring."""
        return self.initializer.needs_inputs or (self.trigger is not None and self.trigger.needs_inputs)

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.initializer.needs_gradients or (self.trigger is not None and self.trigger.needs_gradients)

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
        """State to start from: what the trigger remembers of each axis, and whose turn it is."""
        for measured in measurements.values():
            self.initializer.check(measured)
        remembered = {axis: None if self.trigger is None else self.trigger.init(m) for axis, m in measurements.items()}
        return {"axes": remembered, "turn": 0}

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
            edit = self.initializer.propose(measured, count, rng) if count > 0 else None
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

    def _amount(self, step: int, since: int | None) -> bool | int:
        amounts = [self.schedule(s) for s in range(step if since is None else since + 1, step + 1)]
        return any(amounts) if all(isinstance(amount, bool) for amount in amounts) else sum(amounts)

    def _count(self, amount: bool | int, measured: Any, state: Any) -> tuple[int, Any]:
        if self.trigger is None:
            return int(amount), None
        count, state = self.trigger(measured, self.trigger.init(measured) if state is None else state)
        return count if isinstance(amount, bool) else min(count, amount), state
