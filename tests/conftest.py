"""Small networks that several tests grow, and steps that are not compiled.

Keras is imported where it is needed: the process that only hands tests out to others need not wait for it.
"""

from contextlib import contextmanager

import pytest


@contextmanager
def running(eagerly):
    import keras

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


@pytest.fixture(scope="module", params=["dense", "same_convolutions", "pooled_and_flattened", "residual"])
def unchanged_network(request):
    """A network for tests that leave it as it is, inputs, targets, and the axis to look at; the same in any order of tests."""
    import keras
    import numpy as np

    from tests import networks

    keras.utils.set_random_seed(1)
    networks.RNG = rng = np.random.default_rng(0)
    model, x, axis = getattr(networks, request.param)()
    return model, x.astype("float32"), rng.standard_normal((len(x), 2)).astype("float32"), axis
