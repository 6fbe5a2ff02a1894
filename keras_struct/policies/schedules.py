"""When to look at the structure, and how much it may change."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np

from keras_struct.policies.policy import Policy


@dataclass(frozen=True)
class Schedule(Policy):
    """Says after which gradient steps to look at the structure; an `AmountSchedule` says how many units, too.

    Steps are counted from 1: step `n` is asked about after the n-th gradient step.
    """

    usual: ClassVar[str] = "EveryNSteps(10)"

    @abstractmethod
    def __call__(self, step: int) -> bool:
        """Return whether the structure may change after `step` gradient steps."""

    def due(self, step: int) -> bool:
        """Return whether the structure may change after `step` gradient steps, checked to be a bool.

        Raises:
            TypeError: If the schedule returns something else.
        """
        answer = self(step)
        if not isinstance(answer, bool | np.bool_):
            raise TypeError(
                f"{type(self).__name__} is a Schedule and must return True or False. Received for step {step}: {answer!r} "
                f"({type(answer).__name__}). Make it a subclass of AmountSchedule if it says how many units."
            )
        return bool(answer)


@dataclass(frozen=True)
class AmountSchedule(Policy):
    """Says after which gradient steps to add or remove how many units of each axis.

    Steps are counted from 1, as for a `Schedule`.
    """

    usual: ClassVar[str] = "Linear(units=64, steps=1000)"

    @abstractmethod
    def __call__(self, step: int) -> int:
        """Return how many units to add to, or remove from, each axis after `step` gradient steps."""

    def amount(self, step: int) -> int:
        """Return how many units to add or remove after `step` gradient steps, checked to be 0 or more.

        Raises:
            TypeError: If the schedule returns something else than a whole number.
            ValueError: If the number is negative.
        """
        answer = self(step)
        if not isinstance(answer, Integral) or isinstance(answer, bool):
            raise TypeError(
                f"{type(self).__name__} is an AmountSchedule and must return how many units, an int. Received for step {step}: "
                f"{answer!r} ({type(answer).__name__}). Make it a subclass of Schedule if it says only when to look."
            )
        if answer < 0:
            raise ValueError(
                f"{type(self).__name__} must return 0 or more units. Received for step {step}: {answer}. Whether units are added "
                "or removed is up to the strategy: Grow or Prune."
            )
        return int(answer)

    def due(self, step: int) -> bool:
        """Return whether any units are to be added or removed after `step` gradient steps."""
        return self.amount(step) > 0


@dataclass(frozen=True)
class AtSteps(Schedule):
    """After some gradient steps.

    Args:
        steps: Which; one number for one.

    Raises:
        ValueError: If there is none, or one is not positive.

    Examples:
        >>> [step for step in range(1, 9) if AtSteps((3, 6))(step)]
        [3, 6]
    """

    steps: tuple[int, ...] = (100,)

    def __post_init__(self) -> None:
        given = (self.steps,) if isinstance(self.steps, Integral) else tuple(self.steps)
        if not given:
            raise ValueError("`steps` names no gradient step. Received: steps=()")
        for step in given:
            _positive("steps", step)
        object.__setattr__(self, "steps", tuple(map(int, given)))

    def __call__(self, step: int) -> bool:
        """Return whether the step is one of them."""
        return step in self.steps


@dataclass(frozen=True)
class EveryNSteps(Schedule):
    """Every `n` gradient steps, from step `start` to step `stop` (`None`: to the end).

    Raises:
        ValueError: If `n` is not positive.
    """

    n: int = 1
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        _positive("n", self.n)

    def __call__(self, step: int) -> bool:
        """Return whether the step is due."""
        return step % self.n == 0 and step >= self.start and (self.stop is None or step <= self.stop)


@dataclass(frozen=True)
class Linear(AmountSchedule):
    """`units` units added to each axis evenly over the first `steps` gradient steps.

    References:
        Maile et al., AutoML 2022, fixed schedules: linear growth over three quarters of training.
    """

    units: int
    steps: int

    def __post_init__(self) -> None:
        _positive("units", self.units)
        _positive("steps", self.steps)

    def __call__(self, step: int) -> int:
        """Return how many units are due after this step and were not before it."""
        if not 0 < step <= self.steps:
            return 0
        return self.units * step // self.steps - self.units * (step - 1) // self.steps


@dataclass(frozen=True)
class Batched(AmountSchedule):
    """`units` units added to each axis in `stages` equal lots, at regular intervals within `steps` gradient steps.

    References:
        Maile et al., AutoML 2022, fixed schedules: batched growth in 8 stages.
    """

    units: int
    steps: int
    stages: int = 8

    def __post_init__(self) -> None:
        _positive("units", self.units)
        _positive("steps", self.steps)
        _positive("stages", self.stages)

    def __call__(self, step: int) -> int:
        """Return the size of the lot that is due at this step, or 0."""
        lots = range(1, self.stages + 1)
        lot = next((i for i in lots if step == max(1, self.steps * i // self.stages)), None)
        return 0 if lot is None else self.units * lot // self.stages - self.units * (lot - 1) // self.stages


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
