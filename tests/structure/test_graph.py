"""What an edit means for every variable, on graphs written by hand."""

import numpy as np
import pytest

from keras_struct.core.structure.assemblies import Assembly, Give, Make, Read
from keras_struct.core.structure.behaviours import (
    Concatenate,
    Elementwise,
    Flatten,
    Merge,
    Opaque,
    Permute,
    Pinned,
    Positions,
    Weighted,
)
from keras_struct.core.structure.edits import grow, prune, split
from keras_struct.core.structure.graph import Call, StructureGraph
from keras_struct.core.structure.remap import NEW
from keras_struct.core.structure.reshaping import Reshape
from keras_struct.core.structure.rules import AxisRule, Layout

CONSUME, PRODUCE = AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units")


def dense(units, shape=()):
    return Weighted((CONSUME, PRODUCE), -1, (*shape, units), units=units)


def carry(shape, **options):
    return Weighted((AxisRule("gamma", 0, "carry", new=1.0),), -1, shape, **options)


def graph(shape, *calls, outputs=None):
    """Calls as (name, behaviour, inputs); each makes one tensor, numbered from 1."""
    listed = [Call(name, behaviour, tuple(inputs), (i,)) for i, (name, behaviour, inputs) in enumerate(calls, start=1)]
    return StructureGraph({0: shape}, listed, outputs or [len(calls)], {0: "x"})


def residual_graph():
    return graph(
        (2, 3),
        ("a", dense(3, (2,)), [0]),
        ("b", dense(3, (2,)), [1]),
        ("add", Merge(), [1, 2]),
        ("flat", Flatten(), [3]),
        ("out", dense(2), [4]),
    )


def rearrangements(found, edit):
    _, changes = found.edited(edit)
    return {(p.layer, c.rule.role): tuple(c.source.tolist()) for p, c in changes.items()}


def test_growing_reaches_every_producer_and_consumer_once():
    assert rearrangements(residual_graph(), grow("a", width=3, count=1)) == {
        ("a", "produce"): (0, 1, 2, NEW),
        ("b", "consume"): (0, 1, 2, NEW),
        ("b", "produce"): (0, 1, 2, NEW),
        ("out", "consume"): (0, 1, 2, NEW, 3, 4, 5, NEW),
    }


def test_pruning_follows_units_through_flatten():
    assert rearrangements(residual_graph(), prune("a", 3, [1]))["out", "consume"] == (0, 2, 3, 5)


def test_split_units_share_what_they_give():
    _, changes = residual_graph().edited(split("a", 3, 1))
    (out,) = [c for p, c in changes.items() if p.layer == "out"]
    assert out.source.tolist() == [0, 1, 2, 1, 3, 4, 5, 4]
    assert out.copies.tolist() == [1, 2, 1, 2, 1, 2, 1, 2]


def test_inputs_and_outputs_are_fixed_and_tied_layers_are_one_axis():
    found = residual_graph()
    assert dict(found.axes) == {"a": 3}
    assert found.units["a"].producers == (("a", 0), ("b", 0))
    assert "an input of the model" in found.locked["x"]
    assert "an output of the model" in found.locked["out"]
    assert len(found.locked) == 2


def test_concatenated_units_stay_apart_where_they_are_tied_to_one_layer():
    found = graph(
        (3,),
        ("a", dense(2), [0]),
        ("b", dense(4), [0]),
        ("cat", Concatenate(-1), [1, 2]),
        ("c", dense(6), [0]),
        ("add", Merge(), [3, 4]),
        ("out", dense(2), [5]),
    )
    assert dict(found.axes) == {"a": 2, "b": 4}
    changed = rearrangements(found, grow("a", 2, 1))
    assert changed["c", "produce"] == changed["out", "consume"] == (0, 1, NEW, 2, 3, 4, 5)
    assert ("b", "produce") not in changed


def test_the_graph_after_an_edit_equals_one_that_is_propagated_afresh():
    found = residual_graph()
    for edit in (grow("a", 3, 2), prune("a", 5, [0, 3]), split("a", 3, [2])):
        found, _ = found.edited(edit)
    fresh = StructureGraph({0: (2, 3)}, found.calls, found.output_numbers, {0: "x"}, {"a": 4, "b": 4})
    assert dict(found.units) == dict(fresh.units)
    assert {n: t.shape for n, t in found.tensors.items()} == {n: t.shape for n, t in fresh.tensors.items()}


