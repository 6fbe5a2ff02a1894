"""Named recipes from the literature: policies put together."""

from keras_struct.depth.strategies import AutoGrow, DropBlocks, ExpandOnce, InsertWhenSaturated, MiddleGrow, Stack
from keras_struct.depth.strategy import BlockStrategy
from keras_struct.policies.strategy import Strategy
from keras_struct.policies.together import Together
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
    "AutoGrow",
    "BlockStrategy",
    "DeepRewiring",
    "DropAndGrow",
    "DropBlocks",
    "DynamicSurgery",
    "Dyno",
    "ExpandOnce",
    "Firefly",
    "FreeEvolve",
    "GradMax",
    "Grow",
    "GrowAndPrune",
    "Hebbian",
    "InsertWhenSaturated",
    "MiddleGrow",
    "NeST",
    "NorthPre",
    "NorthRandom",
    "NorthSelect",
    "NorthWeight",
    "Prune",
    "RigL",
    "SparseEvolution",
    "Sparsify",
    "Stack",
    "Strategy",
    "SymmetrySchedule",
    "Synaptogenesis",
    "Together",
]
