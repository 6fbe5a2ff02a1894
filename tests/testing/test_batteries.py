"""The batteries let good methods pass, and say what is wrong with others."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, Resize, StructuralModel, grow, prune
from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.testing import check_edit, check_initializer, check_layer, check_trigger, random_data, random_model
from keras_struct.triggers import EffectiveDimension
from keras_struct.triggers.base import Trigger

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 5)).astype("float32")
Y = RNG.standard_normal((8, 2)).astype("float32")


def mlp():
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")
    return keras.Sequential([keras.Input((5,)), hidden, keras.layers.Dense(2)])


def measured():
    return StructuralModel.from_model(mlp())._structural.observation.probe.measure(X, ["hidden"], {})["hidden"]


@dataclass(frozen=True)
class Fraction(Trigger):
    """Asks for half a unit."""

    def init(self, measured):
        return 0

    def __call__(self, measured, state):
        return 0.5, state


@dataclass(frozen=True)
class Restless(Initializer):
    """Does not listen to the seed."""

    def __call__(self, measured, count, rng):
        return {fan.key: np.random.default_rng().standard_normal((5, count)) for fan in measured.fan_in}


@keras.saving.register_keras_serializable("keras_struct_tests")
class Forgetful(keras.layers.Dense):
    """Forgets to say that its bias lies along units too."""

    def unit_rules(self):
        return (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units"))


def test_good_policies_pass():
    check_trigger(EffectiveDimension(), measured())
    check_initializer(RandomFanIn(), measured())


def test_a_trigger_that_asks_for_half_a_unit_fails():
    with pytest.raises(AssertionError, match=r"whole number of units, not 0\.5"):
        check_trigger(Fraction(), measured())


def test_an_initializer_that_does_not_repeat_fails():
    with pytest.raises(AssertionError, match="the same seed must give the same weights"):
        check_initializer(Restless(), measured())


def test_a_layer_that_forgets_a_rule_fails():
    with pytest.raises(Exception, match=r"(?s)\(?4.*6|6.*4"):
        check_layer(Forgetful(4), (5,))


def test_an_edit_that_moves_the_outputs_fails_unless_it_may():
    edit = prune("hidden", 4, [0])
    with pytest.raises(AssertionError, match="hidden: the outputs moved by"):
        check_edit(mlp, edit, X, Y)
    check_edit(mlp, edit, X, Y, preserves=False)


@pytest.mark.parametrize("optimizer", ["sgd", "ftrl", "lion"])
def test_edits_as_values_pass(optimizer):
    values = {"hidden/kernel": RNG.standard_normal((5, 2))}
    check_edit(mlp, grow("hidden", 4, 2, values), X, Y, optimizer=optimizer)
    check_edit(mlp, Resize("hidden", (3, 1, 1, 0, 2)), X, Y, optimizer=optimizer)


def test_random_models_repeat_and_have_data_that_fits():
    left, right = random_model(3), random_model(3)
    for a, b in zip(left.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x, y = random_data(left)
    assert keras.tree.map_structure(np.shape, left.predict(x, verbose=0)) == keras.tree.map_structure(np.shape, y)
    assert random_model(3, "float64").dtype == "float64"
    assert keras.config.floatx() == "float32"