def test_adding_to_the_input_fixes_the_units():
    found = graph((3,), ("a", dense(3), [0]), ("add", Merge(), [0, 1]), ("out", dense(2), [2]))
    assert "a" not in found.axes
    assert "layer 'add' merges tensors and its units meet fixed positions" in found.locked["a"]


def test_squeeze_and_excite_ties_its_last_layer_to_the_channels():
    found = graph(
        (4, 4, 3),
        ("conv", dense(5, (4, 4)), [0]),
        ("pool", Positions(2, (5,), 0), [1]),
        ("gate", dense(5), [2]),
        ("shape", Reshape((5,), (1, 1, 5)), [3]),
        ("mul", Merge(), [1, 4]),
        ("flat", Flatten(), [5]),
        ("out", dense(2), [6]),
    )
    assert dict(found.axes) == {"conv": 5}
    after, _ = found.edited(grow("conv", 5, 2))
    assert after.tensors[4].shape == (1, 1, 7)
    assert after.tensors[6].shape == (4 * 4 * 7,)


def test_a_unit_that_is_broadcast_over_others_is_fixed_and_they_are_not():
    found = graph(
        (4, 3),
        ("one", dense(1, (4,)), [0]),
        ("many", dense(5, (4,)), [0]),
        ("mul", Merge(), [1, 2]),
        ("out", dense(2, (4,)), [3]),
    )
    assert dict(found.axes) == {"many": 5}
    assert "broadcasts its unit over several positions" in found.locked["one"]


def test_a_reshape_that_splits_an_axis_ties_units_and_one_that_joins_positions_does_not():
    split_up = graph((3,), ("a", dense(6), [0]), ("r", Reshape((6,), (2, 3)), [1]), ("out", dense(2, (2,)), [2]))
    assert dict(split_up.axes) == {"a": 3}
    assert rearrangements(split_up, prune("a", 3, [0]))["a", "produce"] == (1, 2, 4, 5)
    assert rearrangements(split_up, prune("a", 3, [0]))["out", "consume"] == (1, 2)
    assert split_up.edited(grow("a", 3, 1))[0].tensors[2].shape == (2, 4)
    first = graph((3,), ("a", dense(6), [0]), ("r", Reshape((6,), (2, 3), 0), [1]), ("out", dense(2, (2,)), [2]))
    assert "lie along another axis" in first.locked["a"]
    lost = graph((None, 6), ("a", dense(6, (None,)), [0]), ("r", Reshape((None, 6), (None, 2, 3)), [1]))
    assert "reshapes its units from (None, 6) to (None, 2, 3)" in lost.locked["a"]
    kept = graph(
        (2, 2, 3), ("a", dense(6, (2, 2)), [0]), ("r", Reshape((2, 2, 6), (4, 6)), [1]), ("out", dense(2, (4,)), [2])
    )
    assert rearrangements(kept, prune("a", 6, [0]))["out", "consume"] == (1, 2, 3, 4, 5)


def test_permuted_units_are_fixed_where_a_layer_works_along_another_axis():
    found = graph((4, 3), ("a", dense(5, (4,)), [0]), ("p", Permute((1, 0)), [1]), ("out", dense(2, (5,)), [2]))
    assert "lie along another axis than the one that layer 'out' works on" in found.locked["a"]
    back = graph(
        (4, 3),
        ("a", dense(5, (4,)), [0]),
        ("p", Permute((1, 0)), [1]),
        ("q", Permute((1, 0)), [2]),
        ("out", dense(2, (4,)), [3]),
    )
    assert dict(back.axes) == {"a": 5}


def test_flatten_of_channels_first_puts_positions_behind_channels():
    conv = Weighted((CONSUME, PRODUCE), 0, (2, 3), units=2)
    found = graph((1, 3), ("a", conv, [0]), ("flat", Flatten(channels_first=True), [1]), ("out", dense(2), [2]))
    assert rearrangements(found, grow("a", 2, 1))["out", "consume"] == (0, 1, NEW, 2, 3, NEW, 4, 5, NEW)


def test_an_operation_without_unit_rules_fixes_what_it_touches_and_is_named():
    reason = "no unit rule is registered for 'LSTM'"
    found = graph((4, 3), ("a", dense(5, (4,)), [0]), ("lstm", Opaque(reason, ((7,),)), [1]), ("out", dense(2), [2]))
    assert found.locked["a"] == found.locked["lstm"] == reason
    assert dict(found.axes) == {}


