"""When, where and how many units to add."""

from keras_struct.triggers.base import Trigger
from keras_struct.triggers.effective_dimension import (
    EffectiveDimension,
    Orthogonality,
    OrthogonalityGap,
    WeightEffectiveDimension,
)
from keras_struct.triggers.fixed import FractionOfWidth
from keras_struct.triggers.gradient import AuxiliaryGradient
from keras_struct.triggers.loss import Convergence, Plateau
from keras_struct.triggers.lost_dimension import LostDimension

__all__ = [
    "AuxiliaryGradient",
    "Convergence",
    "EffectiveDimension",
    "FractionOfWidth",
    "LostDimension",
    "Orthogonality",
    "OrthogonalityGap",
    "Plateau",
    "Trigger",
    "WeightEffectiveDimension",
]
