"""Neurons of a graph are computed in blocks, in an order that suits the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_struct.freenets.acyclic import by_levels, in_order, levels_of, schedule_for


def graph(neurons, density, seed):
    return np.tril(np.random.default_rng(seed).random((neurons, neurons)) < density, -1)


def substituted(given, weights, schedule):
    """Values of the neurons as a schedule says, in plain NumPy."""
    order = np.arange(len(given)) if schedule.order is None else np.array(schedule.order)
    given, weights = given[order], weights[np.ix_(order, order)]
    values, start = np.zeros(0), 0
    for size, rounds in zip(schedule.sizes, schedule.rounds, strict=True):
        here = slice(start, start + size)
        rest = given[here] + weights[here, :start] @ values
        found = np.maximum(rest, 0)
        for _ in range(rounds - 1):
            found = np.maximum(rest + weights[here, here] @ found, 0)
        values, start = np.concatenate([values, found]), start + size
    return values[np.argsort(order)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.floats(0, 1), st.integers(1, 20), st.integers(0, 10**6))
def test_every_schedule_computes_what_a_loop_over_neurons_does(neurons, density, block, seed):
    rng = np.random.default_rng(seed)
    edges = graph(neurons, density, seed)
    weights, given = edges * rng.normal(size=edges.shape), rng.normal(size=neurons)
    expected = np.zeros(neurons)
    for j in range(neurons):
        expected[j] = max(given[j] + weights[j, :j] @ expected[:j], 0)
    for schedule in (in_order(neurons, block), by_levels(edges, block), schedule_for(edges, block)):
        assert schedule.neurons == neurons
        assert not (schedule.forbidden & edges).any()
        np.testing.assert_allclose(substituted(given, weights, schedule), expected, rtol=1e-9, atol=1e-9)
    assert by_levels(edges, block).steps == levels_of(edges).max() + 1


def test_short_graphs_are_computed_by_levels_and_others_in_order():
    chain = np.eye(12, k=-1, dtype=bool)
    assert schedule_for(chain, 4) == in_order(12, 4)
    layers = np.zeros((16, 16), bool)
    layers[8:, :8] = True
    assert schedule_for(layers, 4).sizes == (8, 8)
    assert schedule_for(layers, 4).steps == 2


def test_a_schedule_is_kept_while_it_is_right_and_good_enough():
    layers = np.zeros((24, 24), bool)
    layers[16:, 8:16] = layers[8:16, :8] = True
    now = schedule_for(layers, 4)
    assert now.steps == 3
    fewer = layers.copy()
    fewer[16:, 8:16] = False
    assert schedule_for(fewer, 4, now) is now, "two steps instead of three are not worth new compiled steps"
    more = layers.copy()
    more[1, 0] = True
    assert schedule_for(more, 4, now) != now, "an edge within a level"
    empty = np.zeros((24, 24), bool)
    assert schedule_for(empty, 4, now).steps == 1
    assert schedule_for(layers, 4, in_order(24, 4)).steps == 3
    assert schedule_for(np.zeros((5, 5), bool), 4, now).neurons == 5


@pytest.mark.parametrize("block", [1, 3, 12, 50])
def test_blocks_in_order_cover_all_neurons(block):
    found = in_order(12, block)
    assert sum(found.sizes) == 12
    assert max(found.sizes) <= block
    assert found.steps == 12
    np.testing.assert_array_equal(found.forbidden, np.triu(np.ones((12, 12), bool)))
