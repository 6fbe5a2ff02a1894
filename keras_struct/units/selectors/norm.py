"""Choose units by the size of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.selector import Selector


@final
@dataclass(frozen=True)
class SmallestNorm(Selector):
    """Units with the smallest product of incoming and outgoing Euclidean norm.

    Rescaling a ReLU unit (incoming weights times c, outgoing ones divided by c) does not change this product.
    """

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the squared products."""
        incoming, outgoing = ([fan.norms**2 for fan in fans] for fans in (measured.fan_in, measured.fan_out()))
        return np.sum(incoming, axis=0) * np.sum(outgoing, axis=0)


@final
@dataclass(frozen=True)
class Magnitude(Selector):
    """Units with the smallest norm of incoming weights, all layers that make the units together.

    Args:
        order: 1 for the sum of magnitudes, 2 for the Euclidean norm.
        folded: Multiply by the factor of the batch normalisation behind the first layer, |γ|/√(σ²+ε), as if it were folded
            into the weights.

    Raises:
        ValueError: If `order` is neither 1 nor 2.

    References:
        Li, Kadav, Durdanovic, Samet, Graf, *Pruning Filters for Efficient ConvNets*, ICLR 2017 (order 1).
    """

    order: int = 2
    folded: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"`order` must be 1 or 2. Received: order={self.order}")

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the norms."""
        flat = [fan.weights.reshape(-1, fan.weights.shape[-1]).astype(np.float64) for fan in measured.fan_in]
        found = np.linalg.norm(np.concatenate(flat), ord=self.order, axis=0)
        if self.folded and (normalization := measured.normalization()) is not None:
            found = found * np.abs(normalization.factor)
        return found


@final
@dataclass(frozen=True)
class BatchNormScale(Selector):
    """Units with the smallest magnitude of the scale γ of the batch normalisation behind them.

    Raises:
        AxisRefused: When asked, if there is no batch normalisation.

    References:
        Liu, Li, Shen, Huang, Yan, Zhang, *Learning Efficient Convolutional Networks through Network Slimming*, ICCV 2017.
    """

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the scales."""
        normalization = measured.normalization()
        if normalization is None:
            raise AxisRefused(
                f"Cannot rank the units of axis '{measured.axis}' by the scale of their batch normalisation: there is none "
                "behind the layer that makes them. Use another selector, such as Magnitude()."
            )
        return np.abs(normalization.scale)


@final
@dataclass(frozen=True)
class RandomUnits(Selector):
    """Any units: what others are compared with.

    Args:
        seed: Seed of the draw, which differs between axes and widths.
    """

    seed: int = 0

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return random numbers."""
        key = [self.seed, measured.units, *measured.axis.encode()]
        return np.random.default_rng(key).random(measured.units)
