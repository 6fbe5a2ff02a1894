"""Looking at a network leaves the states of its recurrent layers as they are."""

import keras
import numpy as np
import pytest

from keras_struct import Budget, StructuralModel
from keras_struct.core.backend.keras_internals import states_of
from keras_struct.strategies import NorthSelect

layers = keras.layers
X = np.random.default_rng(0).standard_normal((16, 4, 3)).astype("float32")


def network():
    keras.utils.set_random_seed(0)
    recurrent = layers.GRU(5, stateful=True, name="r")
    return StructuralModel(
        [keras.Input((4, 3), batch_size=8), recurrent, layers.Dense(40, "relu", name="h"), layers.Dense(1)]
    )


def states(model):
    return [keras.ops.convert_to_numpy(state.value) for state in states_of(model.get_layer("r"))]


def test_measuring_and_editing_another_axis_do_not_move_states():
    model = network()
    model.compile("sgd", "mse", probe=X[:8])
    model.predict(X, batch_size=8, verbose=0)
    before = states(model)
    assert np.abs(before).max() > 0
    model.measure("h").gram()
    model.grow("h", 2)
    np.testing.assert_array_equal(states(model), before)


def test_states_are_no_parameters_of_a_budget():
    model = network()
    before = model.count_params()
    model.prune(budget=Budget(parameters=0.8))
    assert model.count_params() <= 0.8 * before


@pytest.mark.filterwarnings("ignore:__array__", "ignore:NorthSelect, axis")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="errors of compiled functions")
def test_a_batch_that_the_states_do_not_fit_costs_a_measurement_and_not_the_training():
    model = network()
    model.compile("sgd", "mse", strategy=NorthSelect(max_units=60))
    with pytest.warns(UserWarning, match="could not measure axis") as told:
        history = model.fit(X, X[:, 0, :1], batch_size=8, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert sum("could not measure" in str(warning.message) for warning in told) == 1
