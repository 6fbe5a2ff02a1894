"""Named recipes from the literature: policies put together."""

from keras_struct.strategies.deep_rewiring import DeepRewiring, DynamicSurgery
from keras_struct.strategies.dyno import Dyno
from keras_struct.strategies.gradient import Firefly, GradMax, NeST
from keras_struct.strategies.grow import Grow
from keras_struct.strategies.hebbian import FreeEvolve, Hebbian, Synaptogenesis
from keras_struct.strategies.north import NorthPre, NorthRandom, NorthSelect, NorthWeight
from keras_struct.strategies.prune import GrowAndPrune, Prune
from keras_struct.strategies.sparse import DropAndGrow, RigL, SparseEvolution, Sparsify
from keras_struct.strategies.symmetry import SymmetrySchedule

__all__ = [
    "DeepRewiring",
    "DropAndGrow",
    "DynamicSurgery",
    "Dyno",
    "Firefly",
    "FreeEvolve",
    "GradMax",
    "Grow",
    "GrowAndPrune",
    "Hebbian",
    "NeST",
    "NorthPre",
    "NorthRandom",
    "NorthSelect",
    "NorthWeight",
    "Prune",
    "RigL",
    "SparseEvolution",
    "Sparsify",
    "SymmetrySchedule",
    "Synaptogenesis",
]
