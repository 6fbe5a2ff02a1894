"""Laws of the one array operation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_struct.core.structure.rearrangement import follow
from keras_struct.core.structure.rules import Port
from keras_struct.structure import NEW, remap

SOURCES = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def test_entries_follow_their_ancestors_and_new_ones_get_the_value():
    assert remap(np.array([10.0, 11.0, 12.0]), 0, [0, 2, NEW], 7.0).tolist() == [10, 12, 7]
    grown = remap(np.arange(6).reshape(2, 3), 1, [0, 1, 2, NEW, NEW], -5)
    assert grown.tolist() == [[0, 1, 2, -5, -5], [3, 4, 5, -5, -5]]


@given(SOURCES, st.data())
def test_one_remap_after_another_is_the_remap_of_the_composed_source(first, data):
    second = data.draw(st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=8))
    array = np.arange(10.0).reshape(2, 5)
    twice = remap(remap(array, 1, first), 1, second)
    np.testing.assert_array_equal(twice, remap(array, 1, [first[i] for i in second]))


@given(st.permutations(range(5)))
def test_a_permutation_is_undone_by_its_inverse(order):
    array = np.arange(5.0)
    np.testing.assert_array_equal(remap(remap(array, 0, order), 0, np.argsort(order)), array)


@given(st.integers(0, 4), st.sampled_from(["float32", "float64", "float16", "int32"]))
def test_growing_and_pruning_again_gives_back_the_array(count, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    grown = remap(array, 1, [0, 1, 2, *[NEW] * count], 1)
    assert grown.dtype == array.dtype
    np.testing.assert_array_equal(remap(grown, 1, [0, 1, 2]), array)


@pytest.mark.parametrize(("axis", "source"), [(2, [0]), (-1, [0]), (0, [5]), (0, [-2])])
def test_what_does_not_exist_is_refused(axis, source):
    with pytest.raises(ValueError, match="Cannot remap axis"):
        remap(np.zeros((2, 2)), axis, source)


@pytest.mark.parametrize("new", [[0, 1, 1], [0, 0, 1], [1, 0, 0]])
def test_units_that_would_lie_along_an_axis_more_often_than_before_cannot_be_followed(new):
    old, ancestors = np.array([0, 1]), np.array([0, 1])
    assert follow(old, np.array([1, 0]), ancestors, Port("h", "kernel", 0)).tolist() == [1, 0]
    with pytest.raises(ValueError, match="'h/kernel': after it, units would lie there more often"):
        follow(old, np.array(new), ancestors, Port("h", "kernel", 0))
