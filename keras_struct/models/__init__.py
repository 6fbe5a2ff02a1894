"""Models whose structure changes while they train."""

from keras_struct.models.budget import Budget
from keras_struct.models.structural_model import StructuralModel

__all__ = ["Budget", "StructuralModel"]
