"""Rotations and mirrors: groups, index tables of equivariant kernels, sampling, and a test of equivariance. No Keras."""

from keras_struct.symmetry.groups import Group, common_frame, get, intersection
from keras_struct.symmetry.measure import equivariance_error
from keras_struct.symmetry.sampling import is_symmetric
from keras_struct.symmetry.tables import act_on_features, compress, expand, project

__all__ = [
    "Group",
    "act_on_features",
    "common_frame",
    "compress",
    "equivariance_error",
    "expand",
    "get",
    "intersection",
    "is_symmetric",
    "project",
]
