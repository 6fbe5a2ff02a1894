"""Searches for architectures, independent of KerasTuner."""

from keras_struct.search.equinas_d import EquiNASD
from keras_struct.search.equinas_e import EquiNASE

__all__ = ["EquiNASD", "EquiNASE"]
