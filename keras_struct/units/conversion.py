"""Growable convolutions take the place of stock ones in converted models."""

from __future__ import annotations

import keras

from keras_struct.core.model.growable import register_growable
from keras_struct.units.conv import GrowableConv1D, GrowableConv2D, GrowableConv3D

register_growable(keras.layers.Conv1D, GrowableConv1D, drop=("groups",))
register_growable(keras.layers.Conv2D, GrowableConv2D, drop=("groups",))
register_growable(keras.layers.Conv3D, GrowableConv3D, drop=("groups",))
