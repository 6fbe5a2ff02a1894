"""Units that begin as copies of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.edits import Resize, Values
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.initializer import Initializer


@dataclass(frozen=True)
class CopyAndPerturb(Initializer):
    """Copies of random units, which share the outgoing weights with them, and a little noise (Net2WiderNet).

    Without noise the function is kept and copies never part, unless dropout tells them apart. The optimizer's slots of a
    copy are those of its ancestor.

    Args:
        noise: Standard deviation of the noise on the incoming weights of the copies, in units of that of all the layer's
            incoming weights.

    Raises:
        ValueError: If `noise` is negative.

    References:
        Chen, Goodfellow, Shlens, *Net2Net: Accelerating Learning via Knowledge Transfer*, ICLR 2016, section 2.2. The paper
        gives no size of the noise; 0.01 is that of Cai et al., *Efficient Architecture Search by Network Transformation*,
        AAAI 2018.
    """

    noise: float = 0.01

    def __post_init__(self) -> None:
        if not self.noise >= 0:
            raise ValueError(f"`noise` must not be negative. Received: noise={self.noise}")

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Nothing is new: see `propose`."""
        return {}

    def propose(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Resize | None:
        """Return the edit that copies `count` units, drawn with replacement."""
        units = measured.units
        copied = rng.integers(0, units, count)
        return Resize(
            measured.axis,
            (*range(units), *copied.tolist()),
            shift=Values(self._shift(measured, count, rng) if self.noise else {}),
        )

    def _shift(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> dict[str, Floats]:
        shift = {}
        for fan in measured.fan_in:
            noise = np.zeros((*fan.weights.shape[:-1], measured.units + count))
            drawn = rng.standard_normal((*fan.weights.shape[:-1], count))
            noise[..., measured.units :] = drawn * self.noise * fan.weights.std()
            shift[fan.key] = fan.expand(noise)
        return shift
