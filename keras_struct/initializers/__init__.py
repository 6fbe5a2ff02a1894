"""How new units get their weights."""

from keras_struct.initializers.base import Initializer
from keras_struct.initializers.copies import CopyAndPerturb
from keras_struct.initializers.firefly import DivideOrAdd
from keras_struct.initializers.gradmax import LargestGradient, OptimizedGradient
from keras_struct.initializers.nest import Bridge
from keras_struct.initializers.random import RandomFanIn, RandomFanOut
from keras_struct.initializers.select import OptimizedActivation, PreActivation, Select
from keras_struct.initializers.weights import OrthogonalWeights

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
