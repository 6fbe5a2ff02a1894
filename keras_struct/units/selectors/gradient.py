"""Choose units by what the loss says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.selector import Selector


@final
@dataclass(frozen=True)
class Taylor(Selector):
    """Units whose removal changes the loss least, to first order: |activation x gradient|, positions summed first.

    Args:
        average: `"samples"`: mean, over the samples, of the magnitude for each; `"batch"`: magnitude of the mean.

    Raises:
        ValueError: If `average` is unknown; when asked, if there is no batch with targets.

    References:
        Molchanov, Tyree, Karras, Aila, Kautz, *Pruning Convolutional Neural Networks for Resource Efficient Inference*, ICLR
        2017. There the mean over positions is taken; within one axis that is the same ranking.
    """

    average: Literal["samples", "batch"] = "samples"

    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.average not in ("samples", "batch"):
            raise ValueError(f"`average` must be 'samples' or 'batch'. Received: average={self.average!r}")

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the magnitudes."""
        gates = measured.gradients.gates()
        return np.abs(gates).mean(axis=0) if self.average == "samples" else np.abs(gates.mean(axis=0))


@final
@dataclass(frozen=True)
class Fisher(Selector):
    """Units whose removal changes the loss least by the Fisher information: half the mean squared (activation x gradient).

    The square is taken for each sample, positions summed first; squares of batch gradients would be another quantity.

    References:
        Theis, Korshunova, Tejani, Huszár, *Faster gaze prediction with dense networks and Fisher pruning*, 2018.
    """

    needs_gradients: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return ½ E[(Σ a h)²]."""
        return 0.5 * (measured.gradients.gates() ** 2).mean(axis=0)


@final
@dataclass(frozen=True)
class Perturbation(Selector):
    """Units without which the loss of the last batch is lowest: one forward pass for each unit."""

    needs_gradients: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the losses without each unit."""
        return measured.gradients.losses_without()
