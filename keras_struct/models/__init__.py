"""Models whose structure changes while they train."""

from keras_struct.models.auxiliary import AuxiliaryModel
from keras_struct.models.budget import Budget
from keras_struct.models.connections import sparsify
from keras_struct.models.equivariant import to_equivariant
from keras_struct.models.structural_model import StructuralModel
from keras_struct.models.transfer import transfer

__all__ = ["AuxiliaryModel", "Budget", "StructuralModel", "sparsify", "to_equivariant", "transfer"]
