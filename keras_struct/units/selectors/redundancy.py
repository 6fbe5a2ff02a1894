"""Choose units that others can stand in for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.threads import threads_for
from keras_struct.policies.selector import Selector, check_count

DAMPING = 1e-10
"""What is added to the diagonal of a Gram matrix, in units of its largest eigenvalue, before it is inverted."""


@final
@dataclass(frozen=True)
class MostSimilar(Selector):
    """Dormant units first, then greedily the one that is most similar to all that are left.

    Similar is what has the largest Euclidean norm of cosine similarities of post-activations with those of the other units
    that remain; after each choice that unit is out of the comparison.

    References:
        Maile et al., DYNO (thesis section 7.2: the selection for pruning of algorithm 5).

    Differs from the authors' code, in which dormant units count as constant ones and go whenever their turn comes.
    """

    needs_inputs: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the place of each unit in the order of removal."""
        order = self._order(measured, measured.units)
        found = np.empty(measured.units)
        found[order] = np.arange(measured.units)
        return found

    def __call__(self, measured: AxisMeasurement, count: int) -> list[int]:
        """Return the first `count` units of the order."""
        check_count(measured, count)
        return self._order(measured, count)

    def _order(self, measured: AxisMeasurement, count: int) -> list[int]:
        gram = measured.gram()
        norms = np.sqrt(np.diagonal(gram))
        dormant = norms <= np.finfo(np.float64).eps * max(1.0, float(norms.max()))
        order = np.flatnonzero(dormant)[:count].tolist()
        scale = np.where(dormant, 1.0, norms)
        squares = np.square(gram / np.outer(scale, scale))
        squares[dormant] = squares[:, dormant] = 0.0
        totals = squares.sum(axis=1)
        totals[dormant] = -np.inf
        while len(order) < count:
            worst = int(np.argmax(totals))
            order.append(worst)
            totals -= squares[:, worst]
            totals[worst] = -np.inf
        return order


@final
@dataclass(frozen=True)
class Correlation(Selector):
    """Units whose post-activations correlate most with those of others: the largest sum of squared correlations.

    A unit that answers always the same goes first: a bias can stand in for it.
    """

    needs_inputs: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return minus the sums."""
        mean = measured.activity().mean
        covariance = measured.gram() - np.outer(mean, mean)
        variance = np.diagonal(covariance)
        constant = variance <= 1e-7 * np.maximum(np.diagonal(measured.gram()), np.finfo(np.float64).tiny)
        scale = np.sqrt(np.where(constant, 1.0, variance))
        squares = np.square(covariance / np.outer(scale, scale))
        squares[constant] = squares[:, constant] = 0.0
        return np.where(constant, -1.0 - measured.units, -squares.sum(axis=1))


@final
@dataclass(frozen=True)
class Residual(Selector):
    """Units whose post-activations a linear combination of the others reconstructs best.

    The mean squared residual of unit i is 1 / [G⁻¹]ᵢᵢ, with the Gram matrix G of post-activations: one inverse for all.
    """

    needs_inputs: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the residuals."""
        with threads_for(measured.units):
            return 1.0 / np.diagonal(np.linalg.inv(damped(measured.gram())))


@final
@dataclass(frozen=True)
class LeaveOneOut(Selector):
    """Units without which the effective dimension stays highest; among ties those whose nuclear norm is missed least.

    Without unit i, one singular value fewer exceeds ε exactly if [(G - ε²I)⁻¹]ᵢᵢ > 0 (inertia of a Schur complement), and
    the nuclear norm falls by an integral of log(t² [(G + t²I)⁻¹]ᵢᵢ) over t: one eigendecomposition for all units.

    Args:
        epsilon: Threshold of singular values of H/√n.
    """

    epsilon: float = 0.01

    needs_inputs: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the rank of each unit in the order of removal."""
        with threads_for(measured.units):
            values, vectors = np.linalg.eigh(measured.gram())
        values, squares = np.maximum(values, 0.0), vectors**2
        gaps = values - self.epsilon**2
        smallest = np.finfo(np.float64).eps * max(self.epsilon**2, float(values[-1]))
        gaps = np.where(gaps > 0, np.maximum(gaps, smallest), np.minimum(gaps, -smallest))
        lowers = squares @ (1.0 / gaps) > 0
        scale = max(float(values[-1]), np.finfo(np.float64).tiny)
        nodes = np.sqrt(scale) * np.exp(np.arange(np.log(1e-10), np.log(1e4), 0.35))
        inverse = squares @ (1.0 / (values[:, None] + nodes**2))
        lost = -np.log(np.clip(inverse * nodes**2, np.finfo(np.float64).tiny, 1.0)) @ (nodes * (0.35 / np.pi))
        order = np.lexsort((lost, lowers))
        found = np.empty(measured.units)
        found[order] = np.arange(measured.units)
        return found


def damped(gram: Floats) -> Floats:
    """A Gram matrix that can be inverted, also where units are dead or copies of others."""
    scale = max(float(np.trace(gram)), np.finfo(np.float64).tiny)
    return gram + DAMPING * scale * np.eye(len(gram))
