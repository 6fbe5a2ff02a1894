"""Networks from the literature, ready to grow, to be relaxed and to be searched in."""

from keras_struct.applications.darts import darts_network, darts_supernet
from keras_struct.applications.darts_language import darts_language_model, darts_language_supernet
from keras_struct.applications.equivariant import EquivariantCNN
from keras_struct.applications.vgg import VGG11
from keras_struct.applications.wide_resnet import WideResNet28

__all__ = [
    "VGG11",
    "EquivariantCNN",
    "WideResNet28",
    "darts_language_model",
    "darts_language_supernet",
    "darts_network",
    "darts_supernet",
]
