"""The batteries let good methods pass, and say what is wrong with others."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, Budget, Resize, StructuralModel, grow, prune
from keras_struct.core.model.parts import parts_of
from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.measurements import AxisMeasurement, ConnectionMeasurement
from keras_struct.policies.trigger import Trigger
from keras_struct.schedules import EveryNSteps, Linear, Schedule
from keras_struct.selectors import ConnectionSelector, Selector, SmallestNorm, WeightMagnitude
from keras_struct.strategies import DropAndGrow, Grow, Prune
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
    with pytest.raises(AssertionError, match=r"must return how many units .* an int, .*\(0\.5, 0\)"):
        check_trigger(Fraction(), measured())


def answering(answer, start=0):
    """A trigger that answers what a function makes of its state, and starts from a state."""

    @dataclass(frozen=True)
    class Answering(Trigger):
        def init(self, measured):
            return start

        def __call__(self, measured, state):
            return answer(measured, state)

    return Answering()


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (answering(lambda m, s: None), r"an int, and its new state: `return 0, state`.*None"),
        (answering(lambda m, s: 1), r"an int, and its new state.*Received for axis 'hidden': 1"),
        (answering(lambda m, s: (float("nan"), s)), r"an int, and its new state.*\(nan, 0\)"),
        (answering(lambda m, s: (-1, s)), "must return 0 or more units"),
        (answering(lambda m, s: (0, np.ones(2))), r"cannot be saved with the model.*`\.tolist\(\)`"),
        (
            answering(lambda m, s: (0, s), np.float32(1)),
            r"returned to start from holds .*cannot be saved with the model",
        ),
        (answering(lambda m, s: (0, s.append(1) or [*s]), []), "must not change the state that it is given"),
        (answering(lambda m, s: (int(m.gram()[0, 0] > 0), s)), "looks at activations.*needs_inputs: ClassVar"),
        (answering(lambda m, s: (int(m.gradients.norms().incoming[0]), s)), "looks at gradients.*needs_gradients"),
    ],
)
def test_what_a_training_would_refuse_of_a_trigger_the_battery_finds(trigger, words):
    with pytest.raises(AssertionError, match=words):
        check_trigger(trigger, measured())


def making(values):
    """An initializer that returns what a function makes of a measurement and a number of units."""

    @dataclass(frozen=True)
    class Making(Initializer):
        def __call__(self, measured, count, rng):
            return values(measured, count)

    return Making()


@pytest.mark.parametrize(
    ("initializer", "words"),
    [
        (making(lambda m, n: None), r"must return new weights by the name of their variable.*None"),
        (making(lambda m, n: np.ones((5, n))), "must return new weights by the name of their variable"),
        (making(lambda m, n: {}), "neither incoming nor outgoing weights"),
        (making(lambda m, n: {"hidden/bias": np.ones(n)}), "neither incoming nor outgoing weights"),
        (making(lambda m, n: {"hidden/kernl": np.ones((5, n))}), r"'hidden/kernl', which is no variable of the axis"),
        (making(lambda m, n: {"hidden/kernel": np.ones((n, 5))}), r"have shape \(2, 5\): expected \(5, 2\)"),
        (making(lambda m, n: {"hidden/kernel": np.ones((5, n + 1))}), r"have shape \(5, 3\): expected \(5, 2\)"),
        (making(lambda m, n: {f.key: np.ones((n, 3)) for f in m.fan_out()}), r"have shape \(2, 3\): expected \(2, 2\)"),
        (making(lambda m, n: {"hidden/kernel": np.full((5, n), np.inf)}), "are not finite"),
        (making(lambda m, n: {"hidden/kernel": m.input_gram()[:, :n]}), "looks at activations.*needs_inputs: ClassVar"),
    ],
)
def test_what_an_edit_would_refuse_of_an_initializer_the_battery_finds(initializer, words):
    with pytest.raises(AssertionError, match=words):
        check_initializer(initializer, measured())


def scoring(scores):
    """A selector whose scores a function makes of a measurement."""

    @dataclass(frozen=True)
    class Scoring(Selector):
        def scores(self, measured):
            return scores(measured)

    return Scoring()


WRONG_SCORES = [
    (lambda m: np.ones((m.units, 1)), r"each unit of axis 'hidden'.*shape \(4,\). Received: shape \(4, 1\)"),
    (lambda m: np.ones(m.units - 1), r"Received: shape \(3,\), float64"),
    (lambda m: np.ones(m.units) * 1j, r"Received: shape \(4,\), complex128"),
    (lambda m: 1.0, r"Received: 1\.0"),
    (lambda m: None, "Received: None"),
    (lambda m: list(range(m.units)), r"Received: \[0, 1, 2, 3\]"),
]


@pytest.mark.parametrize(("scores", "words"), WRONG_SCORES)
def test_scores_of_another_shape_or_kind_are_refused_wherever_they_are_used(scores, words):
    selector, model = scoring(scores), StructuralModel.from_model(mlp())
    with pytest.raises(AssertionError, match=words):
        check_selector(selector, measured())
    with pytest.raises(TypeError, match=words):
        model.prune("hidden", count=1, selector=selector)
    with pytest.raises(TypeError, match=words):
        model.prune(budget=Budget(flops=0.7), selector=selector)
    model.compile("sgd", "mse", strategy=Prune(FractionOfWidth(0.3), selector, schedule=EveryNSteps(1)))
    with pytest.raises(TypeError, match=words):
        model.fit(X, Y, verbose=0)
    assert model.structure.axes == {"hidden": 4}


def test_whole_numbers_and_truth_values_are_scores():
    selector, model = scoring(lambda m: np.arange(m.units)[::-1]), StructuralModel.from_model(mlp())
    check_selector(selector, measured())
    check_selector(scoring(lambda m: np.arange(m.units) > 1), measured())
    model.prune(budget=Budget(flops=0.7), selector=selector)
    assert model.structure_log[-1].source == (0, 1)


@dataclass(frozen=True)
class ScoringConnections(ConnectionSelector):
    """Scores that do not fit."""

    kind: str

    def scores(self, measured, rng):
        return {"shape": np.ones(3), "nan": np.full(measured.mask.shape, np.nan)}[self.kind]


def test_scores_of_connections_are_checked_in_every_strategy():
    connections = ConnectionMeasurement("d", np.eye(2, dtype=bool), np.ones((2, 2)))
    for kind, error, words in (("shape", TypeError, r"each connection of layer 'd'"), ("nan", ValueError, "NaN")):
        selector = ScoringConnections(kind)
        with pytest.raises(AssertionError, match=words):
            check_selector(selector, connections)
        with pytest.raises(error, match=words):
            DropAndGrow(fraction=0.5, drop=selector).propose(1, {"d": connections}, {})


def test_an_initializer_that_does_not_repeat_fails():
    with pytest.raises(AssertionError, match="the same seed must give the same weights"):
        check_initializer(Restless(), measured())


def test_a_state_that_cannot_be_saved_fails():
    with pytest.raises(
        AssertionError, match=r"holds .*0\.5.* cannot be saved with the model. Expected numbers, strings"
    ):
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
    with pytest.raises(
        AssertionError, match="an edit of axis 'hidden' that should keep the function changed the outputs by"
    ):
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
