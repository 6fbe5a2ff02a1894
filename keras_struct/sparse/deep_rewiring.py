"""Connections that come and go by their sign, or by thresholds of their weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TypedDict

import numpy as np

from keras_struct.core.structure.arrays import Bools
from keras_struct.policies.schedules import EveryNSteps, Schedule
from keras_struct.policies.strategy import steps_between
from keras_struct.sparse.edits import Rewire, pack_bits, unpack_bits
from keras_struct.sparse.measurements import ConnectionMeasurement
from keras_struct.sparse.strategy import Rewiring


class Signs(TypedDict):
    """The sign of each connection of a layer.

    Attributes:
        shape: Shape of the kernel.
        bits: Which are positive, by `pack_bits`.
    """

    shape: list[int]
    bits: str


@dataclass(frozen=True)
class DeepRewiring(Rewiring[dict[str, Signs]]):
    """DeepR: each connection has a sign and a strength θ; one whose θ falls below 0 goes dormant, and another one wakes up.

    w = s θ where θ > 0. After each gradient step θ ← θ - η α + √(2 η T) ν, with the learning rate η and standard normal ν; then
    for every connection with θ < 0 one is drawn among all dormant ones, with a random sign and θ = 0.

    Args:
        alpha: Weight α of the L1 penalty.
        temperature: T, by which connections walk at random.
        schedule: When; after every gradient step in the publication.
        seed: Same seed and same measurements give the same edits.
        layers: Names of the layers to work on; all masked ones by default.

    Raises:
        ValueError: If a value is negative.

    References:
        Bellec, Kappel, Maass, Legenstein, *Deep Rewiring: Training Very Sparse Deep Networks*, ICLR 2018, algorithm 1.
    """

    alpha: float = 1e-4
    temperature: float = 0.0
    schedule: Schedule = EveryNSteps(1)  # noqa: RUF009
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.temperature < 0:
            raise ValueError(
                f"`alpha` and `temperature` must not be negative. Received: {self.alpha} and {self.temperature}"
            )

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so."""
        return any(self.schedule.due(s) for s in steps_between(step, since))

    def init(self, measurements: Mapping[str, ConnectionMeasurement]) -> dict[str, Signs]:
        """State to start from: the sign of each connection."""
        return {name: _signs(measured.weights > 0) for name, measured in measurements.items()}

    def propose(
        self,
        step: int,
        measurements: Mapping[str, ConnectionMeasurement],
        state: dict[str, Signs],
        since: int | None = None,
    ) -> tuple[list[Rewire], dict[str, Signs]]:
        """Return the edits to make now, and the new signs; see `Rewiring.propose`."""
        rng, edits, signs = np.random.default_rng((self.seed, step)), [], dict(state)
        for name, measured in measurements.items():
            edit, signs[name] = self._walk(measured, state.get(name), rng)
            edits.append(edit)
        return edits, signs

    def _walk(
        self, measured: ConnectionMeasurement, state: Signs | None, rng: np.random.Generator
    ) -> tuple[Rewire, Signs]:
        there, rate, positive = measured.mask, measured.rate(), measured.weights > 0
        if state is not None and tuple(state["shape"]) == there.shape:  # else the layer was resized
            positive = unpack_bits(state["bits"], there.shape)
        sign = np.where(positive, 1.0, -1.0)
        moved = -rate * self.alpha + sqrt(2 * rate * self.temperature) * rng.standard_normal(there.shape)
        asleep = there & (sign * measured.weights + moved < 0)
        mask = there & ~asleep
        if not mask.any():  # all at once: nothing would be left to learn with
            return Rewire(measured.layer, there), _signs(positive)
        awake = rng.choice(np.flatnonzero(~mask & measured.possible), int(asleep.sum()), replace=False)
        mask.flat[awake] = True
        positive.flat[awake] = rng.random(len(awake)) < 0.5
        shift = np.where(
            asleep, -measured.weights.astype(np.float64), sign * moved
        )  # one that wakes at once starts from 0
        return Rewire(measured.layer, mask, shift=shift), _signs(positive)


def _signs(positive: Bools) -> Signs:
    return {"shape": list(positive.shape), "bits": pack_bits(positive)}


@dataclass(frozen=True)
class DynamicSurgery(Rewiring[dict[str, float]]):
    """Dynamic network surgery: weights below a threshold are cut off, those that grow above another one are spliced in again.

    For each layer, with mean μ and standard deviation σ of the magnitudes at the start, the mask is 0 where |w| < a, 1 where
    |w| ≥ b, and as it was between, with a = (1 - margin) (μ + c σ) and b = (1 + margin) (μ + c σ). Weights that are cut off
    go on learning, so that errors are mended: layers need `dormant="training"`.

    Args:
        c: How many standard deviations above the mean the thresholds are.
        margin: Half the distance of the thresholds, relative.
        decay: Masks are looked at with probability (1 + decay t)^-power after t gradient steps.
        power: See `decay`.
        schedule: When at the most.
        seed: Same seed and same measurements give the same edits.
        layers: Names of the layers to work on; all masked ones by default.

    Raises:
        ValueError: If a value is out of range; in training, if the weights of a layer do not go on learning.

    References:
        Guo, Yao, Chen, *Dynamic Network Surgery for Efficient DNNs*, NeurIPS 2016, equation 3; thresholds as in the authors'
        code.
    """

    c: float = 1.0
    margin: float = 0.1
    decay: float = 0.0
    power: float = 1.0
    schedule: Schedule = EveryNSteps(1)  # noqa: RUF009
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.margin < 1 or self.decay < 0:
            raise ValueError(
                "`margin` must be from 0 up to 1 and `decay` not negative. Received: "
                f"margin={self.margin}, decay={self.decay}"
            )

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so, and the draw."""
        return any(self.schedule.due(s) and self._drawn(s) for s in steps_between(step, since))

    def _drawn(self, step: int) -> bool:
        chance = (1 + self.decay * step) ** -self.power
        return bool(np.random.default_rng((self.seed, step)).random() < chance)

    def init(self, measurements: Mapping[str, ConnectionMeasurement]) -> dict[str, float]:
        """State to start from: the thresholds of each layer."""
        for measured in measurements.values():
            if measured.dormant != "training":
                raise ValueError(
                    f"DynamicSurgery mends its errors by weights that go on learning, and those of layer '{measured.layer}' do "
                    'not. Convert with sparsify(model, dormant="training"), or pass it to the layer.'
                )
        return {name: self._threshold(measured) for name, measured in measurements.items()}

    def _threshold(self, measured: ConnectionMeasurement) -> float:
        sizes = np.abs(measured.weights[measured.mask].astype(np.float64))
        return float(max(sizes.mean() + self.c * sizes.std(), 0.0))

    def propose(
        self,
        step: int,
        measurements: Mapping[str, ConnectionMeasurement],
        state: dict[str, float],
        since: int | None = None,
    ) -> tuple[list[Rewire], dict[str, float]]:
        """Return the edits to make now, and the state; see `Rewiring.propose`."""
        edits = []
        for name, measured in measurements.items():
            size = np.abs(measured.weights)
            mask = measured.mask & (size >= (1 - self.margin) * state[name]) | (size >= (1 + self.margin) * state[name])
            mask.flat[np.argmax(size)] = True
            mask &= measured.possible
            if not np.array_equal(mask, measured.mask):
                edits.append(Rewire(name, mask))
        return edits, state
