"""Choose units by what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.selector import Selector


@final
@dataclass(frozen=True)
class Activity(Selector):
    """Units whose post-activations are smallest, vary least, or are zero most often.

    Args:
        measure: `"magnitude"`: mean magnitude; `"variance"`; `"zeros"`: average percentage of zeros (APoZ).

    Raises:
        ValueError: If `measure` is unknown; when asked, if there are no inputs.

    References:
        Hu, Peng, Tai, Tang, *Network Trimming*, 2016 (zeros).
    """

    measure: Literal["magnitude", "variance", "zeros"] = "magnitude"

    needs_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.measure not in ("magnitude", "variance", "zeros"):
            raise ValueError(
                f"`measure` must be 'magnitude', 'variance' or 'zeros'. Received: measure={self.measure!r}"
            )

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the measure; for zeros the share of other values."""
        activity = measured.activity()
        if self.measure == "variance":
            return np.diagonal(measured.gram()) - activity.mean**2
        return activity.magnitude if self.measure == "magnitude" else 1.0 - activity.zeros
