"""Dynamic Neural Optimization: grow and prune by the dimension of activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keras_struct.policies.schedules import EveryNSteps
from keras_struct.units.initializers.select import Select
from keras_struct.units.selectors.redundancy import MostSimilar
from keras_struct.units.strategies.grow import Grow
from keras_struct.units.strategies.prune import GrowAndPrune, Prune
from keras_struct.units.triggers.effective_dimension import EffectiveDimension
from keras_struct.units.triggers.lost_dimension import LostDimension


@dataclass(frozen=True)
class Dyno(GrowAndPrune):
    """DYNO: prune layers whose activations come to span fewer dimensions, and grow those that come to span more.

    Every so many steps, of M units with the effective dimension φ and its value φ* after the layer's last edit,

        max(0, ⌊M ((1 - δ) φ* - φ)⌋) are pruned  (eq. 38)    or    max(0, ⌊M (φ - (1 + δ) φ*)⌋) are added  (eq. 39):

    dormant units go first, then those most similar to others; new ones are chosen among random candidates by the dimension
    that they add, with outgoing weights of zero. It only needs the forward pass. As φ cannot pass 1, a layer with φ* above
    1 / (1 + δ) has to be pruned, or to lose dimensions, before it can grow.

    Args:
        delta: Threshold δ.
        epsilon: Threshold ε of singular values of H/√n.
        every: Gradient steps between two evaluations of the structure.
        candidates: How many candidates are drawn for each unit to add.
        minimum: How many units each axis keeps.
        max_units: Largest width of each axis, or a dictionary of them by the name of the axis; by default 8 times its width at
            the start.
        only: Names of the axes to work on; all editable ones by default.
        seed: Same seed and same measurements give the same edits.
        start: φ* of every axis until its first edit; by default measured when training begins. A network that was trained on
            other data may start from the value that it had there: 1 if its units were independent, as the authors' code
            takes it. What they lost with the change of data is then pruned at the first evaluation.

    Raises:
        ValueError: If a value is out of range.

    References:
        Maile et al., thesis section 7.2 (equations 37 to 39, algorithm 5), where `min` in 38 and 39 is a misprint for `max`.

    Differs from the authors' code, which divides H by √M, compares with stale activations, draws new
    weights at random instead of selecting them, and counts dormant units as constant ones. Convolutions are measured at all
    positions, not at a sample of them.
    """

    grow: Grow = field(init=False)
    prune: Prune = field(init=False)
    moving_baseline: bool = field(init=False, default=True)
    delta: float = 0.03
    epsilon: float = 0.01
    every: int = 50
    candidates: int = 100
    minimum: int = 10
    max_units: int | Mapping[str, int] | None = None
    only: tuple[str, ...] | None = None
    seed: int = 0
    start: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ValueError(f"`delta` must lie between 0 and 1. Received: delta={self.delta}")
        if self.candidates < 1:
            raise ValueError(f"`candidates` must be a positive integer. Received: candidates={self.candidates}")
        if self.start is not None and not 0 < self.start <= 1:
            raise ValueError(f"`start` must be None, or lie above 0 and be at most 1. Received: start={self.start}")
        gain = EffectiveDimension(1 + self.delta, self.epsilon, baseline="initial", start=self.start)
        select = Select(candidates=self.candidates, epsilon=self.epsilon, per_unit=True)
        schedule = EveryNSteps(self.every)
        grow = Grow(gain, select, schedule, self.max_units, self.only, residual=True, seed=self.seed)
        lost = LostDimension(self.delta, self.epsilon, self.start)
        prune = Prune(lost, MostSimilar(), schedule, self.minimum, self.only, residual=True)
        for name, part in (("grow", grow), ("prune", prune)):
            object.__setattr__(self, name, part)
