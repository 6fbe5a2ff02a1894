"""Models whose structure changes while they train."""

from keras_struct.export import method
from keras_struct.models import (
    choice_aspect,
    choices,
    connection_edits,
    connection_targets,
    symmetry_aspect,
    symmetry_edits,
    symmetry_targets,
    unit_edits,
    unit_growable,
    unit_targets,
)
from keras_struct.models.auxiliary import AuxiliaryModel
from keras_struct.models.budget import Budget
from keras_struct.models.connections import sparsify
from keras_struct.models.equivariant import to_equivariant
from keras_struct.models.structural_model import StructuralModel
from keras_struct.models.transfer import transfer

FEATURES = (
    unit_edits,
    unit_growable,
    unit_targets,
    connection_edits,
    connection_targets,
    symmetry_edits,
    symmetry_aspect,
    symmetry_targets,
    choices,
    choice_aspect,
    method,
)
"""Modules that register edits, targets of strategies and methods of structural models."""

__all__ = ["AuxiliaryModel", "Budget", "StructuralModel", "sparsify", "to_equivariant", "transfer"]
