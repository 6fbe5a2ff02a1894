"""Which share of the connections shall be gone, when."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from keras_struct.policies.policy import Policy


@dataclass(frozen=True)
class SparsitySchedule(Policy):
    """Says after a training step which share of all connections shall be gone, or that nothing is due."""

    usual: ClassVar[str] = "Once(0.5)"

    @abstractmethod
    def __call__(self, step: int) -> float | None:
        """Return the share that is gone after `step` gradient steps, or `None` if it is not the time to look."""


@final
@dataclass(frozen=True)
class Once(SparsitySchedule):
    """All at once.

    Args:
        final: Share of connections that are gone.
        step: After which gradient step.

    Raises:
        ValueError: If a value is out of range.
    """

    final: float
    step: int = 1

    def __post_init__(self) -> None:
        _check(self.final, step=self.step)

    def __call__(self, step: int) -> float | None:
        """Return the share if it is time."""
        return self.final if step == self.step else None


@final
@dataclass(frozen=True)
class Cubic(SparsitySchedule):
    """Many connections first, fewer later: s = f + (i - f) (1 - (t - start) / (stop - start))³.

    Args:
        final: Share f of connections that are gone in the end.
        stop: Gradient step of the last removal.
        start: Gradient step of the first one.
        every: Gradient steps between removals.
        initial: Share i that is gone at the start.

    Raises:
        ValueError: If a value is out of range.

    References:
        Zhu, Gupta, *To prune, or not to prune: exploring the efficacy of pruning for model compression*, 2017, equation 1.

    >>> schedule = Cubic(final=0.8, stop=100, every=50)
    >>> [schedule(step) for step in (0, 1, 100, 150)], round(schedule(50), 6)
    ([0.0, None, 0.8, None], 0.7)
    """

    final: float
    stop: int
    start: int = 0
    every: int = 100
    initial: float = 0.0

    def __post_init__(self) -> None:
        _check(self.final, every=self.every)
        if not 0 <= self.initial <= self.final or not 0 <= self.start < self.stop:
            raise ValueError(
                "`initial` must lie between 0 and `final`, and `start` before `stop`. Received: "
                f"initial={self.initial}, final={self.final}, start={self.start}, stop={self.stop}"
            )

    def __call__(self, step: int) -> float | None:
        """Return the share if it is time."""
        if not self.start <= step <= self.stop or ((step - self.start) % self.every and step != self.stop):
            return None
        left = 1 - (step - self.start) / (self.stop - self.start)
        return self.final + (self.initial - self.final) * left**3


def _check(final: float, **positive: int) -> None:
    if not 0 < final < 1:
        raise ValueError(f"`final` is the share of connections that are gone, between 0 and 1. Received: final={final}")
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
