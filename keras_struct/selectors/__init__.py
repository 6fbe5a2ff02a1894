"""Which units, or connections, go."""

from keras_struct.selectors.activation import Activity
from keras_struct.selectors.base import Selector
from keras_struct.selectors.connections import (
    ConnectionSelector,
    GradientMagnitude,
    OptimalBrainDamage,
    RandomConnections,
    Snip,
    WeightMagnitude,
)
from keras_struct.selectors.gradient import Fisher, Perturbation, Taylor
from keras_struct.selectors.norm import BatchNormScale, Magnitude, RandomUnits, SmallestNorm
from keras_struct.selectors.redundancy import Correlation, LeaveOneOut, MostSimilar, Residual
from keras_struct.selectors.surgeon import OptimalBrainSurgeon

__all__ = [
    "Activity",
    "BatchNormScale",
    "ConnectionSelector",
    "Correlation",
    "Fisher",
    "GradientMagnitude",
    "LeaveOneOut",
    "Magnitude",
    "MostSimilar",
    "OptimalBrainDamage",
    "OptimalBrainSurgeon",
    "Perturbation",
    "RandomConnections",
    "RandomUnits",
    "Residual",
    "Selector",
    "SmallestNorm",
    "Snip",
    "Taylor",
    "WeightMagnitude",
]
