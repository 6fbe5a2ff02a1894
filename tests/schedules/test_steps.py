"""When, and how much."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from keras_struct.schedules import AmountSchedule, Batched, EveryNSteps, Linear, Schedule


@dataclass(frozen=True)
class When(Schedule):
    """Answers what it is given."""

    answer: Any

    def __call__(self, step):
        return self.answer


@dataclass(frozen=True)
class HowMany(AmountSchedule):
    """Answers what it is given."""

    answer: Any

    def __call__(self, step):
        return self.answer


def test_every_n_steps_counts_from_one():
    assert [s for s in range(1, 13) if EveryNSteps(4)(s)] == [4, 8, 12]
    assert [s for s in range(1, 13) if EveryNSteps(2, start=5, stop=9)(s)] == [6, 8]


@pytest.mark.parametrize(("units", "steps"), [(7, 20), (20, 7), (5, 5), (1, 100)])
def test_linear_growth_adds_exactly_its_units_evenly(units, steps):
    added = [Linear(units, steps)(s) for s in range(1, steps + 50)]
    assert sum(added) == units
    assert max(added) - min(added[:steps]) <= 1
    assert sum(added[steps:]) == 0


def test_batched_growth_comes_in_equal_lots_at_regular_intervals():
    lots = {s: n for s in range(1, 200) if (n := Batched(64, 80, stages=8)(s))}
    assert lots == dict.fromkeys(range(10, 81, 10), 8)
    assert sum(Batched(10, 30, stages=4)(s) for s in range(1, 60)) == 10


@pytest.mark.parametrize(
    "make", [lambda: EveryNSteps(0), lambda: Linear(0, 5), lambda: Linear(5, 0), lambda: Batched(8, 8, 0)]
)
def test_amounts_must_be_positive(make):
    with pytest.raises(ValueError, match="positive integer"):
        make()


def test_a_schedule_says_when_and_an_amount_schedule_how_many():
    assert [When(answer).due(1) for answer in (True, np.True_, False)] == [True, True, False]
    assert [HowMany(answer).amount(1) for answer in (1, np.int64(3), 0)] == [1, 3, 0]
    assert [HowMany(answer).due(1) for answer in (1, 3, 0)] == [True, True, False]
    assert not hasattr(EveryNSteps(2), "amount")


@pytest.mark.parametrize("answer", [1, 0, 2.0, None])
def test_a_number_is_no_answer_to_when(answer):
    with pytest.raises(
        TypeError, match=r"Schedule and must return True or False. Received for step 7: .*AmountSchedule"
    ):
        When(answer).due(7)


@pytest.mark.parametrize("answer", [True, False, np.True_, 2.0, None])
def test_whether_is_no_answer_to_how_many(answer):
    with pytest.raises(
        TypeError, match=r"must return how many units, an int. Received for step 7: .*subclass of Schedule"
    ):
        HowMany(answer).amount(7)
    with pytest.raises(TypeError, match="HowMany is an AmountSchedule"):
        HowMany(answer).due(7)


def test_an_amount_is_not_negative():
    with pytest.raises(
        ValueError, match=r"HowMany must return 0 or more units. Received for step 7: -2. .*Grow or Prune"
    ):
        HowMany(-2).amount(7)
