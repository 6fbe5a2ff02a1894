"""Small networks that several tests grow: a model, its inputs, and the axis to look at."""

import keras
import numpy as np

from keras_struct import StructuralModel
from keras_struct.activations import relu1
from keras_struct.layers import GrowableConv2D, GrowableDense

layers = keras.layers
RNG = np.random.default_rng(0)


def dense():
    stack = [keras.Input((5,)), GrowableDense(4, activation=relu1, name="h"), GrowableDense(3, activation="tanh")]
    return StructuralModel([*stack, layers.Dense(2)]), RNG.standard_normal((20, 5)), "h"


def same_convolutions():
    stack = [
        keras.Input((5, 6, 2)),
        GrowableConv2D(3, 3, padding="same", activation=relu1, name="c"),
        GrowableConv2D(4, 3, padding="same", strides=2, activation="tanh"),
        layers.Flatten(),
        layers.Dense(2),
    ]
    return StructuralModel(stack), RNG.standard_normal((6, 5, 6, 2)), "c"


def pooled_and_flattened():
    stack = [
        keras.Input((6, 6, 2)),
        GrowableConv2D(3, 3, strides=2, padding="same", name="c"),
        layers.BatchNormalization(),
        layers.Activation(relu1),
        layers.AveragePooling2D(2, padding="same"),
        layers.Flatten(),
        layers.Dense(2),
    ]
    return StructuralModel(stack), RNG.standard_normal((6, 6, 6, 2)), "c"


def residual():
    inputs = keras.Input((5, 5, 2))
    x = GrowableConv2D(3, 3, padding="same", use_bias=False, name="stem")(inputs)
    y = layers.BatchNormalization()(x)
    y = layers.Activation("tanh")(y)
    y = GrowableConv2D(4, 3, padding="same", activation=relu1, name="inner")(y)
    y = GrowableConv2D(3, 3, padding="same", name="back")(y)
    x = layers.Add()([x, y])
    x = layers.Activation("tanh")(x)
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(x))
    return StructuralModel(inputs, outputs), RNG.standard_normal((6, 5, 5, 2)), "stem"
