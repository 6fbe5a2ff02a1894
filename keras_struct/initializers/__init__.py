"""How new units get their weights."""

from keras_struct.initializers.base import Initializer
from keras_struct.initializers.random import RandomFanIn
from keras_struct.initializers.select import Select

__all__ = ["Initializer", "RandomFanIn", "Select"]
