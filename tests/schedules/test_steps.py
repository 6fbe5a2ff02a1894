"""When, and how much."""

import pytest

from keras_struct.schedules import Batched, EveryNSteps, Linear


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
