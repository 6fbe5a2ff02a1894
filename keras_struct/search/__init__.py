"""Searches for architectures, independent of KerasTuner."""

from keras_struct.search.batches import PairedBatches
from keras_struct.search.darts import Darts, DartsPrime
from keras_struct.search.equinas_d import EquiNASD
from keras_struct.search.equinas_e import EquiNASE
from keras_struct.search.penalties import Admm, Proximity
from keras_struct.search.penalty import Penalty
from keras_struct.search.recording import SearchRecord
from keras_struct.search.schedules import ArchitectureSchedule, ConstantSchedule, FimtSchedule
from keras_struct.search.text_batches import PairedText
from keras_struct.structure.discretization import genes_of, projection
from keras_struct.structure.genotypes import ACTIVATIONS, PRIMITIVES, Genotype, RecurrentGenotype
from keras_struct.structure.known_genotypes import (
    AMOEBANET,
    DARTS_RNN_V1,
    DARTS_RNN_V2,
    DARTS_V1,
    DARTS_V2,
    ENAS_RNN,
    NASNET,
)

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
