"""The sampling rule against windows counted one by one."""

import numpy as np
import pytest

from keras_struct.symmetry import equivariance_error
from keras_struct.symmetry.groups import Group
from keras_struct.symmetry.sampling import is_symmetric, sampling_problem


def windows(n, k, s, padding):
    """First and last place of each window, outside of the axis where it is padded."""
    if padding == "valid":
        return [(start, start + k - 1) for start in range(0, n - k + 1, s)]
    count = -(-n // s)
    before = max((count - 1) * s + k - n, 0) // 2
    return [(i * s - before, i * s - before + k - 1) for i in range(count)]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("s", [1, 2, 3])
def test_windows_lie_like_their_mirror_image_exactly_where_the_rule_says(s, padding):
    for n in range(7, 19):
        for k in range(1, 8):
            found = windows(n, k, s, padding)
            mirrored = sorted((n - 1 - last, n - 1 - first) for first, last in found)
            assert (mirrored == found) == is_symmetric(n, k, s, padding), (n, k, s, padding)


def test_problems_name_what_to_change():
    problem = sampling_problem(Group("C4"), (28, 28), (3, 3), (2, 2), "same")
    assert "windows of 3 with stride 2 and padding 'same' lie unevenly on an axis of 28" in problem
    assert "a window of 2 or 4 or 6" in problem
    assert "an axis of 25 or 27 or 29 or 31" in problem
    assert sampling_problem(Group("C4"), (28, 28), (2, 2), (2, 2), "valid") is None
    assert sampling_problem(Group("C1"), (28, 28), (4, 4), (3, 3), "same") is None


def test_left_right_mirrors_only_ask_for_the_width():
    assert sampling_problem(Group("D1"), (28, 29), (3, 3), (2, 2), "same") is None
    assert sampling_problem(Group("D1"), (29, 28), (3, 3), (2, 2), "same") is not None
    assert sampling_problem(Group("C2"), (28, 29), (3, 3), (2, 2), "same") is not None


def test_the_error_of_functions_that_do_and_do_not_commute():
    x = np.random.default_rng(0).random((2, 5, 5, 3))
    assert max(equivariance_error(lambda x: x.mean(axis=(1, 2)), x, "D4").values()) < 1e-12
    assert max(equivariance_error(lambda x: x**2, x, "D4").values()) < 1e-12
    assert equivariance_error(lambda x: x[:, 0, 0], x, "C4")[1] > 0.1
    ramp = np.arange(5.0).reshape(1, 5, 1, 1)
    errors = equivariance_error(lambda x: x * ramp, x, "D4")
    assert errors[4] < 1e-12 < 0.1 < errors[2]
    with pytest.raises(ValueError, match=r"must have shape \(samples, height, width, channels\)"):
        equivariance_error(lambda x: x, x[0], "D4")
    with pytest.raises(ValueError, match="instead of"):
        equivariance_error(lambda x: x[:, :2], x, "C4")


def test_an_axis_of_unknown_length_is_every_length_that_it_could_have():
    quarter = Group("C4")
    assert sampling_problem(quarter, (None, None), (3, 3), (1, 1), "same") is None
    assert sampling_problem(quarter, (None, 15), (5, 5), (1, 1), "valid") is None
    for kernel, stride, padding in ((3, 2, "same"), (2, 2, "valid"), (3, 3, "valid")):
        problem = sampling_problem(quarter, (None, None), (kernel, kernel), (stride, stride), padding)
        sizes = [int(word.strip(",")) for word in problem.split("only on axes of ")[1].split(" ...")[0].split()]
        assert sizes
        assert all(sampling_problem(quarter, (n, n), (kernel,) * 2, (stride,) * 2, padding) is None for n in sizes)
    assert sampling_problem(Group("D1"), (None, 15), (3, 3), (2, 2), "same") is None
    assert "on no axis" in sampling_problem(quarter, (None, None), (2, 2), (1, 1), "same")


@pytest.mark.parametrize(("axis", "window", "padding", "other"), [(7, 4, "same", "valid"), (7, 3, "valid", "same")])
def test_the_other_padding_is_named_where_windows_lie_evenly_with_it(axis, window, padding, other):
    problem = sampling_problem(Group("C4"), (axis, axis), (window, window), (3, 3), padding)
    assert f"padding='{other}'" in problem
    assert is_symmetric(axis, window, 3, other)
