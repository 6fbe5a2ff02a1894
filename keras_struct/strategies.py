"""Named recipes from the literature: policies put together."""

from keras_struct.policies.strategy import Strategy
from keras_struct.sparse.deep_rewiring import DeepRewiring, DynamicSurgery
from keras_struct.sparse.drop_and_grow import DropAndGrow, RigL, SparseEvolution, Sparsify
from keras_struct.sparse.hebbian import FreeEvolve, Hebbian, Synaptogenesis
from keras_struct.symmetry.strategy import SymmetrySchedule
from keras_struct.units.strategies.dyno import Dyno
from keras_struct.units.strategies.gradient import Firefly, GradMax, NeST
from keras_struct.units.strategies.grow import Grow
from keras_struct.units.strategies.north import NorthPre, NorthRandom, NorthSelect, NorthWeight
from keras_struct.units.strategies.prune import GrowAndPrune, Prune

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
    "Strategy",
    "SymmetrySchedule",
    "Synaptogenesis",
]
