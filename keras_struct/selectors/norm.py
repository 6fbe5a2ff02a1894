"""Choose units by the size of their weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_struct.structure.policy import Policy


@dataclass(frozen=True)
class Selector(Policy):
    """Chooses units of one axis, those to remove first."""

    @abstractmethod
    def __call__(self, measured: Any, count: int) -> list[int]:
        """Return the indices of `count` units of the measured axis."""


@dataclass(frozen=True)
class SmallestNorm(Selector):
    """Units with the smallest product of incoming and outgoing Euclidean norm.

    Rescaling a ReLU unit (incoming weights times c, outgoing ones divided by c) does not change this product.
    """

    def __call__(self, measured: Any, count: int) -> list[int]:
        """Return the indices, smallest product first.

        Raises:
            ValueError: If `count` is not between 1 and one less than the width.
        """
        if not 1 <= count < measured.units:
            raise ValueError(
                f"Cannot select {count} of the {measured.units} units of axis '{measured.axis}': select 1 to "
                f"{measured.units - 1}, so that one is left."
            )
        incoming = sum(fan.norms**2 for fan in measured.fan_in)
        outgoing = sum(fan.norms**2 for fan in measured.fan_out())
        return np.argsort(incoming * outgoing, kind="stable")[:count].tolist()