def test_a_shared_layer_ties_what_it_is_called_on():
    found = graph(
        (3,),
        ("a", dense(4), [0]),
        ("b", dense(4), [0]),
        ("s", dense(2), [1]),
        ("s", dense(2), [2]),
        ("cat", Concatenate(-1), [3, 4]),
        ("out", dense(2), [5]),
    )
    assert dict(found.axes) == {"a": 4, "s": 2}
    changed = rearrangements(found, grow("s", 2, 1))
    assert changed == {("s", "produce"): (0, 1, NEW), ("out", "consume"): (0, 1, NEW, 2, 3, NEW)}


def test_repeated_positions_of_one_unit_move_together():
    depthwise = Weighted((AxisRule("kernel", 2, "carry"),), -1, (4, 6), multiplier=2)
    repeat = Weighted((AxisRule("kernel", 0, "consume", Layout(repeat=2)), PRODUCE), -1, (4, 2), units=2)
    found = graph((4, 3), ("a", dense(3, (4,)), [0]), ("d", depthwise, [1]), ("out", dense(2, (4,)), [2]))
    assert rearrangements(found, prune("a", 3, [1]))["out", "consume"] == (0, 1, 4, 5)
    found = graph((4, 3), ("a", dense(3, (4,)), [0]), ("out", repeat, [1]))
    assert rearrangements(found, grow("a", 3, 1))["out", "consume"] == (0, 1, 2, 3, 4, 5, NEW, NEW)
    tile = Weighted((AxisRule("kernel", 0, "consume", Layout(tile=2)), PRODUCE), -1, (4, 2), units=2)
    found = graph((4, 3), ("a", dense(3, (4,)), [0]), ("out", tile, [1]))
    assert rearrangements(found, grow("a", 3, 1))["out", "consume"] == (0, 1, 2, NEW, 3, 4, 5, NEW)


def test_mixing_is_known_of_the_axis_that_is_mixed():
    found = graph(
        (3,),
        ("a", dense(4), [0]),
        ("n", carry((4,), mixes="n normalises"), [1]),
        ("b", dense(5), [2]),
        ("out", dense(2), [3]),
    )
    assert found.units["a"].mixes == "n normalises"
    assert found.units["b"].mixes is None
    soft = graph((3,), ("a", dense(4), [0]), ("s", Elementwise(("s mixes", (-1,))), [1]), ("out", dense(2), [2]))
    assert soft.units["a"].mixes == "s mixes"


def test_a_layer_that_needs_a_multiple_refuses_other_widths():
    found = graph((3,), ("a", dense(4), [0]), ("n", carry((4,), multiple=2), [1]), ("out", dense(2), [2]))
    assert found.edited(grow("a", 4, 2))[0].axes == {"a": 6}
    with pytest.raises(ValueError, match="multiple of 2 units, but would get 5"):
        found.edited(grow("a", 4, 1))


def test_a_constant_for_each_entry_fixes_units_and_leaves_inputs_alone():
    found = graph(
        (3,),
        ("norm", Pinned("norm holds data", (3,)), [0]),
        ("a", dense(4), [1]),
        ("scale", Pinned("scale holds data", (4,)), [2]),
        ("b", dense(5), [3]),
        ("out", dense(2), [4]),
    )
    assert dict(found.axes) == {"b": 5}
    assert "norm" not in found.locked
    assert found.locked["a"] == found.locked["scale"] == "scale holds data"


def test_units_that_lie_along_different_axes_where_they_meet_are_fixed():
    found = graph(
        (3,),
        ("a", dense(4), [0]),
        ("b", dense(5), [0]),
        ("column", Reshape((4,), (4, 1)), [1]),
        ("row", Reshape((5,), (1, 5)), [2]),
        ("sum", Merge(), [3, 4]),
        ("flat", Flatten(), [5]),
        ("out", dense(2), [6]),
    )
    assert dict(found.axes) == {}
    assert "units lie along different axes" in found.locked["a"]
    assert "units lie along different axes" in found.locked["b"]


def test_positions_and_an_unknown_extent_are_followed_or_fixed():
    kept = graph(
        (4, 3), ("a", dense(5, (4,)), [0]), ("pool", Positions(1, (2, 5), 1), [1]), ("out", dense(2, (2,)), [2])
    )
    assert kept.edited(grow("a", 5, 1))[0].tensors[2].shape == (2, 6)
    lost = graph((None, 3), ("a", dense(5, (None,)), [0]), ("flat", Flatten(), [1]), ("out", dense(2), [2]))
    assert "flattens an axis of unknown extent" in lost.locked["a"]
    side = graph(
        (4, 3),
        ("a", dense(5, (4,)), [0]),
        ("b", dense(5, (4,)), [0]),
        ("cat", Concatenate(0), [1, 2]),
        ("out", dense(2, (8,)), [3]),
    )
    assert "concatenates along another axis" in side.locked["b"]


