"""How many directions the activations of a layer really use, from the eigenvalues of their Gram matrix.

A singular value of `H / sqrt(n)` exceeds `epsilon` where an eigenvalue of `H^T H / n` exceeds `epsilon ** 2`. The Gram
matrix has one row a unit instead of one a sample, and in float64 it tells singular values apart that lie within 1e-10
of the threshold, so the activations themselves are never decomposed.

Tensors of the Keras backend are multiplied on their own device. Keras is not imported for this: while it is not loaded,
nothing can be a tensor of its backend.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.statistics.threads import threads_for

_SINGLE_ERRORS = 8 * float(np.finfo(np.float32).eps)
_BLOCK_ENTRIES = 2**22
"""Entries that are converted to float64 at a time (32 MiB), whatever the number of samples."""


def effective_dimension(activations: Any, epsilon: float = 0.01) -> float:
    """Fraction of a layer's width that the numerical rank of its activations amounts to.

    This is `phi = (1 / M) * #{singular values of H / sqrt(n) above epsilon}` for `n` samples of `M` units: 1.0 where no
    unit is nearly a linear combination of others, 0.0 where all units are dead.

    Args:
        activations: Shape `(samples, ..., units)`, any real dtype, a NumPy array or a tensor of the Keras backend. All
            axes but the last count as samples: a convolution of 8 images with 10 x 10 positions has 800 samples.
        epsilon: Positive threshold, in the units of the activations. Directions weaker than about 1e-7 times the
            strongest one cannot be resolved.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: If the activations are complex.
        ValueError: If there are no units, no more samples than units, values that are not finite, or `epsilon` is not
            positive.

    References:
        K. Maile, E. Rachelson, H. Luga, D. G. Wilson, "When, where, and how to add new neurons to ANNs", AutoML 2022.
        Equation 27 of K. Maile's thesis.

    >>> effective_dimension([[2., 0., 2.], [0., 1., 0.], [0., 0., 0.], [0., 0., 0.]])   # unit 2 repeats unit 0
    0.6666666666666666
    """
    samples = as_samples(activations)
    if samples.shape[1] == 0:
        raise ValueError(
            "Cannot measure the effective dimension of a layer without units: it is a fraction of the width. "
            "Give the layer a minimum width of 1 or more."
        )
    return numerical_rank(samples, epsilon) / int(samples.shape[1])


def numerical_rank(activations: Any, epsilon: float = 0.01) -> int:
    """Number of singular values of `H / sqrt(n)` above `epsilon`: the effective dimension times the width.

    Args:
        activations: Shape `(samples, ..., units)`, as for `effective_dimension`.
        epsilon: Positive threshold, in the units of the activations.

    Returns:
        An integer from 0 to `units`.

    Raises:
        TypeError: If the activations are complex.
        ValueError: If there are no more samples than units, values that are not finite, or `epsilon` is not positive.

    >>> numerical_rank([[2., 0., 2.], [0., 1., 0.], [0., 0., 0.], [0., 0., 0.]])
    2
    """
    samples = as_samples(activations)
    require_more_samples_than_units(samples)
    return rank_of_gram(gram(samples), epsilon)


def rank_of_gram(gram: np.ndarray, epsilon: float = 0.01) -> int:
    """Number of eigenvalues of a Gram matrix above `epsilon ** 2`, for callers that have the matrix already.

    Args:
        gram: Shape `(units, units)`, symmetric: `H^T H / n`, as `gram(activations)` returns it. One computed in float32
            has eigenvalues that are wrong by about 1e-7 times the largest.
        epsilon: Positive threshold, in the units of the activations. A singular value equal to it does not count.

    Returns:
        An integer from 0 to `units`.

    Raises:
        ValueError: If `gram` is not a finite, symmetric matrix, or `epsilon` is not positive.

    >>> rank_of_gram(np.diag([1., 0.25, 0.04]), epsilon=0.5)
    1
    """
    moments = checked_gram(gram).copy()
    moments.ravel()[:: len(moments) + 1] -= squared_threshold(epsilon)
    return _positive_inertia(moments)


def _positive_inertia(matrix: np.ndarray) -> int:
    """Number of positive eigenvalues of a symmetric matrix, by Sylvester's law from its factorization LDLᵀ.

    That is several times faster than the eigenvalues. A block of two pivots has one positive eigenvalue.
    """
    if not len(matrix):
        return 0
    factorize = lapack.ssytrf if matrix.dtype == np.float32 else lapack.dsytrf
    with threads_for(len(matrix)):
        factors, pivots, _ = factorize(matrix, lower=1, overwrite_a=1)
    single = pivots > 0
    return int(np.count_nonzero(np.diagonal(factors)[single] > 0)) + int(np.count_nonzero(~single)) // 2


def rank_of_weights(weights: np.ndarray, epsilon: float = 0.01) -> int:
    """Number of singular values of `W / sqrt(n)` above `epsilon`, for units with `n` incoming weights each.

    Computed in float32 where its rounding errors are far below the threshold, else in float64.

    Args:
        weights: Shape `(n, units)`: the incoming weights of a unit are a column.
        epsilon: Positive threshold.

    Returns:
        An integer from 0 to `units`.

    Raises:
        ValueError: If weights are not finite, or `epsilon` is not positive.

    >>> rank_of_weights(np.array([[1., 2.], [1., 2.]]))    # the second unit is twice the first
    1
    """
    count = len(weights)
    small = weights if count >= weights.shape[1] else weights.T  # the singular values are the same
    if small.dtype == np.float32:
        with threads_for(small.shape[1]):
            moments = blas.ssyrk(1.0 / count, small, trans=1, lower=1)
        largest = 2 * float(np.abs(moments).sum(axis=1).max(initial=0.0))  # at least the largest eigenvalue
        if _SINGLE_ERRORS * largest < 1e-3 * squared_threshold(epsilon):
            moments.ravel(order="K")[:: len(moments) + 1] -= squared_threshold(epsilon)
            return _positive_inertia(moments)
    return rank_of_gram(gram(small) * (len(small) / count), epsilon)


def gram(activations: Any) -> np.ndarray:
    """Second moments of the units, `H^T H / n`, not centred, in float64.

    Args:
        activations: Shape `(samples, ..., units)`, any real dtype.

    Returns:
        Shape `(units, units)`, float64, a NumPy array.

    Raises:
        TypeError: If the activations are complex.
        ValueError: If there is no sample or a value is not finite.

    >>> gram([[2., 0.], [0., 1.]])
    array([[2. , 0. ],
           [0. , 0.5]])
    """
    samples = as_samples(activations)
    moments = mean_products(samples, samples)
    require_finite(np.diagonal(moments), "activations of units")
    return moments


def as_samples(activations: Any) -> Any:
    """Activations as a matrix `(samples, units)`: a tensor if its device has float64, a NumPy array otherwise."""
    array = _as_array(activations)
    if "complex" in str(array.dtype):
        raise TypeError(f"Cannot measure activations of dtype {array.dtype}: they must be real numbers.")
    shape = tuple(array.shape)
    samples = math.prod(shape[:-1])
    if len(shape) < 2 or samples == 0:
        raise ValueError(
            f"Cannot measure activations of shape {shape}: the shape must be (samples, ..., units), with at least one "
            "sample."
        )
    return _operations(array).reshape(array, (samples, shape[-1]))


def mean_products(left: Any, right: Any) -> np.ndarray:
    """`left^T right / n` in float64, shape `(M, K)`, for samples of shapes `(n, M)` and `(n, K)`."""
    ops = _operations(left, right)
    total: Any = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in _blocks(left.shape[0], max(left.shape[1], right.shape[1])):
            first = _float64(left[rows], ops)
            second = first if right is left else _float64(right[rows], ops)
            total = total + ops.transpose(first) @ second  # keras.ops.matmul is float32 on PyTorch
    return _to_numpy(total, ops) / left.shape[0]


def mean_squares(samples: Any) -> np.ndarray:
    """Mean square of each column in float64, shape `(K,)`, for samples of shape `(n, K)`."""
    ops = _operations(samples)
    total: Any = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in _blocks(*samples.shape):
            total = total + ops.sum(ops.square(_float64(samples[rows], ops)), axis=0)
    return _to_numpy(total, ops) / samples.shape[0]


def squared_threshold(epsilon: float) -> float:
    """`epsilon ** 2`, after checking that it is a usable threshold."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"Cannot count singular values above epsilon={epsilon}: it must be a positive number.")
    return float(epsilon) ** 2


