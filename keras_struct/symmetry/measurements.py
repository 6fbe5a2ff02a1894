"""What policies see of the symmetry of a group convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.gradients import no_batch
from keras_struct.symmetry.groups import Group
from keras_struct.symmetry.tables import project


@dataclass(frozen=True, eq=False)
class SymmetryMeasurement:
    """The symmetry of one group convolution.

    Attributes:
        layer: Its name.
        group: What it is equivariant to.
        frame: The frame of its features.
        lifting: Whether it reads an image instead of features in the frame.
        kernel: Returns its expanded kernel, float64.
        gradient: Returns the gradient of the loss by that, float64.
        followers: Names of the normalisations right behind it, which change with it.
    """

    layer: str
    group: Group
    frame: Group
    lifting: bool
    kernel: Callable[[], Floats]
    gradient: Callable[[], Floats] = no_batch
    followers: tuple[str, ...] = ()

    def distance(self, group: Group) -> float:
        """How far the expanded kernel is from one that is equivariant to a group, from 0 to 1."""
        return self._outside(self.kernel(), group)

    def pull(self, group: Group) -> float:
        """Which share of the gradient by the expanded kernel would lead out of a group, from 0 to 1."""
        return self._outside(self.gradient(), group)

    def _outside(self, kernel: Floats, group: Group) -> float:
        size = np.linalg.norm(kernel)
        rest = kernel - project(kernel, group, self.frame, self.lifting)
        return float(np.linalg.norm(rest) / size) if size else 0.0