def test_units_in_another_order_are_fixed_on_both_sides():
    reverse = Permute((1, 0))
    found = graph(
        (2, 3),
        ("a", dense(2, (2,)), [0]),
        ("b", dense(2, (2,)), [0]),
        ("p", reverse, [2]),
        ("add", Merge(), [1, 3]),
        ("out", dense(2, (2,)), [4]),
    )
    assert set(found.axes) == set()


def test_units_can_be_found_along_variables_and_tensors():
    found = residual_graph()
    (port,) = [p for p in found.ports("a") if p.layer == "out"]
    np.testing.assert_array_equal(found.unit_along(port, "a"), [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(found.places(port, "a"), range(6))
    assert found.widths_from({port: 8}) == {"a": 4}


@pytest.mark.parametrize(("axis", "role"), [(0, "produces"), (-1, "carry"), ("0", "carry")])
def test_a_rule_of_an_unknown_role_or_axis_is_refused(axis, role):
    with pytest.raises(ValueError, match="of an AxisRule must be"):
        AxisRule("kernel", axis, role)


@pytest.mark.parametrize(
    "given",
    [
        {"layout": 4},
        {"new": "ones"},
        {"new": None},
        {"size": 3},
        {"tied_to": 0.5},
        {"tied_to": True},
        {"tied_to": ("x", None, 1.0)},
    ],
)
def test_an_argument_of_a_rule_of_another_kind_is_refused(given):
    (name,) = given
    with pytest.raises(TypeError, match=f"`{name}` of an AxisRule must be.*Received: {name}=.*'kernel'"):
        AxisRule("kernel", 0, "carry", **given)
    with pytest.raises(TypeError, match="`variable` of an AxisRule must be the name of a variable"):
        AxisRule(3, 0, "carry")


def test_a_rule_says_whose_units_its_axis_lies_along():
    produced, read = AxisRule("kernel", 1, "produce"), AxisRule("kernel", 0, "consume")
    assert (produced.along_output, read.along_output) == (True, False)
    assert AxisRule("recurrent", 0, "consume", tied_to="output").along_output
    tied = AxisRule("kernel", 1, "produce", Layout(tile=2), tied_to=("x", 1))
    assert (tied.along_output, tied.inputs) == (True, ("x", 1))
    assert eval(repr(tied)) == tied
    assert repr(read) == "AxisRule('kernel', 0, 'consume')"


def tied(units):
    """A layer whose units are those that enter it: a highway layer."""
    rules = (CONSUME, AxisRule("kernel", 1, "produce", tied_to="input"))
    return Assembly((Read(0, -1, rules[:1]),), (Make(units, rules[1:], tied_to=(0,)),), (Give((units,)),))


def test_a_layer_that_ties_its_units_to_its_input_is_edited_with_the_layer_before():
    found = graph((2,), ("a", dense(3), [0]), ("highway", tied(3), [1]), ("out", dense(2), [2]))
    assert dict(found.axes) == {"a": 3}
    assert found.units["a"].producers == (("a", 0), ("highway", 0))
    assert rearrangements(found, grow("a", width=3, count=1)) == {
        ("a", "produce"): (0, 1, 2, NEW),
        ("highway", "consume"): (0, 1, 2, NEW),
        ("highway", "produce"): (0, 1, 2, NEW),
        ("out", "consume"): (0, 1, 2, NEW),
    }
    assert found.edited(prune("a", 3, [1]))[0].tensors[2].shape == (2,)


def test_units_tied_to_several_blocks_stay_those_of_each():
    found = graph(
        (2,),
        ("a", dense(3), [0]),
        ("b", dense(2), [0]),
        ("both", Concatenate(-1), [1, 2]),
        ("highway", tied(5), [3]),
        ("out", dense(2), [4]),
    )
    assert dict(found.axes) == {"a": 3, "b": 2}
    assert rearrangements(found, grow("a", width=3, count=1))["highway", "produce"] == (0, 1, 2, NEW, 3, 4)


def test_units_tied_to_an_input_of_the_model_are_fixed_with_the_reason():
    found = graph((3,), ("highway", tied(3), [0]), ("out", dense(2), [1]))
    assert "ties its units to those that enter it" in found.locked["highway"]
