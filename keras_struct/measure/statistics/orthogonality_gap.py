"""How far the activations of a layer are from being orthogonal with equal norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_struct.measure.statistics.effective_dimension import as_samples, gram


def orthogonality_gap(activations: Any) -> float:
    """One minus the distance of the units' normalised covariance to the identity: larger means more orthogonal.

    With `H` of `M` units and `n` samples, this is `phi = 1 - ||H^T H / ||H||_F^2 - I_n / ||I_n||_F^2||_F`, where
    `H^T H` has one row a sample and `||I_n||_F^2 = n`. That matrix is never formed: with the Gram matrix `G` of the
    units, the squared distance is `||G / tr(G) - I_M / M||_F^2 + 1 / M - 1 / n`, free of cancellation if `n >= M`.

    The value is `1 - sqrt(1 - 1 / n)` if all units are parallel and `1 - sqrt(1 / M - 1 / n)` if they are orthogonal
    with equal norms, so it depends on the width: compare values of one width. A layer whose units are all dead gets the
    value of parallel units, as nothing tells its units apart.

    Args:
        activations: Shape `(samples, ..., units)`, any real dtype, a NumPy array or a tensor of the Keras backend. All
            axes but the last count as samples.

    Returns:
        A number from 0 (exclusive) to 1 (inclusive).

    Raises:
        TypeError: If the activations are complex.
        ValueError: If there is no sample, no unit, or a value is not finite.

    References:
        Equation 29 of K. Maile's thesis. Differs from the printed text: there the second term is the scalar
        `1 / ||I_n||_F^2`; the identity matrix itself is missing.

    >>> round(orthogonality_gap([[3., 0.], [0., 3.], [0., 0.], [0., 0.]]), 9)   # 1 - sqrt(1/2 - 1/4)
    0.5
    """
    samples = as_samples(activations)
    if samples.shape[1] == 0:
        raise ValueError(
            "Cannot measure the orthogonality of a layer without units. Give the layer a minimum width of 1 or more."
        )
    return gap_of_gram(gram(samples), samples.shape[0])


def gap_of_gram(gram: np.ndarray, samples: int) -> float:
    """The measure of `orthogonality_gap` from the Gram matrix of the units, for callers that have it already.

    Args:
        gram: Shape `(units, units)`, up to a factor: `H^T H`.
        samples: How many samples it was made of.

    Returns:
        A number from 0 (exclusive) to 1 (inclusive).

    >>> round(gap_of_gram(np.eye(2), samples=4), 9)
    0.5
    """
    squared_distance = _squared_distance_to_identity(gram) + 1.0 / len(gram) - 1.0 / samples
    return 1.0 - math.sqrt(max(squared_distance, 0.0))


def _squared_distance_to_identity(moments: np.ndarray) -> float:
    """`||G / tr(G) - I / M||_F^2` for `G` of shape `(M, M)`; its maximum, `1 - 1 / M`, if `G` is zero."""
    units, energy = len(moments), np.trace(moments)
    if energy == 0.0:
        return 1.0 - 1.0 / units
    return float(np.square(moments / energy - np.eye(units) / units).sum())
