"""A cell of a supernet, a discrete one, and what a choice leaves of them."""

from dataclasses import replace

import numpy as np
import pytest

from keras_struct.nas.cell_states import check_wiring, discrete_state, supernet_state, weights_after, wiring_after
from keras_struct.nas.cells import Path, Wiring, all_paths

OPERATIONS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
GENES = [("sep_conv_3x3", 0), ("skip_connect", 1), ("sep_conv_3x3", 2), ("none", 0)]


def wiring(state, reduction=False):
    return Wiring(state.paths, state.nodes, reduction, state.normalized_pools, False)


def test_a_cell_of_a_supernet_has_every_operation_on_every_edge_and_mixes_them():
    state = supernet_state(2, OPERATIONS)
    assert state.paths == all_paths(2, OPERATIONS)
    assert (state.weighted, state.affine, state.normalized_pools) == (True, False, True)
    assert state.operations == OPERATIONS


def test_a_discrete_cell_has_two_operations_a_node_and_learns_scales():
    state = discrete_state(GENES, reduction=False)
    assert state.nodes == 2
    assert set(state.paths) == {Path("sep_conv_3x3", 0, 2), Path("skip_connect", 1, 2), Path("sep_conv_3x3", 2, 3)}
    assert (state.weighted, state.affine, state.normalized_pools) == (False, True, False)
    assert state.operations == ("none", "skip_connect", "sep_conv_3x3")


def test_what_is_given_goes_before_what_a_state_has():
    state = supernet_state(2, OPERATIONS)
    left = state.changed([["sep_conv_3x3", 0, 2]], weighted=False, affine=True, normalized_pools=None)
    assert left.paths == (Path("sep_conv_3x3", 0, 2),)
    assert (left.weighted, left.affine, left.normalized_pools) == (False, True, True)
    assert (left.nodes, left.operations) == (2, OPERATIONS)
    assert state.changed() == state


@pytest.mark.parametrize("operations", [["conv"], ["none"], ["skip_connect", "skip_connect"], []])
def test_operations_must_be_known_each_once_and_do_something(operations):
    with pytest.raises(ValueError, match="Expected some of the operations"):
        supernet_state(2, operations)


def test_paths_lead_forwards_between_the_states_of_a_cell_and_any_of_these_is_put_out():
    made = wiring(supernet_state(2, OPERATIONS))
    check_wiring(made, (0, 1, 2, 3))
    for state in (-1, 4):
        with pytest.raises(ValueError, match=rf"has states 0 to 3, and cannot output \[{state}\]"):
            check_wiring(made, (3, state))
    check_wiring(replace(made, paths=(Path("skip_connect", 2, 3), Path("none", 0, 1))), (3,))
    for path in (("skip_connect", 2, 2), ("none", 3, 2), ("none", 3, 4), ("none", -1, 2), ("conv", 0, 2)):
        with pytest.raises(ValueError, match="a path leads from a state before its target"):
            check_wiring(replace(made, paths=(Path(*path),)), (3,))


def test_a_choice_keeps_the_weights_of_what_stays():
    old = wiring(supernet_state(1, OPERATIONS))
    new = wiring_after(old, {"genes": [["sep_conv_3x3", 1], ["max_pool_3x3", 0]]}, "cell")
    assert new.paths == (Path("max_pool_3x3", 0, 2), Path("sep_conv_3x3", 1, 2))
    rows = np.arange(len(old.rows))
    values = {"gamma": rows, "sep_conv_3x3_depthwise": np.array([10, 11]), "preprocess_0": np.array([7])}
    found = weights_after(old, new, OPERATIONS, values)
    assert found["sep_conv_3x3_depthwise"].tolist() == [11]
    assert found["gamma"].tolist() == [old.rows[key] for key in new.rows]
    assert found["preprocess_0"].tolist() == [7]


def test_a_choice_among_what_a_cell_has_not_is_refused():
    old = wiring(discrete_state(GENES, reduction=False))
    with pytest.raises(ValueError, match=r"Layer 'cell' has weights for each operation .*max_pool_3x3"):
        wiring_after(old, {"paths": [["max_pool_3x3", 0, 2]], "weighted": False}, "cell")
    with pytest.raises(ValueError, match=r"Layer 'cell' can change its `genes` or `paths`"):
        wiring_after(old, {"nodes": 3}, "cell")
    for config in ({"paths": [], "nodes": 3}, {"weighted": False}, {"genes": [], "weighted": False}):
        with pytest.raises(ValueError, match="can change its `genes` or `paths`"):
            wiring_after(old, config, "cell")
    path = ["sep_conv_3x3", 0, 2]
    with pytest.raises(ValueError, match="on each edge once at most"):
        wiring_after(old, {"paths": [path, path]}, "cell")
