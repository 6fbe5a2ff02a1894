"""Growth while the activations of a layer stay as independent as they were."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Any, ClassVar, Literal

from keras_struct.statistics.effective_dimension import rank_of_gram
from keras_struct.triggers.base import Trigger

_ROUNDING_SLACK = 1e-9


@dataclass(frozen=True)
class EffectiveDimension(Trigger):
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

    Raises:
        ValueError: If a value is out of range.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.1, equations 27,
        28 and 35, in which `min` is a misprint for `max`).

    Differs from the authors' code, which rounds up.
    """

    gamma: float = 0.97
    epsilon: float = 0.01
    baseline: Literal["auto", "initial", "running_max"] = "auto"
    rounding: Literal["floor", "ceil"] = "floor"

    needs_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.gamma > 0 or not self.epsilon > 0:
            raise ValueError(
                f"`gamma` and `epsilon` must be positive. Received: gamma={self.gamma}, epsilon={self.epsilon}"
            )
        for name, value, allowed in (
            ("baseline", self.baseline, ("auto", "initial", "running_max")),
            ("rounding", self.rounding, ("floor", "ceil")),
        ):
            if value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}")

    def init(self, measured: Any) -> float:
        """Return the effective dimension at the start."""
        return rank_of_gram(measured.gram(), self.epsilon) / measured.units

    def __call__(self, measured: Any, state: float) -> tuple[int, float]:
        """Return T, and the baseline for the next step."""
        if measured.samples() <= measured.units:
            raise ValueError(
                f"Cannot measure the effective dimension of axis '{measured.axis}': it has {measured.units} units but only "
                f"{measured.samples()} rows of activations, and needs more rows than units. Raise `probe` in compile, or "
                "limit the width."
            )
        rank = rank_of_gram(measured.gram(), self.epsilon)
        missing = rank - self.gamma * state * measured.units
        rounded = floor(missing + _ROUNDING_SLACK) if self.rounding == "floor" else ceil(missing - _ROUNDING_SLACK)
        return max(0, rounded), max(state, rank / measured.units) if self._keeps_maximum(measured.kind) else state

    def _keeps_maximum(self, kind: str) -> bool:
        return self.baseline == "running_max" or (self.baseline == "auto" and kind == "conv")
