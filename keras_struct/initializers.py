"""How new units get their weights."""

from keras_struct.policies.initializer import Initializer
from keras_struct.units.initializers.copies import CopyAndPerturb
from keras_struct.units.initializers.firefly import DivideOrAdd
from keras_struct.units.initializers.gradmax import LargestGradient, OptimizedGradient
from keras_struct.units.initializers.nest import Bridge
from keras_struct.units.initializers.random import RandomFanIn, RandomFanOut
from keras_struct.units.initializers.select import OptimizedActivation, PreActivation, Select
from keras_struct.units.initializers.weights import OrthogonalWeights

__all__ = [
    "Bridge",
    "CopyAndPerturb",
    "DivideOrAdd",
    "Initializer",
    "LargestGradient",
    "OptimizedActivation",
    "OptimizedGradient",
    "OrthogonalWeights",
    "PreActivation",
    "RandomFanIn",
    "RandomFanOut",
    "Select",
]
