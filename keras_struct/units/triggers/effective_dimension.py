"""Growth while units stay as independent as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keras_struct.core.structure.deprecation import renamed
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.effective_dimension import rank_of_gram, rank_of_weights
from keras_struct.policies.trigger import Trigger
from keras_struct.units.triggers.baseline_ratio import BaselineRatio

DEGENERATE = 0.5
"""Effective dimension at the start below which it tells little about a layer."""

__getattr__ = renamed(__name__, Orthogonality=BaselineRatio)


@dataclass(frozen=True)
class _AboveThreshold(Trigger[float]):
    """Counts singular values above ε. As the last base of a class it gives the order of arguments: `gamma`, `epsilon`, others."""

    gamma: float = 0.97
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: epsilon={self.epsilon}")


@dataclass(frozen=True)
class EffectiveDimension(BaselineRatio, _AboveThreshold):
    """Add units while the effective dimension of post-activations stays above γ times its baseline.

    With φ(f, l) = (1/M) · #{σ of H/√n above ε} (eq. 27), M units are joined by

        T = max(0, ⌊M (φ(f, l) − γ φ₀)⌋)          (eq. 28 for dense, eq. 35 for convolutional layers)

    more. φ₀ is the effective dimension at the start of training, or its running maximum over earlier steps.

    Args:
        gamma: Threshold factor γ, close to 1.
        epsilon: Threshold ε of singular values.
        baseline: `"initial"`, `"running_max"`, or `"auto"`: initial for dense and running maximum for convolutional
            layers, whose effective dimension starts near 0 in deep networks. The maximum is updated after it was used.
        rounding: `"floor"` as printed, or `"ceil"`, which adds more units.
        start: φ₀ of every axis at the start, in place of a measurement. A dense layer whose units are hardly independent at
            the start (φ₀ below one half, as behind a `Flatten` of few active channels) otherwise grows to its limit as soon
            as training sets them apart, which a warning says; 1.0 lets it grow only while nearly all units are independent.

    Raises:
        ValueError: If a value is out of range; in training, if there are no more rows of activations than units.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.1, equations 27,
        28 and 35, in which `min` is a misprint for `max`).

    Differs from the authors' code, which rounds up.
    """

    needs_inputs: ClassVar[bool] = True

    def caution(self, measured: AxisMeasurement, state: float) -> str | None:
        """Return that φ₀ is degenerate: below one half, though it is to be the baseline for good."""
        if self.start is not None or state >= DEGENERATE or self._keeps_maximum(measured.kind):
            return None
        return (
            f"the effective dimension φ₀ that it starts from is {state:.2g}, though units of a trained layer mostly come near 1: "
            f"{type(self).__name__} would then add units up to the limit, whatever `gamma` is. Take baseline='running_max', or "
            "start=1.0 in place of what is measured"
        )

    def measure(self, measured: AxisMeasurement) -> float:
        """Return the effective dimension φ of the post-activations."""
        if measured.samples() <= measured.units:
            raise MeasurementError(
                f"Cannot measure the effective dimension of axis '{measured.axis}': it has {measured.units} units but only "
                f"{measured.samples()} rows of activations, and needs more rows than units. Give more samples (`probe` in "
                "compile), or limit the width."
            )
        return rank_of_gram(measured.gram(), self.epsilon) / measured.units


@dataclass(frozen=True)
class WeightEffectiveDimension(BaselineRatio, _AboveThreshold):
    """Add units while the effective dimension of incoming weights stays above γ times its baseline.

    As `EffectiveDimension`, of W_l/√n in place of H/√n (equations 30 and 31), with one row a unit and n columns; a kernel
    is flattened. It needs no data. A layer cannot pass the number of its inputs: its rank cannot.

    Args:
        gamma: Threshold factor γ_w.
        epsilon: Threshold ε of singular values.
        baseline: `"initial"`, `"running_max"`, or `"auto"`: initial for dense, running maximum for convolutional layers.
        rounding: `"floor"` as printed, or `"ceil"`.
        start: φ₀ of every axis at the start, in place of a measurement.

    Raises:
        ValueError: If a value is out of range.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.1, equations 30
        and 31, in which `min` is a misprint for `max`). Biases are left out, as in the authors' code.
    """

    gamma: float = 0.99

    def largest(self, measured: AxisMeasurement) -> float:
        """Return the number of inputs by that of units, 1 at the most: the rank of the weights is no larger."""
        return min(1.0, measured.fan_in[0].weights[..., 0].size / measured.units)

    def measure(self, measured: AxisMeasurement) -> float:
        """Return the effective dimension φ of the incoming weights of the first layer that makes the units."""
        weights = measured.fan_in[0].weights.reshape(-1, measured.units)
        return rank_of_weights(weights, self.epsilon) / measured.units


@dataclass(frozen=True)
class OrthogonalityGap(BaselineRatio):
    """Add units while the orthogonality gap measure of post-activations stays above γ times its baseline.

    φ_OG (eq. 29) is 1 minus the distance of the normalised covariance of samples to the identity; it depends on the width
    (see `keras_struct.statistics.orthogonality_gap`). For convolutions each sample has one entry a channel and position.

    Args:
        gamma: Threshold factor γ.
        baseline: `"initial"`, `"running_max"`, or `"auto"`: initial for dense, running maximum for convolutional layers.
        rounding: `"floor"` as printed, or `"ceil"`.
        start: φ₀ of every axis at the start, in place of a measurement.

    Raises:
        ValueError: If a value is out of range.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.1, equation 29,
        whose second term lacks the identity matrix).
    """

    needs_inputs: ClassVar[bool] = True

    def measure(self, measured: AxisMeasurement) -> float:
        """Return φ_OG of the post-activations."""
        return measured.orthogonality_gap()
