"""Networks that lose connections, or exchange them, while they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import numpy as np

from keras_struct.core.structure.arrays import Bools, Floats, Ints
from keras_struct.policies.policy import State
from keras_struct.policies.schedules import EveryNSteps, Schedule
from keras_struct.policies.strategy import steps_between
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.measurements import ConnectionMeasurement
from keras_struct.sparse.schedules import Cubic, SparsitySchedule
from keras_struct.sparse.selectors import (
    ConnectionSelector,
    GradientMagnitude,
    RandomConnections,
    Scope,
    WeightMagnitude,
    keep_best,
)
from keras_struct.sparse.strategy import Rewiring


@dataclass(frozen=True)
class Sparsify(Rewiring[State]):
    """Remove connections while the model trains: synaptic pruning.

    Args:
        selector: Says what connections are worth; those worth least go.
        schedule: Which share shall be gone when; by default 90 % over the first 1000 steps.
        scope: Whether connections of all layers are ranked together (`"global"`), or each layer's by themselves.
        normalize: Whether saliencies are divided by their Euclidean norm in the layer before they are ranked together.
        seed: For selectors that draw.
        layers: Names of the layers to work on; all masked ones by default.

    References:
        Zhu, Gupta, *To prune, or not to prune*, 2017 (`WeightMagnitude`, `Cubic`, `"local"`).

    Raises:
        TypeError: If the schedule is one of steps.

    Examples:
        >>> strategy = Sparsify(schedule=Cubic(final=0.9, stop=2000))
    """

    selector: ConnectionSelector = WeightMagnitude()  # noqa: RUF009
    schedule: SparsitySchedule = Cubic(final=0.9, stop=1000)  # noqa: RUF009
    scope: Scope = "global"
    normalize: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, SparsitySchedule):
            raise TypeError(
                "The schedule of Sparsify says which share is gone when: Cubic(final=0.9, stop=1000) or Once(0.9). Received: "
                f"{self.schedule!r}"
            )

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.selector.needs_gradients

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule names a share."""
        return any(self.schedule(s) is not None for s in steps_between(step, since))

    def propose(
        self, step: int, measurements: Mapping[str, ConnectionMeasurement], state: State, since: int | None = None
    ) -> tuple[list[Rewire], State]:
        """Return the edits to make now, and the state; see `Rewiring.propose`."""
        wanted = [share for s in steps_between(step, since) if (share := self.schedule(s)) is not None]
        if not wanted:
            return [], state
        rng = np.random.default_rng((self.seed, step))
        return keep_best(measurements, self.selector, wanted[-1], self.scope, self.normalize, rng), state


