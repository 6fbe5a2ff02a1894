"""Units whose first gradient is largest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.threads import threads_for
from keras_struct.policies.initializer import (
    Initializer,
    check_zero_fan_in,
    others_random,
    outgoing,
    random_fan_in,
    to_mean_norm,
)
from keras_struct.units.initializers.adam import ascend


@dataclass(frozen=True)
class LargestGradient(Initializer):
    """Zero incoming weights, and the outgoing weights for which the gradient of the incoming ones is largest (GradMax).

    With the auxiliary gradient B = ∂L/∂z_{l+1} h_{l−1}ᵀ, k units whose outgoing weights are orthogonal and of norm c get
    the gradient `‖∂L/∂W_in‖² = c² (σ₁² + … + σ_k²)` at most, namely along the k strongest singular vectors of B. The
    function does not change. There are no more such units than B has singular values above 0: at most as many as the next
    layer has units (times its kernel positions).

    Args:
        scale: Norm c of the outgoing weights, in units of the mean norm of the existing ones; 1 in the thesis, 0.5 in the
            GradMax paper.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022, equation 11; thesis section
        6.2.2.

    Differs from the authors' code: exact at the borders of convolutions with "same" padding, and through pooling and
    flattening, where that code grows at random.
    """

    scale: float = 1.0

    needs_gradients: ClassVar[bool] = True
    limited_by: ClassVar[str] = (
        "the auxiliary gradient, which has at most as many singular values as the next layer has units, has no more above "
        "0. Add fewer units at a time."
    )

    def check(self, measured: AxisMeasurement) -> None:
        """Raise a ValueError if units without incoming weights would change the function, or never train."""
        check_zero_fan_in(measured, type(self).__name__)

    def capacity(self, measured: AxisMeasurement) -> int | None:
        """Return the rank of the auxiliary gradient."""
        values = self._strongest(measured)[0]
        return int((values > values.max(initial=0.0) * 1e-12).sum()) if values.max(initial=0.0) > 0 else 0

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Return the strongest directions as outgoing weights."""
        _, directions = self._strongest(measured)
        signs = rng.choice([-1.0, 1.0], size=(count, 1))  # either sign of a singular vector will do
        return outgoing(measured, directions[:count] * signs, self.scale)

    def _strongest(self, measured: AxisMeasurement) -> tuple[Floats, Floats]:
        return measured.once(self, lambda: _strongest(measured.gradients.auxiliary(linear=False)))


def _strongest(auxiliary: Floats) -> tuple[Floats, Floats]:
    """Squared singular values, largest first, and the singular vectors over outgoing weights, one a row."""
    if auxiliary.shape[0] >= auxiliary.shape[1]:
        with threads_for(auxiliary.shape[1]):
            values, vectors = np.linalg.eigh(auxiliary.T @ auxiliary)
        return np.maximum(values[::-1], 0.0), vectors[:, ::-1].T
    with threads_for(auxiliary.shape[0]):
        values, vectors = np.linalg.eigh(auxiliary @ auxiliary.T)
    directions = vectors[:, ::-1].T @ auxiliary
    return np.maximum(values[::-1], 0.0), directions / np.maximum(np.linalg.norm(directions, axis=1)[:, None], 1e-30)


@dataclass(frozen=True)
class OptimizedGradient(Initializer):
    """Units moved towards a larger first gradient, by projected gradient ascent (GradMaxOpt).

    Either outgoing weights ascend the gradient of zero incoming ones, or (the inverse variant, for which there is no
    closed form) incoming weights ascend the gradient of zero outgoing ones. After each step the units are made orthogonal
    to each other and scaled to the mean norm of the existing ones. The function does not change.

    Args:
        ascends: `"fan_out"`, or `"fan_in"` for the inverse variant, which any activation will do for.
        scale: Norm of the weights that are not zero, in units of the mean norm of the existing ones.
        steps: Steps of Adam.
        learning_rate: Its learning rate, in units of the mean size of a weight.

    Raises:
        ValueError: If `ascends` is neither of the two.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022, section 3 and appendix.
    """

    ascends: Literal["fan_out", "fan_in"] = "fan_out"
    scale: float = 1.0
    steps: int = 100
    learning_rate: float = 0.1

    needs_gradients: ClassVar[bool] = True
    limited_by: ClassVar[str] = "a unit has no more weights that could be orthogonal. Add fewer units at a time."

    def __post_init__(self) -> None:
        if self.ascends not in ("fan_out", "fan_in"):
            raise ValueError(f"`ascends` must be 'fan_out' or 'fan_in'. Received: ascends={self.ascends!r}")

    def check(self, measured: AxisMeasurement) -> None:
        """Raise a ValueError if units without incoming weights would change the function, or never train."""
        if self.ascends == "fan_out":
            check_zero_fan_in(measured, type(self).__name__)

    def capacity(self, measured: AxisMeasurement) -> int | None:
        """Return how many orthogonal units there can be."""
        if self.ascends == "fan_out":
            return sum(int(np.prod(fan.weights.shape[1:])) for fan in measured.fan_out())
        return int(np.prod(measured.fan_in[0].weights.shape[:-1]))

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Ascend from a random start."""
        if self.ascends == "fan_out":
            return outgoing(measured, self._fan_out(measured, count, rng), self.scale)
        first = measured.fan_in[0]
        new = self.scale * to_mean_norm(self._fan_in(measured, count, rng), first.weights)
        return {first.key: first.expand(new), **others_random(measured, count, rng)}

    def _fan_out(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Floats:
        auxiliary = measured.gradients.auxiliary(linear=False)
        start = _orthonormal(rng.standard_normal((count, auxiliary.shape[1])))
        rate = self.learning_rate / np.sqrt(auxiliary.shape[1])
        moments = auxiliary.T @ auxiliary
        return ascend(start, lambda rows: _tangent(rows @ moments, rows), self.steps, rate, _orthonormal)

    def _fan_in(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Floats:
        first = measured.fan_in[0]
        shape, size = first.weights.shape[:-1], int(np.prod(first.weights.shape[:-1]))
        norm = self.scale * float(first.norms.mean())

        def weights(rows: Floats) -> Floats:
            return (norm * rows.T).reshape(*shape, count)

        def gradient(rows: Floats) -> Floats:
            none = [np.zeros((count, *fan.weights.shape[1:]), np.float32) for fan in measured.fan_out()]
            wanted = measured.gradients.virtual(weights(rows), none).fan_out
            incoming = measured.gradients.virtual(weights(rows), wanted).fan_in
            return _tangent(incoming.reshape(size, count).T.astype(np.float64), rows)

        start = random_fan_in(first.weights, count, rng).reshape(size, count).T
        return weights(
            ascend(_orthonormal(start), gradient, self.steps, self.learning_rate / np.sqrt(size), _orthonormal)
        )


def _tangent(slope: Floats, rows: Floats) -> Floats:
    """The part of a gradient along which orthonormal rows stay orthonormal."""
    products = slope @ rows.T
    return slope - (products + products.T) / 2 @ rows


def _orthonormal(rows: Floats) -> Floats:
    """The nearest rows that are orthogonal to each other and of length 1."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    return left @ right
