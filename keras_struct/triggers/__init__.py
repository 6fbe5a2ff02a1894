"""When, where and how many."""

from keras_struct.triggers.base import Trigger
from keras_struct.triggers.effective_dimension import EffectiveDimension

__all__ = ["EffectiveDimension", "Trigger"]
