"""What a user puts into a model."""

from keras_struct.layers.conv import GrowableConv1D, GrowableConv2D, GrowableConv3D
from keras_struct.layers.dense import GrowableDense
from keras_struct.layers.masked import MaskedConv2D, MaskedDense

__all__ = ["GrowableConv1D", "GrowableConv2D", "GrowableConv3D", "GrowableDense", "MaskedConv2D", "MaskedDense"]
