"""Strategies propose edits; nothing here runs a network."""

import dataclasses
import json

import numpy as np
import pytest

from keras_struct.initializers import RandomFanIn, Select
from keras_struct.measurements import AxisMeasurement, FanIn
from keras_struct.policies.policy import pack, unpack
from keras_struct.schedules import Batched, EveryNSteps, Linear, Schedule
from keras_struct.strategies import DropAndGrow, Grow, NorthRandom, NorthSelect, Prune
from keras_struct.triggers import EffectiveDimension, Trigger


@dataclasses.dataclass(frozen=True)
class AlwaysTwo(Trigger):
    """Two units whenever it is asked; counts how often that was."""

    def init(self, measured):
        return 0

    def __call__(self, measured, state):
        return 2, state + 1


@dataclasses.dataclass(frozen=True)
class Always(Schedule):
    """Due after every step."""

    def __call__(self, step):
        return True


START = {"axes": {}, "turn": 0}


def measured(units, room=100, axis="h"):
    fan_in = (FanIn(f"{axis}/kernel", np.ones((3, units)), lambda new: new),)
    return AxisMeasurement(axis, units, units + room, "dense", fan_in)


def test_any_trigger_goes_with_any_initializer_and_state_is_passed_in_and_out():
    strategy = Grow(AlwaysTwo(), RandomFanIn())
    state = strategy.init({"h": measured(4)})
    (edit,), state = strategy.propose(7, {"h": measured(4)}, state)
    assert edit.source == (0, 1, 2, 3, -1, -1)
    assert edit.values["h/kernel"].shape == (3, 2)
    assert state == {"axes": {"h": 1}, "turn": 1}


def test_no_edit_passes_the_room_that_is_left():
    strategy = Grow(AlwaysTwo())
    (edit,), _ = strategy.propose(1, {"h": measured(4, room=1)}, START)
    assert edit.source == (0, 1, 2, 3, -1)
    assert strategy.propose(1, {"h": measured(4, room=0)}, START)[0] == []


def test_a_schedule_alone_says_how_many():
    strategy = Grow(schedule=Linear(units=10, steps=5))
    assert strategy.due(1)
    assert not strategy.due(6)
    assert len(strategy.propose(1, {"h": measured(4)}, START)[0][0].source) == 6


def test_an_amount_of_the_schedule_bounds_the_trigger():
    strategy = Grow(AlwaysTwo(), schedule=Batched(units=4, steps=4, stages=4))
    assert len(strategy.propose(1, {"h": measured(4)}, START)[0][0].source) == 5


def test_a_schedule_that_says_when_does_not_bound_the_trigger_by_one_unit():
    for schedule in (Always(), EveryNSteps(1)):
        assert len(Grow(AlwaysTwo(), schedule=schedule).propose(1, {"h": measured(4)}, START)[0][0].source) == 6
        assert (
            len(Grow(AlwaysTwo(), schedule=schedule).propose(4, {"h": measured(4)}, START, since=1)[0][0].source) == 6
        )


def test_amounts_of_the_steps_in_between_add_up():
    strategy = Grow(schedule=Linear(units=10, steps=5))
    assert len(strategy.propose(4, {"h": measured(4)}, START, since=1)[0][0].source) == 10
    assert strategy.due(7, since=4)
    assert not strategy.due(7, since=5)


@pytest.mark.parametrize("kind", [Grow, Prune])
@pytest.mark.parametrize("schedule", [Always(), EveryNSteps(3)])
def test_when_alone_does_not_say_how_many(kind, schedule):
    with pytest.raises(ValueError, match=r"needs to know how many units .* such as Linear\(units=64, steps=1000\)"):
        kind(schedule=schedule)


def test_how_many_units_is_no_schedule_for_connections():
    with pytest.raises(TypeError, match=r"`schedule` of DropAndGrow must be a Schedule, .*Received: schedule=Linear"):
        DropAndGrow(schedule=Linear(units=8, steps=10))


def test_the_same_seed_and_step_give_the_same_edit_also_after_a_resume():
    first, again = (
        Grow(AlwaysTwo(), seed=3).propose(9, {"h": measured(4)}, {"axes": {"h": 5}, "turn": 0})[0] for _ in range(2)
    )
    assert first == again
    assert first != Grow(AlwaysTwo(), seed=4).propose(9, {"h": measured(4)}, {"axes": {"h": 5}, "turn": 0})[0]


def test_north_presets_have_the_published_hyperparameters():
    assert NorthSelect().trigger == NorthRandom().trigger == EffectiveDimension(gamma=0.97, epsilon=0.01)
    assert NorthSelect().initializer == Select()
    assert NorthRandom().initializer == RandomFanIn()
    assert NorthSelect().schedule == EveryNSteps(1)


@pytest.mark.parametrize(
    "strategy",
    [
        NorthSelect(max_units=9, axes=["a"]),
        Grow(AlwaysTwo(), Select(5), Batched(8, 80)),
        Grow(schedule=Linear(3, 9), seed=2),
    ],
)
def test_a_strategy_survives_json(strategy):
    assert unpack(json.loads(json.dumps(pack(strategy)))) == strategy


def test_a_policy_that_is_not_defined_is_named():
    with pytest.raises(ValueError, match="'Gone' of 'mine', which is not defined here"):
        unpack({"registered_name": "mine>Gone", "module": "mine", "config": {}})


def test_growth_without_an_amount_is_refused():
    with pytest.raises(ValueError, match="how many units to grow"):
        Grow()
    with pytest.raises(ValueError, match="max_units=0"):
        Grow(AlwaysTwo(), max_units=0)


def test_a_strategy_needs_something_to_grow():
    with pytest.raises(ValueError, match="it is fixed: an output"):
        Grow(AlwaysTwo(), axes="out").check({"h": 3}, {"out": "an output"})
    with pytest.raises(ValueError, match="no layer to act on"):
        Grow(AlwaysTwo()).check({}, {"out": "an output"})


def test_the_default_limit_is_eight_times_the_initial_width():
    assert Grow(AlwaysTwo()).limits({"a": 3}) == {"a": 24}
    assert Grow(AlwaysTwo(), max_units=5).limits({"a": 3}) == {"a": 5}
