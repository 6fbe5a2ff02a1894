"""What strategies with a trigger and a schedule share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, ParamSpec, TypedDict, TypeVar

import numpy as np

from keras_struct.core.structure.refusal import AxisRefused, MeasurementError
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.policy import JSON, check_state
from keras_struct.policies.schedules import AmountSchedule, Schedule
from keras_struct.policies.strategy import Strategy, failed, steps_between
from keras_struct.policies.trigger import Trigger, checked_answer

P = ParamSpec("P")
T = TypeVar("T")


class AxesState(TypedDict):
    """What a strategy with a trigger remembers.

    Attributes:
        axes: What the trigger remembers of each axis; `None` without one.
    """

    axes: dict[str, JSON]


PerAxis = TypeVar("PerAxis", bound=AxesState)


class Scheduled(Strategy[AxisMeasurement, PerAxis]):
    """Base of strategies that look at axes when a schedule says so, and ask a trigger how many units to edit.

    Subclasses are frozen dataclasses with at least these fields.

    Attributes:
        trigger: Says how many units; `None` with an `AmountSchedule`.
        schedule: When to look; an `AmountSchedule` is an upper bound for the trigger.
        axes: Names of the axes to work on, or `None` for all.
        verb: What it does, for messages.
    """

    trigger: Trigger | None
    schedule: Schedule | AmountSchedule
    axes: tuple[str, ...] | None
    residual: bool = False

    verb: ClassVar[str] = "edit"
    includes_full_axes: ClassVar[bool] = False

    def _check_fields(self, example: str, *limits: str) -> None:
        if self.trigger is None and isinstance(self.schedule, Schedule):
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
            if not self.axes:
                raise ValueError(
                    f"`axes` names no axis for {type(self).__name__} to {self.verb}. Received: axes=(). Leave it out for all."
                )

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

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so, for `step` or a step after `since`."""
        return any(self.schedule.due(s) for s in steps_between(step, since))

    def _bound(self, step: int, since: int | None) -> int | None:
        """How many units of each axis the schedule allows to edit; `None` if that is up to the trigger."""
        if isinstance(self.schedule, Schedule):
            return None
        return sum(self.schedule.amount(s) for s in steps_between(step, since))

    def _init_trigger(self, measurements: Mapping[str, AxisMeasurement], renew: bool = False) -> dict[str, JSON]:
        """What the trigger remembers of each axis; of one that cannot be measured now nothing."""
        if self.trigger is None:
            return dict.fromkeys(measurements)
        tried = {
            axis: self._attempt(measured, (), _started, self.trigger, measured, renew)
            for axis, measured in measurements.items()
        }
        return {axis: state for axis, started in tried.items() for state in started}

    def renewed(self, measurements: Mapping[str, AxisMeasurement]) -> dict[str, JSON]:
        """What the trigger remembers of axes that were edited, when it is to compare with what they are now."""
        return self._init_trigger(measurements, renew=True)

    def _count(self, bound: int | None, measured: AxisMeasurement, state: JSON) -> tuple[int, JSON]:
        """How many units of an axis to edit, and what the trigger remembers of it."""
        if self.trigger is None:
            return (0 if bound is None else bound), None
        known = self.trigger.init(measured) if state is None else state
        count, state = checked_answer(self.trigger, self.trigger(measured, known), measured.axis, self.verb)
        return count if bound is None else min(count, bound), state

    def _attempt(
        self, measured: AxisMeasurement, otherwise: T, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that measures; if that fails, warn once and leave the axis as it is."""
        try:
            return function(*args, **kwargs)
        except AxisRefused as refusal:
            self._leave_out(measured, refusal)
            return otherwise
        except (MeasurementError, np.linalg.LinAlgError) as error:
            measured.warn("measuring failed", failed(self, error, measured.axis))
            return otherwise

    def _leave_out(self, measured: AxisMeasurement, refusal: AxisRefused, instead: str = "") -> None:
        """Say once that an axis is left out, or what is done there instead."""
        what = instead if instead else f"leaves out axis '{measured.axis}'"
        measured.warn(
            f"refused:{measured.axis}:{instead}", f"{type(self).__name__} {what}. {refusal} This is said once."
        )

    def cautions(self, measurements: Mapping[str, AxisMeasurement], state: PerAxis) -> dict[str, str]:
        """What the trigger has to say of the state to start from."""
        return {} if self.trigger is None else self._asked(self.trigger.caution, measurements, state)

    def idle(self, measurements: Mapping[str, AxisMeasurement], state: PerAxis) -> dict[str, str]:
        """Why the trigger cannot fire, and what to change."""
        return {} if self.trigger is None else self._asked(self.trigger.cannot_fire, measurements, state)

    def _asked(
        self,
        ask: Callable[[AxisMeasurement, JSON], str | None],
        measurements: Mapping[str, AxisMeasurement],
        state: PerAxis,
    ) -> dict[str, str]:
        """Answers of the trigger, by the axis, where it has one."""
        known = state["axes"]
        found = {
            axis: self._attempt(m, None, ask, m, known[axis])
            for axis, m in measurements.items()
            if known.get(axis) is not None
        }
        return {axis: text for axis, text in found.items() if text is not None}


def _started(trigger: Trigger, measured: AxisMeasurement, renew: bool) -> tuple[JSON, ...]:
    """What a trigger remembers of one axis, the only entry."""
    state = trigger.renewed(measured) if renew else trigger.init(measured)
    check_state(trigger, state, f"for axis '{measured.axis}'")
    return (state,)


def asked_by(trigger: Trigger | None) -> frozenset[str]:
    """What a trigger asks of a measurement; see `Strategy.requirements`."""
    found = {"activations"} if trigger is not None and trigger.needs_inputs else set[str]()
    return frozenset(found | ({"gradients"} if trigger is not None and trigger.needs_gradients else set()))