@dataclass(frozen=True)
class DropAndGrow(Rewiring[State]):
    """Exchange connections at constant number: those worth least go, as many others come (dynamic sparse training).

    In each layer, of n connections a share goes, and the same number is made among those that are not there.

    Args:
        drop: Says what connections are worth; those worth least go.
        grow: Says which others come: those worth most.
        fraction: Share of a layer's connections that are exchanged at a time.
        schedule: When.
        decay_steps: Gradient step at which the share has fallen to 0, along a half cosine; `None` for a constant share.
        regrow: Whether a connection that has just gone may come back, with its weight.
        initial: Weights of new connections: `"zeros"`, or `"normal"`, drawn with the standard deviation of the layer's others.
        seed: Same seed and same measurements give the same edits.
        layers: Names of the layers to work on; all masked ones by default.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If the schedule does not say when.
    """

    drop: ConnectionSelector = WeightMagnitude()  # noqa: RUF009
    grow: ConnectionSelector = GradientMagnitude()  # noqa: RUF009
    fraction: float = 0.3
    schedule: Schedule = EveryNSteps(100)  # noqa: RUF009
    decay_steps: int | None = None
    regrow: bool = True
    initial: Literal["zeros", "normal"] = "zeros"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction < 1:
            raise ValueError(f"`fraction` must lie between 0 and 1. Received: fraction={self.fraction}")
        if self.initial not in ("zeros", "normal"):
            raise ValueError(f"`initial` must be 'zeros' or 'normal'. Received: initial={self.initial!r}")
        if self.decay_steps is not None and self.decay_steps < 1:
            raise ValueError(f"`decay_steps` must be a positive integer or None. Received: {self.decay_steps}")

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.drop.needs_gradients or self.grow.needs_gradients

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so, and the share is not 0 yet."""
        return any(self.schedule.due(s) and self.share(s) > 0 for s in steps_between(step, since))

    def share(self, step: int) -> float:
        """Share of connections that are exchanged after a step."""
        if self.decay_steps is None:
            return self.fraction
        return self.fraction / 2 * (1 + cos(pi * min(step / self.decay_steps, 1)))

    def propose(
        self, step: int, measurements: Mapping[str, ConnectionMeasurement], state: State, since: int | None = None
    ) -> tuple[list[Rewire], State]:
        """Return the edits to make now, and the state; see `Rewiring.propose`."""
        rng = np.random.default_rng((self.seed, step))
        edits = [self._exchange(measured, self.share(step), rng) for measured in measurements.values()]
        return [edit for edit in edits if edit is not None], state

    def _exchange(self, measured: ConnectionMeasurement, share: float, rng: np.random.Generator) -> Rewire | None:
        room = measured.size - measured.count
        count = int(share * measured.count)
        count = count if self.regrow else min(count, room)
        if min(count, room) < 1:
            return None
        there = measured.mask.ravel()
        mask = there.copy()
        mask[_first(-self.drop.checked_scores(measured, rng).ravel(), there, count)] = False
        open_places = (~mask if self.regrow else ~there) & measured.possible.ravel()
        mask[_first(self.grow.checked_scores(measured, rng).ravel(), open_places, count)] = True
        mask = mask.reshape(measured.mask.shape)
        return (
            None if np.array_equal(mask, measured.mask) else Rewire(measured.layer, mask, self._values(measured, rng))
        )

    def _values(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats | None:
        if self.initial == "zeros":
            return None
        scale = float(np.std(measured.weights[measured.mask].astype(np.float64)))
        return rng.normal(0.0, scale, measured.mask.shape)


def _first(worth: Floats, among: Bools, count: int) -> Ints:
    """Places of the `count` largest entries among some."""
    return np.argsort(np.where(among, -worth, np.inf), kind="stable")[:count]


@dataclass(frozen=True)
class SparseEvolution(DropAndGrow):
    """SET: exchange the smallest weights for random connections, a constant share at a time.

    Args:
        **others: As `DropAndGrow`. The publication looks once an epoch: give its number of steps to `schedule`.
        layers: Names of the layers to work on; all masked ones by default.

    References:
        Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta, *Scalable Training of Artificial Neural Networks with Adaptive Sparse
        Connectivity inspired by Network Science*, Nature Communications 2018. Differs from it in dropping the smallest
        magnitudes, instead of the same share of the smallest positive and of the largest negative weights.
    """

    grow: ConnectionSelector = RandomConnections()  # noqa: RUF009
    regrow: bool = False
    initial: Literal["zeros", "normal"] = "normal"


@dataclass(frozen=True)
class RigL(DropAndGrow):
    """RigL: exchange the smallest weights for the connections with the largest gradients, fewer and fewer.

    Args:
        decay_steps: Gradient step of the last exchange; the publication takes three quarters of training.
        **others: As `DropAndGrow`.
        layers: Names of the layers to work on; all masked ones by default.

    References:
        Evci, Gale, Menick, Castro, Elsen, *Rigging the Lottery: Making All Tickets Winners*, ICML 2020. Differs from the
        authors' code, in which an exchange takes the place of a gradient step.
    """

    decay_steps: int | None = 1000
