"""Networks from the literature, ready to grow."""

from keras_struct.applications.vgg import VGG11
from keras_struct.applications.wide_resnet import WideResNet28

__all__ = ["VGG11", "WideResNet28"]
