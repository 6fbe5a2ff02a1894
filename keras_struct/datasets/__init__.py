"""Loaders of small data sets, and of your own in `.npz` files."""

from keras_struct.datasets.arrays import Dataset, read_npz
from keras_struct.datasets.sources import NAMES, load

__all__ = ["NAMES", "Dataset", "load", "read_npz"]
