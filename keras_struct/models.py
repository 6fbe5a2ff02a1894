"""Models whose structure changes while they train."""

from keras_struct import features as _features  # noqa: F401  (they give models their methods)
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.nas.auxiliary import AuxiliaryModel
from keras_struct.pretrained.transfer import transfer
from keras_struct.sparse.conversion import sparsify
from keras_struct.symmetry.conversion import to_equivariant
from keras_struct.units.budget import Budget

__all__ = ["AuxiliaryModel", "Budget", "StructuralModel", "sparsify", "to_equivariant", "transfer"]
