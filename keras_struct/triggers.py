"""When, where and how many units to add."""

from keras_struct.core.structure.deprecation import renamed
from keras_struct.policies.trigger import Trigger
from keras_struct.units.triggers.baseline_ratio import BaselineRatio
from keras_struct.units.triggers.effective_dimension import (
    EffectiveDimension,
    OrthogonalityGap,
    WeightEffectiveDimension,
)
from keras_struct.units.triggers.fixed import FractionOfWidth
from keras_struct.units.triggers.gradient import AuxiliaryGradient
from keras_struct.units.triggers.loss import Convergence, Plateau
from keras_struct.units.triggers.lost_dimension import LostDimension

__all__ = [
    "AuxiliaryGradient",
    "BaselineRatio",
    "Convergence",
    "EffectiveDimension",
    "FractionOfWidth",
    "LostDimension",
    "OrthogonalityGap",
    "Plateau",
    "Trigger",
    "WeightEffectiveDimension",
]

__getattr__ = renamed(__name__, Orthogonality=BaselineRatio)
