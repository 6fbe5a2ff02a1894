"""Incoming weights chosen among candidates, by what they add to the dimension of the activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.candidates import CandidateScorer
from keras_struct.measure.statistics.threads import threads_for
from keras_struct.policies.initializer import Initializer, others_random, random_fan_in, to_mean_norm
from keras_struct.units.initializers.adam import ascend


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
        per_unit: Draw that many candidates for each unit to add.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, Select).

    Differs from the authors' code, which ranks by the sum of count and nuclear norm, and in its dense path takes the
    candidates with the smallest instead of the largest value.
    """

    candidates: int | None = None
    epsilon: float = 0.01
    normalized: bool = False
    per_unit: bool = False

    needs_inputs: ClassVar[bool] = True

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Choose for the first layer that makes the units, and draw plain random weights for the others."""
        first = measured.fan_in[0]
        number = self._number(measured.kind)
        number = number * count if self.per_unit else number + count
        drawn = self._candidates(measured, number, rng).astype(first.weights.dtype)
        added = measured.candidates(drawn)
        scorer = CandidateScorer(measured.gram(), self.epsilon)
        with threads_for(measured.units):
            best = scorer.rank(added.cross, added.energy, normalized=self.normalized)[:count]
        return {first.key: first.expand(drawn[..., best]), **others_random(measured, count, rng)}

    def _candidates(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Floats:
        """Draw candidates for the first layer that makes the units, `(..., count)`."""
        return random_fan_in(measured.fan_in[0].weights, count, rng)

    def _number(self, kind: str) -> int:
        if self.candidates is not None:
            return self.candidates
        return 100 if kind == "conv" else 1000


@dataclass(frozen=True)
class PreActivation(Select):
    """As `Select`, among candidates whose pre-activations are orthogonal to those of the existing units.

    Candidates are `w = X⁺ V′ a` (eq. 33), with the layer's inputs X (n × fan-in, no bias), an orthonormal basis V′ of the
    complement of the existing bias-free pre-activations Z = XW, and a random vector a. They are drawn with exactly that
    distribution from the second moments of X alone: for `XᵀX/n = QΛQᵀ`, V′a restricted to the range of X is a random
    vector orthogonal to `Λ^½ QᵀW`. For convolutions X holds patches, which makes the formula work for them, too.

    No such candidate exists once the pre-activations have the rank of the inputs; then nothing is added, with one warning.

    Args:
        candidates: As for `Select`.
        epsilon: As for `Select`.
        normalized: As for `Select`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, equation 33).

    Differs from the authors' code, which takes one vector of the wrong side into the basis and has no convolutions.
    """

    limited_by: ClassVar[str] = (
        "pre-activations of its units span all but that many directions of the layer's inputs, as far as the samples tell. "
        "Widen the layer before, keep more samples (`probe`), or use Select()."
    )

    def capacity(self, measured: AxisMeasurement) -> int | None:
        """Return how many directions of the inputs no existing unit looks along; 0 with too few samples to tell."""
        moments = measured.input_gram()
        if measured.samples() <= max(measured.units, len(moments)):
            return 0
        _, span = self._whitened(measured)
        return len(span) - span.shape[1]

    def _whitened(self, measured: AxisMeasurement) -> tuple[Floats, Floats]:
        return measured.once(self, lambda: _whitened(measured.input_gram(), measured.fan_in[0].weights))

    def _candidates(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Floats:
        weights = measured.fan_in[0].weights
        unwhiten, span = self._whitened(measured)
        drawn = rng.standard_normal((len(span), count))
        for _ in range(2):  # once more, against rounding errors where little is left
            drawn -= span @ (span.T @ drawn)
            drawn /= np.linalg.norm(drawn, axis=0)
        drawn = unwhiten @ drawn
        return to_mean_norm(drawn.reshape(*weights.shape[:-1], count), weights)


def _whitened(moments: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Map from whitened inputs to weights, and an orthonormal basis of the directions that existing units look along."""
    with threads_for(len(moments)):
        values, vectors = np.linalg.eigh(moments)
        kept = values > values.max(initial=0.0) * 1e-10
        roots = np.sqrt(values[kept])
        whitened = roots[:, None] * (vectors[:, kept].T @ weights.reshape(-1, weights.shape[-1]).astype(np.float64))
        left, sigma, _ = np.linalg.svd(whitened, full_matrices=False)
    return vectors[:, kept] / roots, left[:, sigma > sigma.max(initial=0.0) * 1e-6]


@dataclass(frozen=True)
class OptimizedActivation(Select):
    """As `Select`, among candidates that were moved towards a larger nuclear norm, by projected gradient ascent.

    Each candidate by itself ascends, by Adam, the nuclear norm of H/√n with it added; after each step it is scaled back to
    the mean norm of the existing units. Expensive, as the paper says: each step takes one eigendecomposition a candidate.

    Args:
        candidates: By default 100 for dense and 10 for convolutional layers, a tenth of those of `Select`.
        epsilon: As for `Select`.
        normalized: As for `Select`.
        steps: Steps of Adam.
        learning_rate: Its learning rate, in units of the mean size of an existing weight.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2).
    """

    steps: int = 100
    learning_rate: float = 0.1

    def _number(self, kind: str) -> int:
        if self.candidates is not None:
            return self.candidates
        return 10 if kind == "conv" else 100

    def _candidates(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Floats:
        weights = measured.fan_in[0].weights
        start = super()._candidates(measured, count, rng)
        rate = self.learning_rate * float(measured.fan_in[0].norms.mean()) / np.sqrt(start[..., 0].size)
        project = partial(to_mean_norm, weights=weights)
        return ascend(
            start, lambda kernels: _tangent(_nuclear_gradient(measured, kernels), kernels), self.steps, rate, project
        )


def _tangent(slope: Floats, kernels: Floats) -> Floats:
    """The part of a gradient along which candidates keep their norms."""
    axes = tuple(range(kernels.ndim - 1))
    return slope - kernels * ((slope * kernels).sum(axis=axes) / np.maximum((kernels**2).sum(axis=axes), 1e-30))


def _nuclear_gradient(measured: AxisMeasurement, kernels: Floats) -> Floats:
    """Derivative of the nuclear norm of H/√n with each candidate added, by the candidate's weights.

    With `A = [H h]/√n` it is `A (AᵀA)^(-½)` in the column of h, so a combination of the columns of H and h.
    """
    kernels = kernels.astype(measured.fan_in[0].weights.dtype)
    added = measured.candidates(kernels)
    gram, units, count = measured.gram(), measured.units, kernels.shape[-1]
    bordered = np.empty((count, units + 1, units + 1))
    bordered[:, :units, :units] = gram
    bordered[:, :units, units] = bordered[:, units, :units] = added.cross.T
    bordered[:, units, units] = added.energy
    values, vectors = np.linalg.eigh(bordered)
    floor = 1e-8 * np.maximum(values[:, -1:], 1e-30)
    factors = np.einsum("kij,kj->ki", vectors, vectors[:, units, :] / np.sqrt(np.maximum(values, floor)))
    return measured.candidate_gradients(kernels, factors[:, :units].T, factors[:, units])
