"""Strategies that cannot act, measurements that fail and policies that are wrong say so."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, strategies
from keras_struct.core.model.parts import parts_of
from keras_struct.core.model.stepping import Count
from keras_struct.initializers import RandomFanIn
from keras_struct.measurements import AxisGradients, AxisMeasurement, FanIn, GradientNorms
from keras_struct.policies.strategy import Strategy
from keras_struct.schedules import EveryNSteps
from keras_struct.statistics import MeasurementError
from keras_struct.strategies import Grow, NorthRandom, NorthSelect
from keras_struct.structure import Units
from keras_struct.triggers import (
    AuxiliaryGradient,
    Convergence,
    EffectiveDimension,
    FractionOfWidth,
    LostDimension,
    Trigger,
    WeightEffectiveDimension,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((128, 6)).astype("float32")
Y = X[:, :1]


def model(strategy, units=8, **options):
    keras.utils.set_random_seed(0)
    stack = [keras.Input((6,)), keras.layers.Dense(units, activation="tanh", name="h"), keras.layers.Dense(1)]
    found = StructuralModel(stack)
    found.compile("sgd", "mse", strategy=strategy, run_eagerly=True, **options)
    return found


def axis(units, inputs=100, **more):
    fan_in = (FanIn("h/kernel", np.ones((inputs, units)), lambda new: new),)
    return AxisMeasurement("h", units, None, "dense", fan_in, **more)


class Batch:
    """Gradients of four units: norms of 1, and an auxiliary gradient that is small beside them."""

    def norms(self, axis):
        return GradientNorms(np.ones(4), np.ones(4))

    def bound(self, axis):
        return 0.8


@pytest.mark.parametrize("baseline", [1.0, 0.5, 0.99])
@pytest.mark.parametrize("gamma", [0.97, 0.99, 0.9, 1.02])
def test_the_width_that_is_named_is_the_smallest_at_which_the_printed_rule_fires(gamma, baseline):
    trigger = EffectiveDimension(gamma=gamma)
    fires = [M for M in range(1, 3000) if np.floor(M * (1 - gamma * baseline) + 1e-9) >= 1]
    assert trigger.starts_from(baseline) == (fires[0] if fires else None)
    if fires:
        assert trigger.cannot_fire(axis(fires[0]), baseline) is None
        assert fires[0] == 1 or f"at least {fires[0]} units" in trigger.cannot_fire(axis(fires[0] - 1), baseline)


def test_a_gamma_that_is_advised_is_enough():
    text = EffectiveDimension().cannot_fire(axis(16), 1.0)
    gamma = float(re.search(r"`gamma` of at most ([\d.]+)", text).group(1))
    assert EffectiveDimension(gamma=gamma).cannot_fire(axis(16), 1.0) is None
    assert EffectiveDimension(rounding="ceil").cannot_fire(axis(16), 1.0) is None


def test_weights_cannot_span_more_than_their_inputs():
    assert WeightEffectiveDimension(gamma=0.96).cannot_fire(axis(200, inputs=20), 0.1) is not None
    assert WeightEffectiveDimension(gamma=0.8).cannot_fire(axis(200, inputs=20), 0.1) is None


def test_other_triggers_say_what_keeps_them():
    measured = axis(4, gradients=AxisGradients(lambda samples: Batch(), "h"))
    text = AuxiliaryGradient().cannot_fire(measured, None)
    assert "`threshold_factor` of about 0.1" in text
    assert AuxiliaryGradient(0.1).cannot_fire(measured, None) is None
    assert "loss of the last step is not known" in Convergence().cannot_fire(axis(4), [])
    assert LostDimension().cannot_fire(axis(10), 0.1) is not None
    assert FractionOfWidth().cannot_fire(axis(1), None) is None


def test_a_training_without_growth_is_explained_once_at_the_end_of_the_first_epoch():
    found = model(NorthRandom(max_units=40), units=8)
    with pytest.warns(UserWarning, match=r"axis 'h': .*8 \(1 - 0.97 × 1\) = 0.24.*`gamma` of at most") as seen:
        found.fit(X, Y, batch_size=64, epochs=3, verbose=0)
    assert len(seen) == 1
    assert not found.structure_log


def test_nothing_is_said_where_growth_is_possible_or_the_limit_is_reached():
    model(NorthRandom(max_units=9), units=40).fit(X, Y, batch_size=64, epochs=1, verbose=0)
    model(NorthRandom(EffectiveDimension(gamma=0.5), max_units=12)).fit(X, Y, batch_size=64, epochs=2, verbose=0)


def test_a_degenerate_baseline_is_noticed_and_can_be_given():
    x = np.repeat(X[:, :1], 6, axis=1)
    with pytest.warns(UserWarning, match=r"axis 'h': the effective dimension φ₀ .* start=1.0"):
        model(NorthRandom(max_units=12), units=8, probe=x * 0.01).fit(x, Y, batch_size=64, epochs=1, verbose=0)
    given = model(NorthRandom(EffectiveDimension(gamma=0.8, start=1.0), max_units=12), probe=x * 0.01)
    given.fit(x, Y, batch_size=64, epochs=1, verbose=0)
    assert parts_of(given).runner.policy_state["axes"] == {"h": 1.0}
    assert not given.structure_log


def test_the_table_of_strategies_says_from_which_width_they_grow():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) >= 7
    for name, cell in rows:
        strategy = getattr(strategies, name)()
        width = getattr(strategy, "trigger", None) or strategy.grow.trigger
        expected = width.starts_from()
        first = re.match(r"\d+", cell)
        assert (None if first is None else int(first.group())) == expected, (name, cell)


@dataclass(frozen=True)
class Wrong(Trigger):
    """Returns what is asked for."""

    answer: str = "int"

    def init(self, measured):
        return {"array": np.zeros(2), "key": {1: 2}}.get(self.answer, 0)

    def __call__(self, measured, state):
        return {"int": 1, "float": (1.5, state), "late": (1, np.float32(1))}[self.answer]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("int", "Trigger Wrong must return how many units to grow, an int, and its new state"),
        ("float", "Trigger Wrong must return"),
        ("array", r"state that Wrong returned for axis 'h' holds array.*`.tolist\(\)`"),
        ("late", "state that Wrong returned for axis 'h' holds"),
        ("key", "whose keys are strings"),
    ],
)
def test_a_trigger_that_returns_something_else_is_named_at_once(answer, message):
    found = model(Grow(Wrong(answer)))
    with pytest.raises(TypeError, match=message):
        found.fit(X, Y, batch_size=64, verbose=0)


@dataclass(frozen=True)
class Failing(Trigger):
    """Fails at its second look."""

    error: str = "MeasurementError"

    def init(self, measured):
        return 0

    def __call__(self, measured, state):
        if state == 1:
            raise {"MeasurementError": MeasurementError, "ValueError": ValueError}[self.error]("numbers beyond use.")
        return int(state == 0), state + 1


def test_a_measurement_that_fails_leaves_training_alone_with_one_warning():
    found = model(Grow(Failing(), RandomFanIn()))
    with pytest.warns(UserWarning, match=r"could not measure axis 'h'.*numbers beyond use") as seen:
        history = found.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert len(seen) == 1
    assert found.structure.axes["h"] == 9
    assert len(history.history["loss"]) == 2


def test_an_error_of_a_policy_of_ones_own_is_not_hidden():
    with pytest.raises(ValueError, match="numbers beyond use"):
        model(Grow(Failing("ValueError"))).fit(X, Y, batch_size=16, verbose=0)


@dataclass(frozen=True)
class Idle(Strategy):
    """Does nothing, and may ask for activations."""

    works_on = Units
    needs_inputs: bool = False

    def due(self, step, since=None):
        return False

    def propose(self, step, measurements, state, since=None):
        return [], state


@pytest.mark.parametrize("needed", [True, False])
def test_a_strategy_that_looks_at_inputs_requires_activations(needed):
    assert Idle(needs_inputs=needed).requirements() == ({"activations"} if needed else set())


@dataclass(frozen=True)
class Misspelled(Strategy):
    """Works on something that there is not."""

    works_on = "unit"

    def due(self, step, since=None):
        return False

    def propose(self, step, measurements, state, since=None):
        return [], state


def test_a_misspelled_works_on_is_answered_with_the_choices():
    with pytest.raises(
        ValueError, match=r"`works_on` of strategy Misspelled must be a class.* Units .*Received: 'unit'"
    ):
        model(Misspelled())


def test_max_units_can_be_given_for_each_axis():
    strategy = Grow(FractionOfWidth(1.0), max_units={"h": 11})
    found = model(strategy)
    found.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    assert found.structure.axes["h"] == 11
    with pytest.raises(ValueError, match=r"`max_units` names \['g'\]"):
        model(Grow(FractionOfWidth(1.0), max_units={"g": 11}))
    with pytest.raises(ValueError, match="positive integers"):
        NorthSelect(max_units={"h": 0})
    assert NorthSelect(max_units={"h": 9}).limits({"h": 4, "g": 4}) == {"h": 9, "g": 32}


def test_a_change_that_is_not_known_is_a_number_all_the_same():
    found = model(Grow(FractionOfWidth(0.5), schedule=EveryNSteps(4)))
    found.fit(X, Y, batch_size=32, epochs=1, verbose=0)
    (event,) = found.structure_log
    assert np.isnan(max(event.change for event in found.structure_log))
    assert json.loads(found.structure_log.to_json())[0]["change"] is None
    again = type(found.structure_log).from_records(found.structure_log.records())
    assert again == found.structure_log


def test_widths_are_whole_numbers_in_the_progress_bar_and_in_the_history(capsys):
    history = model(Grow(FractionOfWidth(0.5), schedule=EveryNSteps(4))).fit(X, Y, batch_size=32, verbose=2)
    printed = capsys.readouterr().out
    assert "h_units: 12" in printed
    assert "h_units: 12." not in printed
    assert history.history["h_units"] == [12]
    assert isinstance(history.history["h_units"][0], int)
    assert json.dumps([Count(3)]) == "[3]"
