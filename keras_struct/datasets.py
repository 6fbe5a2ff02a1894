"""Loaders of small data sets, of your own in `.npz` files, and data that are generated or changed."""

from keras_struct.data.arrays import Dataset, read_npz
from keras_struct.data.augmentation import AugmentedBatches, ImageAugmentation, standardized
from keras_struct.data.generated import independent_features
from keras_struct.data.handwritten import emnist
from keras_struct.data.rotated import rotated_mnist, turned
from keras_struct.data.sources import NAMES, load
from keras_struct.data.tables import read_csv
from keras_struct.data.text import Text, TextBatches, load_text

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
