"""Which units go."""

from keras_struct.selectors.activation import Activity
from keras_struct.selectors.base import Selector
from keras_struct.selectors.gradient import Fisher, Perturbation, Taylor
from keras_struct.selectors.norm import BatchNormScale, Magnitude, RandomUnits, SmallestNorm
from keras_struct.selectors.redundancy import Correlation, LeaveOneOut, MostSimilar, Residual
from keras_struct.selectors.surgeon import OptimalBrainSurgeon

__all__ = [
    "Activity",
    "BatchNormScale",
    "Correlation",
    "Fisher",
    "LeaveOneOut",
    "Magnitude",
    "MostSimilar",
    "OptimalBrainSurgeon",
    "Perturbation",
    "RandomUnits",
    "Residual",
    "Selector",
    "SmallestNorm",
    "Taylor",
]
