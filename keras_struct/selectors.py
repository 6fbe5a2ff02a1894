"""Which units, or connections, go."""

from keras_struct.policies.selector import Selector
from keras_struct.sparse.selectors import (
    ConnectionSelector,
    GradientMagnitude,
    OptimalBrainDamage,
    RandomConnections,
    Snip,
    WeightMagnitude,
)
from keras_struct.units.selectors.activation import Activity
from keras_struct.units.selectors.gradient import Fisher, Perturbation, Taylor
from keras_struct.units.selectors.norm import BatchNormScale, Magnitude, RandomUnits, SmallestNorm
from keras_struct.units.selectors.redundancy import Correlation, LeaveOneOut, MostSimilar, Residual
from keras_struct.units.selectors.surgeon import OptimalBrainSurgeon

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
