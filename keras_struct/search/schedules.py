"""When a search moves the weights of the architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal

import keras


@dataclass(frozen=True)
class ArchitectureSchedule(ABC):
    """Decides after each step of the weights whether the architecture moves, inside the compiled step.

    Attributes:
        shown: Which parts of the state are logged.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def ratio_of_steps(self) -> float:
        """How many steps of the weights there are for one of the architecture, in balance."""

    @property
    def share_of_samples(self) -> float:
        """Share of the samples that the architecture is trained on: 1 to r of the weights, as their steps are meant to be."""
        return 1 / (1 + self.ratio_of_steps)

    @abstractmethod
    def initial(self) -> dict[str, float]:
        """Return the state before the first step."""

    @abstractmethod
    def __call__(self, state: Mapping[str, Any], squares: Any) -> tuple[Any, dict[str, Any]]:
        """Decide.

        Args:
            state: As `initial`, tensors.
            squares: Sum of the squares of the gradient by the weights, of the batch, before it is clipped.

        Returns:
            Whether the architecture moves, and the state afterwards.
        """


@dataclass(frozen=True)
class ConstantSchedule(ArchitectureSchedule):
    """The architecture moves after every n-th step of the weights.

    Attributes:
        every: n.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.3: CS10).
    """

    every: int = 10

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"`every` must be a positive integer. Received: every={self.every}")

    @property
    def ratio_of_steps(self) -> float:
        """`every`."""
        return float(self.every)

    def initial(self) -> dict[str, float]:
        """How many steps of the weights there were."""
        return {"count": 0.0}

    def __call__(self, state: Mapping[str, Any], squares: Any) -> tuple[Any, dict[str, Any]]:
        """Count."""
        count = state["count"] + 1.0
        due = count >= self.every
        return due, {"count": keras.ops.where(due, 0.0, count)}


@dataclass(frozen=True)
class FimtSchedule(ArchitectureSchedule):
    """The architecture moves when the weights have settled: when the trace of their Fisher information is below a threshold.

    The trace is estimated by the squared norm of each batch's gradient, averaged over time. When the architecture moves the
    threshold falls, else it rises, so that in balance there are `ratio + 1` steps of the weights for one of the architecture
    (`ratio` with `decrease="exact"`).

    Attributes:
        ratio: r, how many steps of the weights leave the architecture as it is for one that moves it.
        momentum: λ, weight of the newest batch in the average.
        threshold: h₀, at the start; it matters for the first steps only.
        increase: hᵢ, by which the threshold is multiplied when the architecture stays.
        decrease: `"thesis"`: it is multiplied by hᵢ^(−r) when the architecture moves; `"exact"`: by hᵢ^(1−r).

    References:
        Maile et al., *DARTS-PRIME: Regularization and Scheduling Improve Constrained Optimization in Differentiable NAS*, 2021
        (thesis section 5.2.1, algorithm 3).
    """

    ratio: float = 10.0
    momentum: float = 0.2
    threshold: float = 1.0
    increase: float = 1.05
    decrease: Literal["thesis", "exact"] = "thesis"

    shown: ClassVar[tuple[str, ...]] = ("F", "threshold")

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and 0 < self.momentum <= 1 and self.threshold > 0 and self.increase > 1):
            raise ValueError(
                "FimtSchedule needs ratio > 0, 0 < momentum <= 1, threshold > 0 and increase > 1. Received: "
                f"ratio={self.ratio}, momentum={self.momentum}, threshold={self.threshold}, increase={self.increase}"
            )
        if self.decrease not in ("thesis", "exact"):
            raise ValueError(f"`decrease` must be 'thesis' or 'exact'. Received: decrease={self.decrease!r}")

    @property
    def ratio_of_steps(self) -> float:
        """One more than `ratio`, or `ratio` itself."""
        return self.ratio + (self.decrease == "thesis")

    @property
    def share_of_samples(self) -> float:
        """One in `ratio + 1`: r is the ratio that is meant, whatever `decrease` makes of it."""
        return 1 / (1 + self.ratio)

    @property
    def fall(self) -> float:
        """h_d, by which the threshold is multiplied when the architecture moves."""
        return self.increase ** -(self.ratio_of_steps - 1)

    def frequency(self, growth: float = 0.0) -> float:
        """Return the share of steps in which the architecture moves in the long run.

        Args:
            growth: By how much the logarithm of the trace grows in a step, on average.
        """
        rise = log(self.increase)
        return (rise - growth) / (self.ratio_of_steps * rise)

    def initial(self) -> dict[str, float]:
        """Return the average, -1 before the first step, and the threshold."""
        return {"F": -1.0, "threshold": self.threshold}

    def __call__(self, state: Mapping[str, Any], squares: Any) -> tuple[Any, dict[str, Any]]:
        """Average, compare, and move the threshold."""
        where, old = keras.ops.where, state["F"]
        average = where(old < 0, squares, self.momentum * squares + (1 - self.momentum) * old)
        due = average < state["threshold"]
        threshold = state["threshold"] * where(due, self.fall, self.increase)
        return due, {"F": average, "threshold": threshold}
