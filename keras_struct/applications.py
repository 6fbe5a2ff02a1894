"""Networks from the literature, ready to grow, to be relaxed and to be searched in."""

from keras_struct.nas.applications import darts_network, darts_supernet
from keras_struct.nas.language_applications import darts_language_model, darts_language_supernet
from keras_struct.symmetry.applications import EquivariantCNN
from keras_struct.units.vgg import VGG11
from keras_struct.units.wide_resnet import WideResNet28

__all__ = [
    "VGG11",
    "EquivariantCNN",
    "WideResNet28",
    "darts_language_model",
    "darts_language_supernet",
    "darts_network",
    "darts_supernet",
]
