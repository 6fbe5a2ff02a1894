"""Tables: a kernel that is expanded by them commutes with its group, and relaxing it changes not a bit."""

import numpy as np
import pytest

from keras_struct.symmetry import tables
from keras_struct.symmetry.groups import NAMES, Group
from keras_struct.symmetry.tables import (
    act_on_features,
    averaged,
    compress,
    constraint,
    expand,
    free_rows,
    project,
    relaxation,
)

GROUPS = [Group(name) for name in NAMES]
CASES = [
    pytest.param(group, frame, lifting, id=f"{group}-{frame}-{'lifting' if lifting else 'features'}")
    for frame in GROUPS
    for group in frame.subgroups()
    for lifting in (True, False)
]
SIZE = (3, 3)


def rows_of(group, frame, lifting, size=SIZE, seed=0):
    return np.random.default_rng(seed).standard_normal((free_rows(size, group, frame, lifting), 2, 3))


def correlate(x, kernel):
    """A convolution without padding, by loops over the kernel."""
    height, width = (x.shape[i + 1] - kernel.shape[i] + 1 for i in (0, 1))
    found = np.zeros((len(x), height, width, kernel.shape[3]))
    for i, j in np.ndindex(kernel.shape[:2]):
        found += x[:, i : i + height, j : j + width] @ kernel[i, j]
    return found


@pytest.mark.parametrize(("group", "frame", "lifting"), CASES)
def test_every_free_row_stands_for_as_many_entries_as_the_group_has_elements(group, frame, lifting):
    table = tables.expansion(SIZE, group, frame, lifting)
    assert (np.bincount(table.ravel(), minlength=free_rows(SIZE, group, frame, lifting)) == group.order).all()


@pytest.mark.parametrize(("group", "frame", "lifting"), CASES)
def test_expanded_kernels_commute_with_the_group_and_with_nothing_else(group, frame, lifting):
    kernel = expand(rows_of(group, frame, lifting), SIZE, group, frame, lifting)
    x = np.random.default_rng(1).standard_normal((2, 7, 6, 2 * (1 if lifting else frame.order)))
    output = correlate(x, kernel)
    for a in frame.elements:
        turned = correlate(act_on_features(a, x, frame, not lifting), kernel)
        error = np.abs(turned - act_on_features(a, output, frame)).max() / np.abs(output).max()
        assert error < 1e-12 if a in group.elements else error > 0.1


@pytest.mark.parametrize(("group", "frame", "lifting"), CASES)
def test_compressing_undoes_expanding(group, frame, lifting):
    rows = rows_of(group, frame, lifting)
    assert np.array_equal(compress(expand(rows, SIZE, group, frame, lifting), group, frame, lifting), rows)


@pytest.mark.parametrize(("group", "frame", "lifting"), CASES)
def test_relaxing_keeps_the_expanded_kernel_bit_for_bit_in_any_order(group, frame, lifting):
    rows = rows_of(group, frame, lifting)
    kernel = expand(rows, SIZE, group, frame, lifting)
    for new in group.subgroups():
        relaxed = rows[relaxation(SIZE, group, new, frame, lifting)]
        assert np.array_equal(expand(relaxed, SIZE, new, frame, lifting), kernel)
        for last in new.subgroups():
            twice = relaxed[relaxation(SIZE, new, last, frame, lifting)]
            assert np.array_equal(twice, rows[relaxation(SIZE, group, last, frame, lifting)])
        back = averaged(relaxed, constraint(SIZE, new, group, frame, lifting), len(rows))
        assert np.allclose(back, rows)


@pytest.mark.parametrize(("group", "frame", "lifting"), CASES)
def test_projection_is_the_mean_over_the_group(group, frame, lifting):
    kernel = expand(rows_of(Group("C1"), frame, lifting), SIZE, Group("C1"), frame, lifting)
    found = project(kernel, group, frame, lifting)
    assert np.allclose(project(found, group, frame, lifting), found)
    moved = [moved_kernel(a, kernel, frame, lifting) for a in group.elements]
    assert np.allclose(found, np.mean(moved, axis=0))
    own = expand(rows_of(group, frame, lifting), SIZE, group, frame, lifting)
    assert np.allclose(project(own, group, frame, lifting), own)


def moved_kernel(a, kernel, frame, lifting):
    """W[a⁻¹u, a⁻¹h, a⁻¹g]: the kernel as features over its outputs, for features over its inputs."""
    found = act_on_features(a, kernel.transpose(2, 0, 1, 3), frame)  # (channels in, height, width, channels out)
    if not lifting:
        places = np.arange(kernel.shape[2], dtype=float).reshape(1, 1, 1, -1)
        found = found[act_on_features(a, places, frame).ravel().astype(int)]
    return found.transpose(1, 2, 0, 3)


def test_kernels_need_not_be_square_without_quarter_turns():
    frame = group = Group("D2")
    kernel = expand(rows_of(group, frame, False, (3, 5)), (3, 5), group, frame, False)
    x = np.random.default_rng(1).standard_normal((1, 6, 9, 8))
    output = correlate(x, kernel)
    for a in group.elements:
        turned = correlate(act_on_features(a, x, frame), kernel)
        assert np.abs(turned - act_on_features(a, output, frame)).max() < 1e-12


def test_actions_on_features_compose_like_the_elements():
    from keras_struct.symmetry.groups import product

    frame, x = Group("D4"), np.random.default_rng(0).standard_normal((2, 3, 4, 16))
    for a in range(8):
        for b in range(8):
            twice = act_on_features(a, act_on_features(b, x, frame), frame)
            assert np.array_equal(twice, act_on_features(product(a, b), x, frame))
