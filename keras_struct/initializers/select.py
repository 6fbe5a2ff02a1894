"""Incoming weights chosen among random candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keras_struct.initializers.base import Initializer, random_fan_in
from keras_struct.statistics.candidates import CandidateScorer


@dataclass(frozen=True)
class Select(Initializer):
    """The candidates whose post-activations, each by itself, raise the effective dimension most; outgoing weights zero.

    Random candidates, scaled to the mean norm of the existing units and without bias, are ranked by the effective
    dimension of the layer with each of them added; ties are broken by the nuclear norm (the sum of singular values).

    Args:
        candidates: How many candidates to draw beside the units to add; by default 1000 for dense and 100 for
            convolutional layers.
        epsilon: Threshold of singular values of H/√n.
        normalized: Compare candidates at equal activation energy: the sum of singular values otherwise prefers loud
            candidates to orthogonal ones.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, Select).

    Differs from the authors' code, which ranks by the sum of count and nuclear norm, and in its dense path takes the
    candidates with the smallest instead of the largest value.
    """

    candidates: int | None = None
    epsilon: float = 0.01
    normalized: bool = False

    needs_inputs: ClassVar[bool] = True

    def __call__(self, measured: Any, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Draw candidates for the first layer that makes the units, and plain random weights for the others."""
        first, *others = measured.fan_in
        drawn = random_fan_in(first.weights, self._number(measured.kind) + count, rng)
        drawn = drawn.astype(first.weights.dtype)
        cross, energy = measured.candidates(drawn)
        scorer = CandidateScorer(measured.gram(), self.epsilon)
        best = scorer.rank(cross, energy, normalized=self.normalized)[:count]
        values = {first.key: first.expand(drawn[..., best])}
        return values | {fan.key: fan.expand(random_fan_in(fan.weights, count, rng)) for fan in others}

    def _number(self, kind: str) -> int:
        if self.candidates is not None:
            return self.candidates
        return 100 if kind == "conv" else 1000
