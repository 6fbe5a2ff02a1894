"""Networks from the literature, ready to grow and to be relaxed."""

from keras_struct.applications.darts import darts_network, darts_supernet
from keras_struct.applications.equivariant import EquivariantCNN
from keras_struct.applications.vgg import VGG11
from keras_struct.applications.wide_resnet import WideResNet28

__all__ = ["VGG11", "EquivariantCNN", "WideResNet28", "darts_network", "darts_supernet"]
