"""Edits are values."""

import numpy as np
import pytest

from keras_struct.structure import NEW, Resize, StructureEvent, StructureLog, Values, grow, prune, split


def test_growing_pruning_and_splitting_are_one_resize():
    assert grow("a", 2, 2).source == (0, 1, NEW, NEW)
    assert prune("a", 4, [1, 2]).source == (0, 3)
    assert split("a", 3, [2, 0]).source == (0, 1, 2, 2, 0)
    assert grow("a", 2, 2).new_units == (2, 3)
    assert split("a", 3, 1).copies().tolist() == [1, 2, 1, 2]


def test_edits_with_the_same_values_are_equal_and_survive_json():
    values = {"a/kernel": np.ones((3, 1), "float32")}
    edit = grow("a", 2, 1, values)
    assert edit == grow("a", 2, 1, values) != grow("a", 2, 1)
    assert hash(edit) == hash(grow("a", 2, 1, values))
    again = Resize.from_json(edit.to_json())
    assert again == edit
    assert again.values["a/kernel"].dtype == np.float32


def test_values_show_their_shapes():
    assert repr(Values({"a/kernel": np.ones((3, 1))})) == "Values({'a/kernel': (3, 1)})"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: prune("hidden", 8, [8]), r"units \[8\] of axis 'hidden': it has 8 units, numbered 0 to 7"),
        (lambda: prune("hidden", 2, [0, 1]), "keep at least one"),
        (lambda: prune("hidden", 8, []), "at least one of units 0 to 7"),
        (lambda: prune("hidden", 8, [1, 1]), "named more than once"),
        (lambda: split("hidden", 8, -1), "numbered 0 to 7"),
        (lambda: grow("hidden", 8, 0), "`count` must be a positive integer"),
        (lambda: grow("hidden", 8, 1.5), "`count` must be a positive integer"),
    ],
)
def test_impossible_edits_say_what_would_be_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_log_becomes_a_table_records_and_widths_over_time():
    event = StructureEvent(7, "a", 2, 3, "asked for", 1234, 0.1, 0.0, False, (0, 1, -1))
    log = StructureLog([event])
    assert "2 -> 3" in log.to_table()
    assert "1,234" in log.to_table()
    assert StructureLog.from_records(log.records()) == log
    assert log.widths({"a": 2, "b": 5}) == {"a": [(0, 2), (7, 3)], "b": [(0, 5)]}
