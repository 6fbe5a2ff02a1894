"""Layers as an edit would leave them, and as they were again: what is relied on of Keras's stateless scopes."""

import keras
import numpy as np
import pytest

from keras_struct.core.backend.trials import as_planned, built_with

X = np.ones((2, 5), "float32")


@pytest.fixture
def layer():
    found = keras.layers.Dense(3, use_bias=False, name="dense")
    found.build((None, 4))
    return found


def test_a_layer_computes_with_planned_values_of_other_shapes_and_nothing_is_written(layer):
    before = keras.ops.convert_to_numpy(layer.kernel)
    planned = np.full((5, 2), 2.0, "float32")
    with as_planned(layer, [(layer.kernel, before, planned)], [(layer, "units", 2)]):
        assert (layer.units, tuple(layer.kernel.shape)) == (2, (5, 2))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(X)), np.full((2, 2), 10.0))
    assert (layer.units, tuple(layer.kernel.shape)) == (3, (4, 3))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), before)
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(X)


def test_everything_is_put_back_after_a_failure(layer):
    other = keras.layers.Dense(3, name="other")

    def fail():
        with as_planned(layer, [], [(layer, "units", 9), (other, "units", 9)]):
            assert (layer.units, other.units) == (9, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert layer.get_config()["units"] == 3
    assert layer.input_spec.axes == {-1: 4}


def test_a_layer_is_made_anew_for_other_shapes_for_a_while(layer):
    with built_with([(layer, {"input_shape": (None, 7)})]):
        assert layer.get_build_config() == {"input_shape": (None, 7)}
    assert layer.get_build_config() == {"input_shape": (None, 4)}
