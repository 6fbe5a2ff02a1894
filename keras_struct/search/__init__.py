"""Searches for architectures, independent of KerasTuner.

Those of features are imported when they are first used: the features import what searches share, which is here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_struct.search.batches import PairedBatches
from keras_struct.search.penalty import Penalty
from keras_struct.search.schedules import ArchitectureSchedule, ConstantSchedule, FimtSchedule

if TYPE_CHECKING:
    from keras_struct.nas.darts import Darts, DartsPrime
    from keras_struct.nas.discretization import genes_of, projection
    from keras_struct.nas.genotypes import ACTIVATIONS, PRIMITIVES, Genotype, RecurrentGenotype
    from keras_struct.nas.known_genotypes import (
        AMOEBANET,
        DARTS_RNN_V1,
        DARTS_RNN_V2,
        DARTS_V1,
        DARTS_V2,
        ENAS_RNN,
        NASNET,
    )
    from keras_struct.nas.penalties import Admm, Proximity
    from keras_struct.nas.recording import SearchRecord
    from keras_struct.nas.text_batches import PairedText
    from keras_struct.symmetry.equinas_d import EquiNASD
    from keras_struct.symmetry.equinas_e import EquiNASE

_FEATURES = {
    "Darts": "keras_struct.nas.darts",
    "DartsPrime": "keras_struct.nas.darts",
    "genes_of": "keras_struct.nas.discretization",
    "projection": "keras_struct.nas.discretization",
    "ACTIVATIONS": "keras_struct.nas.genotypes",
    "PRIMITIVES": "keras_struct.nas.genotypes",
    "Genotype": "keras_struct.nas.genotypes",
    "RecurrentGenotype": "keras_struct.nas.genotypes",
    "AMOEBANET": "keras_struct.nas.known_genotypes",
    "DARTS_RNN_V1": "keras_struct.nas.known_genotypes",
    "DARTS_RNN_V2": "keras_struct.nas.known_genotypes",
    "DARTS_V1": "keras_struct.nas.known_genotypes",
    "DARTS_V2": "keras_struct.nas.known_genotypes",
    "ENAS_RNN": "keras_struct.nas.known_genotypes",
    "NASNET": "keras_struct.nas.known_genotypes",
    "Admm": "keras_struct.nas.penalties",
    "Proximity": "keras_struct.nas.penalties",
    "SearchRecord": "keras_struct.nas.recording",
    "PairedText": "keras_struct.nas.text_batches",
    "EquiNASD": "keras_struct.symmetry.equinas_d",
    "EquiNASE": "keras_struct.symmetry.equinas_e",
}
"""Module of each name of a feature."""

__all__ = [
    "ACTIVATIONS",
    "AMOEBANET",
    "DARTS_RNN_V1",
    "DARTS_RNN_V2",
    "DARTS_V1",
    "DARTS_V2",
    "ENAS_RNN",
    "NASNET",
    "PRIMITIVES",
    "Admm",
    "ArchitectureSchedule",
    "ConstantSchedule",
    "Darts",
    "DartsPrime",
    "EquiNASD",
    "EquiNASE",
    "FimtSchedule",
    "Genotype",
    "PairedBatches",
    "PairedText",
    "Penalty",
    "Proximity",
    "RecurrentGenotype",
    "SearchRecord",
    "genes_of",
    "projection",
]


def __getattr__(name: str) -> Any:
    """Import a name of a feature."""
    if name not in _FEATURES:
        raise AttributeError(f"module 'keras_struct.search' has no attribute '{name}'")
    return getattr(importlib.import_module(_FEATURES[name]), name)


def __dir__() -> list[str]:
    return __all__
