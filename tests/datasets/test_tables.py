"""Tables in text files."""

import numpy as np
import pytest

from keras_struct.datasets import load, read_csv


def table(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def samples(count=20):
    return [f"{i},{i / 2},{'yes' if i % 2 else 'no'}" for i in range(count)]


def test_the_last_column_holds_the_classes_and_a_header_is_left_out(tmp_path):
    data = load(str(table(tmp_path / "t.csv", ["a,b,answer", *samples()])))
    assert data.name == "t"
    assert data.num_classes == 2
    assert data.x_train.shape == (16, 2)
    assert np.bincount(data.y_test).tolist() == [2, 2]
    np.testing.assert_array_equal(data.x_train[:, 1] * 2, data.x_train[:, 0])
    np.testing.assert_array_equal(data.y_train, data.x_train[:, 0] % 2)


def test_a_column_is_chosen_by_name_and_numbers_are_classes_in_their_order(tmp_path):
    lines = ["digit,x", *(f"{10 * (i % 3)},{i}" for i in range(30))]
    data = load(str(table(tmp_path / "t.csv", lines)), target="digit")
    np.testing.assert_array_equal(data.y_train, data.x_train[:, 0] % 3)
    bare = read_csv(table(tmp_path / "bare.csv", [f"{i},{i % 2}" for i in range(20)]))
    assert bare.x_train.shape == (16, 1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,b,c", "1,,x", *samples()], "Line 2 .* has '' in column 'b': features must be numbers"),
        (["1,2,x", "1,x"], "Line 2 .* has 2 values; the first one has 3"),
        (["1,2,x", "2,3,x"], "too few samples"),
        (["single"], "two or more values"),
        ([], "two or more values"),
    ],
)
def test_what_is_no_table_is_refused(lines, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_csv(table(tmp_path / "t.csv", lines))


def test_a_column_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no column 'c'\. Columns: a, b, answer"):
        read_csv(table(tmp_path / "t.csv", ["a,b,answer", *samples()]), target="c")
    with pytest.raises(FileNotFoundError, match="no data file"):
        read_csv(tmp_path / "nowhere.csv")
