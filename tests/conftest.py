"""Small networks that several tests grow, and steps that are not compiled."""

from contextlib import contextmanager

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.activations import relu1
from keras_struct.layers import GrowableConv2D, GrowableDense

layers = keras.layers
RNG = np.random.default_rng(0)


@contextmanager
def running(eagerly):
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eagerly)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@pytest.fixture
def eager():
    """Steps are not compiled: for tests of what a few steps do, where tracing would take most of the time."""
    with running(eagerly=True):
        yield


@pytest.fixture(scope="module")
def eager_module():
    """The same for a whole module, its fixtures too."""
    with running(eagerly=True):
        yield


@pytest.fixture
def compiled():
    """Steps are compiled, also in a module where they are not."""
    with running(eagerly=False):
        yield


@pytest.fixture(scope="session")
def few_operations():
    """A context in which cells for images choose among four operations: for tests that are not about which there are."""

    @contextmanager
    def patched():
        with pytest.MonkeyPatch.context() as patch:
            some = ("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3")
            patch.setattr("keras_struct.nas.applications.PRIMITIVES", some)
            yield

    return patched


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


NETWORKS = [dense, same_convolutions, pooled_and_flattened, residual]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda build: build.__name__)
def unchanged_network(request):
    """A network for tests that leave it as it is, inputs, targets, and the axis to look at; the same in any order of tests."""
    keras.utils.set_random_seed(1)
    globals()["RNG"] = np.random.default_rng(0)
    model, x, axis = request.param()
    return model, x.astype("float32"), RNG.standard_normal((len(x), 2)).astype("float32"), axis
