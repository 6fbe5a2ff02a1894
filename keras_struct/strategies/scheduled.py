"""What strategies with a trigger and a schedule share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from keras_struct.schedules import EveryNSteps, Schedule
from keras_struct.structure.policy import Policy
from keras_struct.structure.refusal import AxisRefused
from keras_struct.triggers import Trigger


class Scheduled(Policy):
    """Base of strategies that look at axes when a schedule says so, and ask a trigger how many units to edit.

    Subclasses are frozen dataclasses with at least these fields.

    Attributes:
        trigger: Says how many units; `None` with a schedule that says how many.
        schedule: When to look; one that returns a number is an upper bound for the trigger.
        axes: Names of the axes to work on, or `None` for all.
        verb: What it does, for messages.
        works_on: `"units"`, not `"connections"`.
        looks_at_full_axes: Whether it looks at axes that are at their limit.
        residual: Whether residual connections stay on while activations are measured.
    """

    trigger: Trigger | None
    schedule: Schedule
    axes: tuple[str, ...] | None
    residual: bool = False

    verb: ClassVar[str] = "edit"
    works_on: ClassVar[str] = "units"
    looks_at_full_axes: ClassVar[bool] = False

    def _check_fields(self, example: str, *limits: str) -> None:
        if self.trigger is None and isinstance(self.schedule, EveryNSteps):
            raise ValueError(
                f"{type(self).__name__} needs to know how many units to {self.verb}: pass a trigger such as {example}, or a "
                f"schedule that says how many, such as Linear(units=64, steps=1000). Received: schedule={self.schedule}"
            )
        for name in limits:
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"`{name}` must be a positive integer or None. Received: {name}={limit}")
        if self.axes is not None:
            object.__setattr__(self, "axes", (self.axes,) if isinstance(self.axes, str) else tuple(self.axes))

    def check(self, axes: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is something to edit.

        Raises:
            ValueError: If an axis of `axes` is unknown or locked, or the model has no editable axis.
        """
        for name in self.axes or ():
            if name not in axes:
                why = f"it is fixed: {locked[name]}" if name in locked else "there is no such axis"
                raise ValueError(
                    f"{type(self).__name__} cannot {self.verb} axis '{name}': {why}. Editable axes: {sorted(axes)}."
                )
        if not axes:
            raise ValueError(
                f"{type(self).__name__} has no layer to act on: every axis of the model is fixed ({dict(locked)}). Put a "
                "hidden layer such as GrowableDense between input and output."
            )

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis; none by default."""
        return {}

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether to look at the structure after `step` gradient steps.

        Args:
            step: Gradient steps so far.
            since: Step after which it was asked before; `step - 1` by default, less when an execution makes many steps.
        """
        return bool(self._amount(step, since))

    def _amount(self, step: int, since: int | None) -> bool | int:
        amounts = [self.schedule(s) for s in range(step if since is None else since + 1, step + 1)]
        return any(amounts) if all(isinstance(amount, bool) for amount in amounts) else sum(amounts)

    def _count(self, amount: bool | int, measured: Any, state: Any) -> tuple[int, Any]:
        if self.trigger is None:
            return int(amount), None
        try:
            count, state = self.trigger(measured, self.trigger.init(measured) if state is None else state)
        except AxisRefused as refusal:
            self._leave_out(measured, refusal)
            return 0, state
        return count if isinstance(amount, bool) else min(count, amount), state

    def _baseline(self, measured: Any) -> Any:
        """What the trigger remembers of an axis at the start; `None` for one that it cannot work on."""
        if self.trigger is None:
            return None
        try:
            return self.trigger.init(measured)
        except AxisRefused as refusal:
            self._leave_out(measured, refusal)
            return None

    def _leave_out(self, measured: Any, refusal: AxisRefused, instead: str = "") -> None:
        """Say once that an axis is left out, or what is done there instead."""
        what = instead if instead else f"leaves out axis '{measured.axis}'"
        measured.warn(
            f"refused:{measured.axis}:{instead}", f"{type(self).__name__} {what}. {refusal} This is said once."
        )

    def settle(self, measurements: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        """Return the state after edits, given measurements of the axes that changed; by default it stays."""
        return state
