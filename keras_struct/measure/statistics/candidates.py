"""Which candidate would add most to the dimension of a layer: exact scores of any number, one eigendecomposition."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.statistics.effective_dimension import (
    as_samples,
    checked_gram,
    gram,
    mean_products,
    mean_squares,
    require_finite,
    require_more_samples_than_units,
    squared_threshold,
)
from keras_struct.measure.statistics.threads import threads_for

Ranking = Literal["lexicographic", "count_plus_nuclear"]

_PRECISION = float(np.finfo(np.float64).eps)
_ROUNDED_AWAY = 1e-12
"""Share of the largest mean square below which one may be lost in a sum in float32."""
_UNDERFLOW = float(np.finfo(np.float32).tiny)
_LOG_STEP = 0.35
"""Step of the trapezoidal rule in `log t`; its error is about `exp(-pi ** 2 / step)`, here 6e-13."""
_LOG_RANGE = (np.log(1e-10), np.log(1e4))
"""Range of `log t`, relative to the largest singular value; what lies outside is worth about 1e-9 of it."""


class Border(NamedTuple):
    """The new row of the Gram matrix, if a candidate were added to the units.

    Attributes:
        cross: Shape `(units, candidates)`, float64: `H^T C / n`.
        energy: Shape `(candidates,)`, float64: the mean square of each candidate, the diagonal of `C^T C / n`.
    """

    cross: Floats
    energy: Floats


def border(activations: Any, candidates: Any) -> Border:
    """Second moments of candidates with the units of a layer, as a `CandidateScorer` takes them.

    Args:
        activations: Shape `(samples, ..., units)`, a NumPy array or a tensor of the Keras backend, any real dtype.
        candidates: Shape `(samples, ..., candidates)`: what each candidate answers on the same samples.

    Returns:
        The `cross` and `energy` of the candidates, in float64.

    Raises:
        TypeError: If the activations are complex.
        ValueError: If the samples differ in number or values are not finite.

    >>> border([[2., 0.], [0., 1.]], [[1.], [1.]])
    Border(cross=array([[1. ],
           [0.5]]), energy=array([1.]))
    """
    units, candidates = as_samples(activations), as_samples(candidates)
    if units.shape[0] != candidates.shape[0]:
        raise ValueError(
            f"Cannot compare candidates on {candidates.shape[0]} samples with activations on {units.shape[0]}: both "
            "must come from the same inputs."
        )
    energy = mean_squares(candidates)
    require_finite(energy, "activations of candidates")
    return Border(mean_products(units, candidates), energy)


@final
class CandidateScorer:
    """Scores candidate units by the singular values that the layer would have with each of them added.

    Let `G = H^T H / n = Q diag(lambda) Q^T`, let a candidate have the border `(b, d)`, and `z = Q^T b`. Then:

    - Inertia is additive over Schur complements: with the candidate, `#{lambda > epsilon^2} + [s > 0]` singular values
      exceed `epsilon`, where `s = d - epsilon^2 - sum(z^2 / (lambda - epsilon^2))`. Only this total is reported. Should
      rounding put a `lambda` on the other side of `epsilon^2`, both summands change and the total stays right.
    - As `sqrt(x)` is the integral of `log(1 + x / t^2) / pi` over `t`, the sum of the singular values grows by that of
      `log(1 + g(t^2) / t^2) / pi`, where `g(x) = d - sum(z^2 / (lambda + x))`. All candidates share the 93 nodes, hence
      one matrix product and no root finding.

    Each candidate is scored as if it alone were added. Scoring K candidates takes `O(M^2 K)` operations and `O(M K)`
    memory; one eigendecomposition of `O(M^3)` is made at construction.

    Attributes:
        epsilon: The threshold of the effective dimension.
        count: Singular values above `epsilon` without a candidate.
        nuclear_norm: Sum of the singular values without a candidate.

    Args:
        gram: Shape `(units, units)`: `H^T H / n`, as `gram(activations)` returns it. May have no units.
        epsilon: Positive threshold, in the units of the activations.

    Raises:
        ValueError: If `gram` is not a finite, symmetric matrix, or `epsilon` is not positive.

    References:
        NORTH-Select: K. Maile, E. Rachelson, H. Luga, D. G. Wilson, "When, where, and how to add new neurons to ANNs",
        AutoML 2022. Differs from the authors' code: candidates are ranked as the text says (see `rank`).
        E. V. Haynsworth, "Determination of the inertia of a partitioned Hermitian matrix", Linear Algebra and its
        Applications 1, 1968.

    >>> layer = np.array([[2., 0.], [0., 1.], [0., 0.], [0., 0.]])
    >>> candidates = np.array([[2., 0.], [0., 0.], [0., 0.], [0., 1.]])      # unit 0 again; a new direction
    >>> scorer = CandidateScorer.from_activations(layer)
    >>> scorer.counts(*border(layer, candidates))
    array([2, 3])
    >>> scorer.rank(*border(layer, candidates))
    array([1, 0])
    """

    def __init__(self, gram: np.ndarray, epsilon: float = 0.01):
        self.epsilon = epsilon
        self._threshold = squared_threshold(epsilon)
        with threads_for(len(gram)):
            eigenvalues, self._vectors = np.linalg.eigh(checked_gram(gram))
        self._eigenvalues = np.maximum(eigenvalues, 0.0)
        self._energies = np.diagonal(np.asarray(gram, np.float64))
        self.count = int(np.count_nonzero(self._eigenvalues > self._threshold))
        self.nuclear_norm = float(np.sqrt(self._eigenvalues).sum())

    @classmethod
    def from_activations(cls, activations: Any, epsilon: float = 0.01) -> CandidateScorer:
        """A scorer for a layer with these activations, of shape `(samples, ..., units)`.

        Raises:
            ValueError: If there are no more samples than units, or values are not finite.
        """
        samples = as_samples(activations)
        require_more_samples_than_units(samples)
        return cls(gram(samples), epsilon)

    def counts(self, cross: np.ndarray, energy: np.ndarray) -> np.ndarray:
        """Number of singular values above `epsilon` with each candidate added: the total, not the increment.

        Args:
            cross: Shape `(units, candidates)`, as in `Border`.
            energy: Shape `(candidates,)`, as in `Border`.

        Returns:
            Shape `(candidates,)`, int64.

        Raises:
            ValueError: If the shapes disagree or no activations have these moments.
        """
        squares, energy = self._squares(cross, energy)
        return self._counts(squares, energy)

    def nuclear_norms(self, cross: np.ndarray, energy: np.ndarray, normalized: bool = False) -> np.ndarray:
        """Sum of the singular values with each candidate added.

        The error is about 1e-8 times the largest singular value, for each one that is close to zero; otherwise less.

        Args:
            cross: Shape `(units, candidates)`, as in `Border`.
            energy: Shape `(candidates,)`, as in `Border`.
            normalized: Whether to scale each candidate to a mean square of 1 first. Otherwise a loud candidate beats a
                more orthogonal one. A dead candidate stays dead.

        Returns:
            Shape `(candidates,)`, float64.

        Raises:
            ValueError: If the shapes disagree or no activations have these moments.
        """
        squares, energy = self._squares(cross, energy)
        if normalized:
            squares, energy = _normalized(squares, energy)
        return self._nuclear_norms(squares, energy)

    def rank(
        self, cross: np.ndarray, energy: np.ndarray, ranking: Ranking = "lexicographic", normalized: bool = False
    ) -> np.ndarray:
        """Order of the candidates, best first.

        Args:
            cross: Shape `(units, candidates)`, as in `Border`.
            energy: Shape `(candidates,)`, as in `Border`.
            ranking: `"lexicographic"`: by count, and among equal counts by nuclear norm, as the paper says.
                `"count_plus_nuclear"`: by the sum of the two, as the authors' code has it.
            normalized: Whether the nuclear norms are those of candidates scaled to a mean square of 1. The counts are
                always those of the candidates as they are.

        Returns:
            Shape `(candidates,)`: indices of the candidates. Nuclear norms that float64 moments cannot tell apart are
            equal; among equals, the earlier candidate comes first.

        Raises:
            ValueError: If the shapes disagree, no activations have these moments, or `ranking` is unknown.
        """
        if ranking not in ("lexicographic", "count_plus_nuclear"):
            raise ValueError(f"Cannot rank by {ranking!r}: ranking must be 'lexicographic' or 'count_plus_nuclear'.")
        squares, energy = self._squares(cross, energy)
        counts = self._counts(squares, energy)
        if normalized:
            squares, energy = _normalized(squares, energy)
        norms = _rounded(self._nuclear_norms(squares, energy), np.sqrt(_PRECISION * self._scale(energy)))
        if ranking == "count_plus_nuclear":
            return np.argsort(-(counts + norms), kind="stable")
        return np.lexsort((-norms, -counts))

    def _squares(self, cross: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared moments with the eigenvectors, shape `(units, candidates)`, and the energies, after checking both."""
        cross, energy = np.asarray(cross, np.float64), np.asarray(energy, np.float64)
        if energy.ndim != 1 or cross.shape != (len(self._eigenvalues), energy.size):
            raise ValueError(
                f"Cannot score candidates with `cross` of shape {cross.shape} and `energy` of shape {energy.shape}: "
                f"the shapes must be ({len(self._eigenvalues)}, candidates) and (candidates,)."
            )
        require_finite(energy + np.abs(cross).sum(axis=0), "moments of candidates")
        if (energy < 0).any() or (np.square(cross) > self._largest_squares(energy)).any():
            raise MeasurementError(
                "Cannot score candidates: no activations have these second moments (Cauchy-Schwarz fails). Divide the "
                "Gram matrix, `cross` and `energy` by the same number of samples, and measure them on the same samples."
            )
        return np.square(self._vectors.T @ cross), energy

    def _largest_squares(self, energy: np.ndarray) -> np.ndarray:
        """Squares of cross moments that the Cauchy-Schwarz inequality allows, with what float32 can add to them by rounding.

        Squares of activations that are tiny beside others, or beside 1, are lost in sums in float32; their products with large
        candidates are not.
        """
        own, lost = self._energies, _ROUNDED_AWAY * self._energies.max(initial=0.0) + _UNDERFLOW
        of_candidates = _ROUNDED_AWAY * energy.max(initial=0.0) + _UNDERFLOW
        return 1.001 * np.outer(own, energy) + lost * energy + np.outer(own, np.full_like(energy, of_candidates))

    def _counts(self, squares: np.ndarray, energy: np.ndarray) -> np.ndarray:
        gaps = self._eigenvalues - self._threshold
        # A gap below the rounding error of the eigenvalues keeps its sign, so that it agrees with `self.count`.
        smallest = _PRECISION * max(self._threshold, self._eigenvalues.max(initial=0.0))
        gaps = np.where(gaps > 0, np.maximum(gaps, smallest), np.minimum(gaps, -smallest))
        complement = energy - self._threshold - (1.0 / gaps) @ squares
        return self.count + (complement > 0).astype(np.int64)

    def _nuclear_norms(self, squares: np.ndarray, energy: np.ndarray) -> np.ndarray:
        scale = self._scale(energy)
        if scale < np.sqrt(np.finfo(np.float64).tiny):
            return np.full(energy.shape, self.nuclear_norm)
        nodes = np.sqrt(scale) * np.exp(np.arange(*_LOG_RANGE, _LOG_STEP))
        shifts = np.square(nodes)
        kernel = 1.0 / (self._eigenvalues[:, None] + shifts)  # (units, nodes)
        column = energy[:, None]
        complements = np.clip(column - squares.T @ kernel, 0.0, column)  # (candidates, nodes)
        # The integral of log(1 + energy / t^2) is known, pi * sqrt(energy): what remains to integrate decays fast.
        remainder = np.log((shifts + complements) / (shifts + column)) @ (nodes * (_LOG_STEP / np.pi))
        return self.nuclear_norm + np.sqrt(energy) + remainder

    def _scale(self, energy: np.ndarray) -> float:
        return float(max(self._eigenvalues.max(initial=0.0), energy.max(initial=0.0)))


def _normalized(squares: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    alive = energy > 0
    return squares / np.where(alive, energy, 1.0), alive.astype(np.float64)


def _rounded(values: np.ndarray, resolution: float) -> np.ndarray:
    return np.round(values / resolution) * resolution if resolution > 0 else values
