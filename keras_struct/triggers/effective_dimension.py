"""Growth while units stay as independent as they were."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil, floor
from typing import ClassVar, Literal

from keras_struct.measurements import AxisMeasurement
from keras_struct.statistics.effective_dimension import rank_of_gram, rank_of_weights
from keras_struct.structure.refusal import MeasurementError
from keras_struct.triggers.base import Trigger

_ROUNDING_SLACK = 1e-9
DEGENERATE = 0.5
"""Effective dimension at the start below which it tells little about a layer."""


@dataclass(frozen=True)
class Orthogonality(Trigger[float]):
    """Base of triggers that add units while a measure of orthogonality stays above γ times its baseline.

    For a measure φ of M units, `T = max(0, ⌊M (φ − γ φ₀)⌋)`. Subclasses say what φ is.

    Args:
        gamma: Threshold factor γ, close to 1.
        epsilon: Threshold ε of singular values, for measures that have one.
        baseline: What φ₀ is: `"initial"`, the measure at the start; `"running_max"`, its maximum over earlier steps; or
            `"auto"`. The maximum is updated after it was used.
        rounding: `"floor"` as printed, or `"ceil"`, which adds more units.
        start: φ₀ of every axis at the start, in place of a measurement.

    Raises:
        ValueError: If a value is out of range.

    As φ is at most 1, T is 0 at every width below 1 / (1 − γ φ₀) with `rounding="floor"`: with γ = 0.97 and units that are
    independent at the start, below 34. `starts_from` computes it.
    """

    gamma: float = 0.97
    epsilon: float = 0.01
    baseline: Literal["auto", "initial", "running_max"] = "auto"
    rounding: Literal["floor", "ceil"] = "floor"
    start: float | None = None

    def __post_init__(self) -> None:
        if not self.gamma > 0 or not self.epsilon > 0:
            raise ValueError(
                f"`gamma` and `epsilon` must be positive. Received: gamma={self.gamma}, epsilon={self.epsilon}"
            )
        if self.start is not None and not 0 < self.start <= 1:
            raise ValueError(f"`start` must be None, or lie above 0 and be at most 1. Received: start={self.start}")
        for name, value, allowed in (
            ("baseline", self.baseline, ("auto", "initial", "running_max")),
            ("rounding", self.rounding, ("floor", "ceil")),
        ):
            if value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}")

    @abstractmethod
    def measure(self, measured: AxisMeasurement) -> float:
        """Return φ."""

    def init(self, measured: AxisMeasurement) -> float:
        """Return `start`, or the measure at the start."""
        return self.measure(measured) if self.start is None else self.start

    def renewed(self, measured: AxisMeasurement) -> float:
        """Return the measure as it is now."""
        return self.measure(measured)

    def largest(self, measured: AxisMeasurement) -> float:
        """Return the largest φ that there can be at the present width."""
        return 1.0

    def __call__(self, measured: AxisMeasurement, state: float) -> tuple[int, float]:
        """Return T, and the baseline for the next step."""
        found = self.measure(measured)
        count = self._rounded(measured.units * (found - self.gamma * state))
        return max(0, count), max(state, found) if self._keeps_maximum(measured.kind) else state

    def _rounded(self, missing: float) -> int:
        return floor(missing + _ROUNDING_SLACK) if self.rounding == "floor" else ceil(missing - _ROUNDING_SLACK)

    def starts_from(self, baseline: float = 1.0) -> int | None:
        """Return the smallest width at which T can be above 0, for a φ₀; `None` if there is none.

        >>> EffectiveDimension(gamma=0.97).starts_from(), EffectiveDimension(gamma=0.97).starts_from(0.5)
        (34, 2)
        """
        share = 1 - self.gamma * baseline
        if share <= _ROUNDING_SLACK:
            return None
        return 1 if self.rounding == "ceil" else ceil((1 - _ROUNDING_SLACK) / share)

    def cannot_fire(self, measured: AxisMeasurement, state: float) -> str | None:
        """Return why T is 0 for every φ, and what to change."""
        units, largest = measured.units, self.largest(measured)
        most = units * (largest - self.gamma * state)
        if self._rounded(most) > 0:
            return None
        lower = (largest - (1 / units if self.rounding == "floor" else 0)) / state if state > 0 else 0.0
        ways = [f"`gamma` of at most {floor(lower * 1000) / 1000:g}"] if lower >= 0.001 else []
        ways += ['`rounding="ceil"`'] if self.rounding == "floor" and most > _ROUNDING_SLACK else []
        width = self.starts_from(state) if largest == 1.0 else None
        ways += [f"at least {width} units at the start"] if width is not None else []
        remedy = f"take {' or '.join(ways)}" if ways else "take another trigger"
        return (
            f"{type(self).__name__} adds M (φ - γ φ₀) units, {units} ({largest:.3g} - {self.gamma:g} × {state:.3g}) = {most:.2f} "
            f"at most{', rounded down' if self.rounding == 'floor' else ''}: {remedy}"
        )

    def _keeps_maximum(self, kind: str) -> bool:
        return self.baseline == "running_max" or (self.baseline == "auto" and kind == "conv")


@dataclass(frozen=True)
class EffectiveDimension(Orthogonality):
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
class WeightEffectiveDimension(Orthogonality):
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
class OrthogonalityGap(Orthogonality):
    """Add units while the orthogonality gap measure of post-activations stays above γ times its baseline.

    φ_OG (eq. 29) is 1 minus the distance of the normalised covariance of samples to the identity; it depends on the width
    (see `keras_struct.statistics.orthogonality_gap`). For convolutions each sample has one entry a channel and position.

    Args:
        gamma: Threshold factor γ.
        epsilon: Without effect.
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
