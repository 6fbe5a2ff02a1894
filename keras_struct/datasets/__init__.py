"""Loaders of small data sets, of your own in `.npz` files, and data that are generated or changed."""

from keras_struct.datasets.arrays import Dataset, read_npz
from keras_struct.datasets.augmentation import AugmentedBatches, ImageAugmentation, standardized
from keras_struct.datasets.generated import independent_features
from keras_struct.datasets.handwritten import emnist
from keras_struct.datasets.rotated import rotated_mnist, turned
from keras_struct.datasets.sources import NAMES, load
from keras_struct.datasets.tables import read_csv
from keras_struct.datasets.text import Text, TextBatches, load_text

__all__ = [
    "NAMES",
    "AugmentedBatches",
    "Dataset",
    "ImageAugmentation",
    "Text",
    "TextBatches",
    "emnist",
    "independent_features",
    "load",
    "load_text",
    "read_csv",
    "read_npz",
    "rotated_mnist",
    "standardized",
    "turned",
]
