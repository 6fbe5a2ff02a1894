"""Random incoming weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_struct.initializers.base import Initializer, random_fan_in


@dataclass(frozen=True)
class RandomFanIn(Initializer):
    """Random incoming weights of the mean norm of the existing units; bias and outgoing weights zero.

    The function of the network does not change.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis section 6.2.2, RandomInit).
    """

    def __call__(self, measured: Any, count: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Draw the incoming weights for every layer that makes the units."""
        return {fan.key: fan.expand(random_fan_in(fan.weights, count, rng)) for fan in measured.fan_in}
