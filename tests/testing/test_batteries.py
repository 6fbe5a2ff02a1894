"""The batteries let good methods pass, and say what is wrong with others."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, Resize, StructuralModel, grow, prune
from keras_struct.core.model.parts import parts_of
from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.measurements import AxisMeasurement, ConnectionMeasurement
from keras_struct.policies.trigger import Trigger
from keras_struct.schedules import EveryNSteps, Linear, Schedule
from keras_struct.selectors import Selector, SmallestNorm, WeightMagnitude
from keras_struct.strategies import Grow
from keras_struct.testing import (
    check_edit,
    check_initializer,
    check_layer,
    check_schedule,
    check_selector,
    check_strategy,
    check_trigger,
    example,
    random_data,
    random_model,
)
from keras_struct.triggers import EffectiveDimension, FractionOfWidth

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 5)).astype("float32")
Y = RNG.standard_normal((8, 2)).astype("float32")


def mlp():
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")
    return keras.Sequential([keras.Input((5,)), hidden, keras.layers.Dense(2)])


def measured():
    return parts_of(StructuralModel.from_model(mlp())).observation.probe.measure(X, ["hidden"], {})["hidden"]


@dataclass(frozen=True)
class Fraction(Trigger):
    """Asks for half a unit."""

    def init(self, measured):
        return 0

    def __call__(self, measured, state):
        return 0.5, state


@dataclass(frozen=True)
class Alternating(Trigger[dict[str, int]]):
    """Asks for a unit at every second look, and says what it remembers."""

    def init(self, measured: AxisMeasurement) -> dict[str, int]:
        return {"looks": 0}

    def __call__(self, measured: AxisMeasurement, state: dict[str, int]) -> tuple[int, dict[str, int]]:
        return state["looks"] % 2, {"looks": state["looks"] + 1}


@dataclass(frozen=True)
class Restless(Initializer):
    """Does not listen to the seed."""

    def __call__(self, measured, count, rng):
        return {fan.key: np.random.default_rng().standard_normal((5, count)) for fan in measured.fan_in}


@dataclass(frozen=True)
class ArrayState(Trigger):
    """Keeps an array in its state."""

    def init(self, measured):
        return np.zeros(1).tolist()

    def __call__(self, measured, state):
        return 0, {"mean": np.float32(0.5)}


@dataclass(frozen=True)
class Twice(Selector):
    """Chooses the same unit again and again."""

    def scores(self, measured):
        return np.zeros(measured.units)

    def __call__(self, measured, count):
        return [0] * count


@dataclass(frozen=True)
class Undecided(Schedule):
    """Says now whether, now how many."""

    def __call__(self, step):
        return 2 if step % 2 else True


@dataclass(frozen=True)
class Numbered(Schedule):
    """Says how many, though it is to say when."""

    def __call__(self, step):
        return 1


@dataclass(frozen=True)
class Moody(Grow):
    """Grows as it likes."""

    counter = [0]  # noqa: RUF012

    def propose(self, step, measurements, state, since=None):
        self.counter[0] += 1
        return [Resize("hidden", (0, 1, 2, 3, *[0] * self.counter[0]))], state


@dataclass(frozen=True)
class Undecidable(Schedule):
    """Cannot be made as it is."""

    every: int | None = None

    def __post_init__(self):
        if self.every is None:
            raise ValueError("`every` is missing.")


@dataclass(frozen=True)
class Nested(Trigger):
    """Asks another trigger that remembers something of one kind."""

    other: Trigger[float]


@dataclass(frozen=True)
class Nameless(Trigger):
    """Cannot be made without a name."""

    name: str


@keras.saving.register_keras_serializable("keras_struct_tests")
class Forgetful(keras.layers.Dense):
    """Forgets to say that its bias lies along units too."""

    def unit_rules(self):
        return (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units"))


def test_good_policies_pass():
    check_trigger(EffectiveDimension(), measured())
    check_trigger(Alternating(), measured())
    check_initializer(RandomFanIn(), measured())


def test_a_trigger_that_asks_for_half_a_unit_fails():
    with pytest.raises(AssertionError, match=r"whole number of units, not 0\.5"):
        check_trigger(Fraction(), measured())


def test_an_initializer_that_does_not_repeat_fails():
    with pytest.raises(AssertionError, match="the same seed must give the same weights"):
        check_initializer(Restless(), measured())


def test_a_state_that_cannot_be_saved_fails():
    with pytest.raises(AssertionError, match="the state of a trigger must be made of numbers, strings, lists"):
        check_trigger(ArrayState(), measured())


def test_a_selector_that_selects_units_twice_fails():
    check_selector(SmallestNorm(), measured())
    with pytest.raises(AssertionError, match=r"units are selected twice: \[0, 0, 0\]"):
        check_selector(Twice(), measured())


def test_a_selector_of_units_is_not_checked_on_connections_nor_the_other_way_round():
    connections = ConnectionMeasurement("d", np.ones((2, 2), bool), np.ones((2, 2)))
    check_selector(WeightMagnitude(), connections)
    for selector, seen in ((SmallestNorm(), connections), (WeightMagnitude(), measured())):
        with pytest.raises(TypeError, match=rf"Received: {type(selector).__name__}\(\) and a {type(seen).__name__}"):
            check_selector(selector, seen)


def test_a_schedule_that_answers_in_two_ways_or_never_fails():
    check_schedule(EveryNSteps(7))
    with pytest.raises(AssertionError, match=r"whether \(bool\) or how many \(int\), not both"):
        check_schedule(Undecided())
    with pytest.raises(AssertionError, match="Numbered is a Schedule and must return True or False"):
        check_schedule(Numbered())
    with pytest.raises(AssertionError, match="nothing is ever due in 200 steps"):
        check_schedule(EveryNSteps(500))


def test_a_strategy_that_does_not_repeat_fails():
    def build():
        return StructuralModel.from_model(mlp())

    model = check_strategy(Grow(schedule=Linear(units=3, steps=10), seed=1), build, X, Y)
    assert model.structure.axes["hidden"] > 4
    with pytest.raises(AssertionError, match="the same seed must give the same edits"):
        check_strategy(Moody(schedule=Linear(units=3, steps=10)), build, X, Y)


def test_an_example_is_made_of_defaults_or_it_is_said_what_is_missing():
    assert example(EffectiveDimension) == EffectiveDimension()
    assert example(Grow).trigger is not None
    assert example(Nested).other == FractionOfWidth()
    with pytest.raises(TypeError, match=r"Nameless needs \['name'\], for which there is no example"):
        example(Nameless)
    with pytest.raises(ValueError, match="`every` is missing"):
        example(Undecidable)


def test_a_layer_that_forgets_a_rule_fails():
    with pytest.raises(AssertionError, match="does not do with it what its unit rules say"):
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
