"""Loaders of small data sets, of your own in `.npz` files, and data that are generated."""

from keras_struct.datasets.arrays import Dataset, read_npz
from keras_struct.datasets.generated import independent_features
from keras_struct.datasets.rotated import rotated_mnist, turned
from keras_struct.datasets.sources import NAMES, load

__all__ = ["NAMES", "Dataset", "independent_features", "load", "read_npz", "rotated_mnist", "turned"]