def checked_gram(gram: np.ndarray) -> np.ndarray:
    """A Gram matrix as float64, after checking that it is one."""
    moments = np.asarray(gram, np.float64)
    if moments.ndim != 2 or moments.shape[0] != moments.shape[1]:
        raise ValueError(
            f"Cannot use an array of shape {moments.shape} as a Gram matrix: it must be (units, units). Activations "
            "become one by `gram(activations)`."
        )
    require_finite(np.abs(moments).sum(axis=1), "rows of the Gram matrix of units")
    if moments.size and np.abs(moments - moments.T).max() > 1e-6 * np.abs(moments).max():
        raise MeasurementError("Cannot use a matrix that is not symmetric as a Gram matrix: H^T H / n is symmetric.")
    return moments


def require_more_samples_than_units(samples: Any) -> None:
    """Raise a ValueError unless there are more samples than units, as equation 27 demands."""
    count, units = samples.shape
    if count <= units:
        raise MeasurementError(
            f"Cannot measure the rank of {units} units on {count} samples: n > M is needed, as {count} samples span at "
            f"most {count} directions. Raise the buffer to more than {units} samples, or limit the width of the layer "
            f"to less than {count} units."
        )


def require_finite(moments: np.ndarray, what: str) -> None:
    """Raise a ValueError that names the indices at which `moments`, shape `(count,)`, are not finite."""
    bad = np.flatnonzero(~np.isfinite(moments))
    if bad.size:
        shown = ", ".join(map(str, bad[:8])) + (", ..." if bad.size > 8 else "")
        raise MeasurementError(
            f"Cannot measure: the {what} [{shown}] are not finite. Training may have diverged (a smaller learning rate "
            "or clipped gradients help), or the inputs hold NaN."
        )


def _as_array(activations: Any) -> Any:
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(activations, keras.Variable):
        activations = activations.value
    if keras is None or not keras.ops.is_tensor(activations):
        return np.asarray(activations)
    widest = keras.ops.convert_to_tensor(np.zeros(1)).dtype  # float32 on JAX unless x64 is enabled
    if keras.backend.standardize_dtype(widest) == "float64":
        return keras.ops.stop_gradient(activations)
    return keras.ops.convert_to_numpy(activations)


def _operations(*arrays: Any) -> Any:
    return np if all(isinstance(array, np.ndarray) for array in arrays) else sys.modules["keras"].ops


def _float64(array: Any, ops: Any) -> Any:
    return np.asarray(array, np.float64) if ops is np else ops.cast(array, "float64")


def _to_numpy(array: Any, ops: Any) -> np.ndarray:
    return array if ops is np else ops.convert_to_numpy(array)


def _blocks(samples: int, width: int) -> Iterator[slice]:
    rows = max(1, _BLOCK_ENTRIES // max(1, width))
    return (slice(start, start + rows) for start in range(0, samples, rows))
