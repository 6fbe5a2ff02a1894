"""Models whose structure changes while they train."""

from keras_struct.models.structural_model import StructuralModel

__all__ = ["StructuralModel"]
