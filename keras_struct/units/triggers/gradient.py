"""Growth while new units would learn faster than all existing ones together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.effective_dimension import rank_of_gram
from keras_struct.policies.trigger import Trigger

FAR = 0.5
"""Share of the threshold below which a singular value is far from it."""


@dataclass(frozen=True)
class AuxiliaryGradient(Trigger[None]):
    """Add a unit for each singular value of the auxiliary gradient above the summed gradient norms of the existing units.

        T = #{σ of ∂L/∂z_{l+1} h_{l−1}ᵀ above c · Σ_m (‖∂L/∂w_m^in‖ + ‖∂L/∂w_m^out‖)}          (eq. 32)

    on the last training batch, in inference mode and without biases. Random combinations of the columns of the auxiliary
    gradient bound its largest singular value first; the matrix itself is only computed when the bound passes the threshold,
    so that a step that does not fire costs one more forward and backward pass. The bound is wrong at most once in 65536
    times, and then a unit comes a step later. The sum on the right grows with the number M of units, so that layers of 64 and
    more units hardly ever pass it.

    Args:
        threshold_factor: The factor c: 1 in the paper.
        samples: How many samples of the batch to look at, on both sides of the comparison; all by default, as in the paper.

    Raises:
        ValueError: If a value is not positive; in training, if there is no loss, or a layer around an axis is neither
            dense nor a convolution.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.1, equation 32).

    Differs from the authors' code, which halves the sum of norms (`threshold_factor=0.5`).
    """

    threshold_factor: float = 1.0
    samples: int | None = None

    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.threshold_factor > 0:
            raise ValueError(f"`threshold_factor` must be positive. Received: threshold_factor={self.threshold_factor}")
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"`samples` must be a positive integer or None. Received: samples={self.samples}")

    def init(self, measured: AxisMeasurement) -> None:
        """There is nothing to remember."""
        return

    def __call__(self, measured: AxisMeasurement, state: None) -> tuple[int, None]:
        """Return T."""
        threshold = self.threshold_factor * self._total(measured)
        if not np.isfinite(threshold) or measured.gradients.bound(self.samples) <= threshold:
            return 0, None
        matrix = measured.gradients.auxiliary(samples=self.samples)
        gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
        return (rank_of_gram(gram, threshold) if threshold > 0 else 0), None

    def _total(self, measured: AxisMeasurement) -> float:
        """Sum of the gradient norms of the existing units."""
        norms = measured.gradients.norms(self.samples)
        return float(norms.incoming.sum() + norms.outgoing.sum())

    def cannot_fire(self, measured: AxisMeasurement, state: None) -> str | None:
        """Return that the largest singular value is far below the sum of norms, by its bound on the last batch."""
        total, bound = self._total(measured), measured.gradients.bound(self.samples)
        if not 0 < total < np.inf or bound > FAR * self.threshold_factor * total:
            return None
        return (
            f"the largest singular value of the auxiliary gradient is at most {bound / total:.2g} of the gradient norms of all "
            f"{measured.units} units together, and AuxiliaryGradient waits for more than {self.threshold_factor:g}: the wider a "
            f"layer, the less often it fires, hardly ever from 64 units on; take a `threshold_factor` of about "
            f"{bound / total:.1g}"
        )
