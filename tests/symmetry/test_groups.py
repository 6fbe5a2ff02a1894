"""Groups: products, subgroups and cosets, against mirrors and turns of a grid of numbers."""

import numpy as np
import pytest

from keras_struct.symmetry.groups import (
    ALIASES,
    NAMES,
    Group,
    act_on_grid,
    common_frame,
    get,
    intersection,
    inverse,
    product,
)

GROUPS = [Group(name) for name in NAMES]
GRID = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize("a", range(8))
@pytest.mark.parametrize("b", range(8))
def test_products_are_one_action_after_the_other(a, b):
    assert np.array_equal(act_on_grid(a, act_on_grid(b, GRID)), act_on_grid(product(a, b), GRID))


def test_elements_mirror_left_and_right_and_then_turn_counter_clockwise():
    assert act_on_grid(4, GRID)[0].tolist() == [3, 2, 1, 0]
    assert act_on_grid(1, GRID)[:, 0].tolist() == [3, 2, 1, 0]
    assert act_on_grid(5, GRID).tolist() == np.rot90(GRID[:, ::-1]).tolist()


def test_inverses_undo():
    assert [product(a, inverse(a)) for a in range(8)] == [0] * 8
    assert [inverse(a) for a in range(8)] == [0, 3, 2, 1, 4, 5, 6, 7]


def test_the_cayley_table_of_d4():
    table = Group("D4").cayley_table()
    assert table[1].tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    assert table[4].tolist() == [4, 7, 6, 5, 0, 3, 2, 1]
    assert table[7].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_groups_are_closed_and_subgroups_are_subsets(group):
    elements = set(group.elements)
    assert {product(a, b) for a in elements for b in elements} == elements
    assert group.cayley_table().shape == (group.order, group.order)
    for other in GROUPS:
        assert (other <= group) == (set(other.elements) <= elements)
        assert (other < group) == (set(other.elements) < elements)
    assert set(group.subgroups()) == {other for other in GROUPS if other <= group}


def test_incomparable_groups():
    for a, b in (("C4", "D2"), ("C4", "D1"), ("C2", "D1")):
        assert not Group(a) <= Group(b)
        assert not Group(b) <= Group(a)


@pytest.mark.parametrize("frame", GROUPS, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_every_element_of_a_frame_is_one_product_of_group_and_representative(group, frame):
    if not group <= frame:
        with pytest.raises(ValueError, match=f"{group} is no subgroup of the frame {frame}: expected one of"):
            group.representatives(frame)
        return
    representatives = group.representatives(frame)
    inner, outer = group.decomposition(frame)
    assert len(representatives) == frame.order // group.order
    assert len(set(zip(inner, outer, strict=True))) == frame.order
    for g, i, j in zip(frame.elements, inner, outer, strict=True):
        assert product(group.elements[i], representatives[j]) == g


def test_representatives_in_d4_are_those_of_the_publication():
    found = {group.name: list(group.representatives(Group("D4"))) for group in GROUPS}
    assert found == {
        "C1": [0, 1, 2, 3, 4, 5, 6, 7],
        "C2": [0, 1, 4, 5],
        "C4": [0, 4],
        "D1": [0, 1, 2, 3],
        "D2": [0, 1],
        "D4": [0],
    }


def test_frames_and_intersections():
    assert common_frame([Group("C4"), Group("D1")]) == Group("D4")
    assert common_frame([Group("C2"), Group("D1")]) == Group("D2")
    assert common_frame([Group("C2")]) == Group("C2")
    assert intersection([Group("C4"), Group("D2")]) == Group("C2")
    assert intersection([Group("C4"), Group("D1")]) == Group("C1")


def test_groups_go_by_several_names():
    assert get("p4m") == get("d4") == get("D4") == get(Group("D4"))
    assert get("p4") == Group("C4")
    assert {get(alias).name for alias in ALIASES} == set(NAMES)
    for wrong in ("C3", "square"):
        with pytest.raises(ValueError, match=r"Unknown group '.*': expected one of C1, C2, C4, D1, D2, D4"):
            get(wrong)
    with pytest.raises(ValueError, match="given by name"):
        get(4)
