"""Incoming weights orthogonal to those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.threads import threads_for
from keras_struct.policies.initializer import Initializer, others_random, random_fan_in, to_mean_norm


@dataclass(frozen=True)
class OrthogonalWeights(Initializer):
    """Random incoming weights, projected on the kernel of the existing ones and orthogonal to each other; fan-out zero.

    For existing incoming weights W (one row a unit), a new unit gets `w = proj_{ker W}(w_i)` (eq. 34) with a random `w_i`,
    scaled to the mean norm of the existing units; the new ones are made orthogonal among themselves, which the equation
    leaves open. There are no more of them than the kernel has dimensions: beyond that fewer units are added, with one
    warning. The function does not change.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, equation 34).

    Differs from the authors' code, which for most layers leaves the projection out. Biases are left out of W.
    """

    limited_by: ClassVar[str] = (
        "no more directions of its incoming weights are free of the existing units. Widen the layer before, or use "
        "RandomFanIn() or Select()."
    )

    def capacity(self, measured: AxisMeasurement) -> int | None:
        """Return the dimension of the kernel of the existing incoming weights of the first layer."""
        span = _span(measured.fan_in[0].weights)
        return len(span) - span.shape[1]

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Project for the first layer that makes the units, and draw plain random weights for the others."""
        first = measured.fan_in[0]
        span = _span(first.weights)
        drawn = random_fan_in(first.weights, count, rng).reshape(-1, count)
        for _ in range(2):  # once more, against rounding errors where little is left
            drawn, _ = np.linalg.qr(drawn - span @ (span.T @ drawn))
        new = to_mean_norm(drawn.reshape(*first.weights.shape[:-1], count), first.weights)
        return {first.key: first.expand(new), **others_random(measured, count, rng)}


def _span(weights: Floats) -> Floats:
    """Orthonormal basis of the incoming weights `(..., units)` of all units."""
    columns = weights.reshape(-1, weights.shape[-1]).astype(np.float64)
    with threads_for(min(columns.shape)):
        left, sigma, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sigma > sigma.max(initial=0.0) * 1e-6]
