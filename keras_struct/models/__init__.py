"""Models whose structure changes while they train."""

from keras_struct.models import (
    choice_aspect,  # noqa: F401
    connection_targets,  # noqa: F401
    symmetry_aspect,  # noqa: F401
    symmetry_targets,  # noqa: F401
    unit_targets,  # noqa: F401
)
from keras_struct.models.auxiliary import AuxiliaryModel
from keras_struct.models.budget import Budget
from keras_struct.models.connections import sparsify
from keras_struct.models.equivariant import to_equivariant
from keras_struct.models.structural_model import StructuralModel
from keras_struct.models.transfer import transfer

__all__ = ["AuxiliaryModel", "Budget", "StructuralModel", "sparsify", "to_equivariant", "transfer"]
