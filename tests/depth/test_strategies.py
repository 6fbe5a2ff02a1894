"""Strategies that let a network become deeper, or shallower, while `fit` runs."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct.core.model.parts import parts_of
from keras_struct.depth import WarmupStableDecay
from keras_struct.schedules import AtSteps, EveryNSteps, Linear, Schedule
from keras_struct.strategies import (
    AutoGrow,
    BlockStrategy,
    DropBlocks,
    ExpandOnce,
    InsertWhenSaturated,
    MiddleGrow,
    NorthSelect,
    Prune,
    RigL,
    Stack,
    Together,
)
from keras_struct.triggers import EffectiveDimension
from tests.depth.networks import chain, data_for, output, residual, transformer

pytestmark = pytest.mark.usefixtures("eager_module")


def fitted(model, strategy, epochs=2, **options):
    x, y = data_for(model, 32)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, "mse", strategy=strategy, run_eagerly=True, **options)
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0)
    return model


def north(every, stop=None):
    return NorthSelect(EffectiveDimension(gamma=0.5), schedule=EveryNSteps(every, stop=stop))


def repeated(model):
    return [block.layers[0] for block in model.blocks.values() if block.parameters]


def test_stacking_repeats_all_blocks_behind_each_other_once():
    model = fitted(residual(2), Stack(AtSteps((3,))))
    assert repeated(model) == ["up_0", "up_1", "up_0_copy", "up_1_copy"]
    assert [(event.step, event.edit) for event in model.structure_log] == [(3, "Graft")]


@pytest.mark.parametrize(
    ("blocks", "count", "expected"),
    [(3, 1, ["0", "1", "1_copy", "2"]), (4, 2, ["0", "1", "2", "1_copy", "2_copy", "3"]), (1, 2, ["0", "0_copy"])],
)
def test_the_exact_middle_is_copied(blocks, count, expected):
    model = fitted(residual(blocks), MiddleGrow(AtSteps((2,)), count=count), epochs=1)
    assert repeated(model) == [f"up_{name}" for name in expected]


def test_expanding_happens_once_at_its_share_of_the_steps():
    model = fitted(transformer(1), ExpandOnce(at=0.75, steps=8, blocks=3))
    assert [event.step for event in model.structure_log] == [6]
    assert len(repeated(model)) == 3
    with pytest.raises(ValueError, match=r"`at` is a gradient step, or a share of `steps`"):
        ExpandOnce(at=0.8)


def test_the_blocks_that_turn_least_what_enters_them_are_left_out():
    model = residual(3)
    for name in ("down_1",):
        for weight in model.get_layer(name).weights:
            weight.assign(1e-6 * weight.value)
    x, y = data_for(model)
    model.compile("sgd", "mse", strategy=DropBlocks(AtSteps((1,)), count=1), probe=x, run_eagerly=True)
    entering = keras.Model(model.input, model.get_layer("add_0").output)(x)
    leaving = keras.Model(model.input, model.get_layer("add_1").output)(x)
    a, b = (keras.ops.convert_to_numpy(t).astype(float) for t in (entering, leaving))
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    measured = parts_of(model).runner.targets.measure(None, dict)
    assert measured["add_1"].influence() == pytest.approx(1 - cosine.mean(), abs=1e-6)
    del entering, leaving
    model.fit(x, y, epochs=1, batch_size=16, verbose=0)
    assert repeated(model) == ["up_0", "up_2"]


def test_several_blocks_are_left_out_at_once_and_some_stay():
    model = fitted(residual(3), DropBlocks(AtSteps((2,)), count=5), epochs=1)
    assert len(repeated(model)) == 1


def test_a_block_is_inserted_when_all_units_are_used_and_not_before():
    for share, expected in ((0.0, 3), (1.01, 2)):
        model = chain()
        x, _ = data_for(model, 32)
        strategy = InsertWhenSaturated(AtSteps((2, 4)), share=share, epsilon=1e-9, blocks=3, samples=32)
        before = len(repeated(model))
        fitted(model, strategy)
        assert before == 2
        assert len(repeated(model)) == expected
        changes = [event.change for event in model.structure_log]
        assert changes == [0.0] * (expected - 2)


def test_autogrow_stops_when_a_block_does_not_improve_the_loss():
    one, two = (fitted(chain(), AutoGrow(EveryNSteps(1), threshold=t, blocks=5)) for t in (-10.0, 10.0))
    assert len(repeated(one)) == 5
    assert len(repeated(two)) == 3
    assert parts_of(two).runner.policy_state["finished"] == ["a"]


@pytest.mark.parametrize(
    "strategies",
    [
        lambda: Together(north(2, stop=8), Stack(AtSteps((3,)))),
        lambda: Together(RigL(schedule=EveryNSteps(2)), InsertWhenSaturated(AtSteps((3,)), share=0.0, samples=32)),
    ],
    ids=["units and blocks", "connections and blocks"],
)
def test_strategies_of_several_kinds_train_together_are_saved_and_go_on(strategies, tmp_path):
    strategy = strategies()
    model = residual(2) if "North" in str(strategy) else keras_struct.sparsify(chain(), 0.5)
    fitted(model, strategy)
    edits = {event.edit for event in model.structure_log}
    assert edits >= {"Graft"} | ({"Rewire"} if "RigL" in str(strategy) else set())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert parts_of(again).runner.strategy == strategy
    assert parts_of(again).runner.policy_state == parts_of(model).runner.policy_state
    x, y = data_for(model, 32)
    for net in (model, again):
        net.run_eagerly = True
        net.fit(x, y, batch_size=8, initial_epoch=2, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_array_equal(output(model, x), output(again, x))


def test_a_strategy_on_units_begins_with_layers_that_came_and_forgets_those_that_went():
    model = fitted(residual(2), Together(north(1), Stack(AtSteps((3,)))))
    known = parts_of(model).runner.policy_state["0"]["axes"]
    assert "up_0_copy" in known
    assert set(known) <= set(model.structure.axes)
    model.remove("add_0_copy")
    x, y = data_for(model, 32)
    model.fit(x, y, batch_size=8, verbose=0)
    assert set(parts_of(model).runner.policy_state["0"]["axes"]) <= set(model.structure.axes)


def test_a_strategy_that_finds_no_block_any_more_lets_training_go_on():
    model = chain()
    x, y = data_for(model, 32)
    model.compile("sgd", "mse", strategy=Stack(AtSteps((3, 5))), run_eagerly=True)
    for axis in model.structure.axes:
        model.grow(axis, 1 + list(model.structure.axes).index(axis))
    with pytest.warns(UserWarning, match="which stays as it is for now: There is no block with weights"):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)


def test_strategies_that_may_edit_the_same_are_refused():
    with pytest.raises(ValueError, match="NorthSelect and Prune may both edit the same Units"):
        Together(NorthSelect(), Prune(schedule=Linear(4, 8)))
    with pytest.raises(TypeError, match="Together takes strategies"):
        Together(NorthSelect(), "Stack")
    with pytest.raises(ValueError, match="two strategies or more"):
        Together(NorthSelect())


def test_a_method_of_ones_own_is_a_trigger_and_a_place():
    @dataclass(frozen=True)
    class CopyLast(BlockStrategy, package="mine"):
        schedule: Schedule

        def edits(self, blocks, step):
            last = list(blocks.values())[-1]
            return [keras_struct.duplicate(last.block, taken=last.names)]

    model = fitted(chain(), CopyLast(AtSteps((2, 4))), epochs=1)
    assert repeated(model) == ["a", "b", "b_copy", "b_copy_copy"]


def test_a_model_without_blocks_is_refused():
    i = keras.Input((3,))
    model = keras_struct.StructuralModel(i, keras.layers.Dense(2)(i))
    with pytest.raises(ValueError, match=r"Stack works on blocks, and the model has none"):
        model.compile("adam", "mse", strategy=Stack())
    with pytest.raises(TypeError, match="`schedule` of Stack must be a"):
        Stack(schedule=3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.0, 0.4, 1.0, 1.0, 0.5, 0.0]),
        ({"final": 0.2}, [0.0, 0.4, 1.0, 1.0, 0.6, 0.2]),
        ({"shape": "sqrt"}, [0.0, 0.4, 1.0, 1.0, 1 - np.sqrt(0.5), 0.0]),
    ],
)
def test_the_rate_rises_stays_and_falls(options, expected):
    rate = WarmupStableDecay(1.0, 100, warmup=5, decay=0.2, **options)
    again = type(rate).from_config(rate.get_config())
    for each in (rate, again):
        assert [float(each(step)) for step in (0, 2, 5, 80, 90, 100)] == pytest.approx(expected, abs=1e-6)


def test_a_rate_that_takes_more_steps_than_there_are_is_refused():
    with pytest.raises(ValueError, match="Warm-up and decay must not take more than all steps"):
        WarmupStableDecay(1.0, 100, warmup=0.6, decay=0.5)
    with pytest.raises(ValueError, match='`shape` must be "linear" or "sqrt"'):
        WarmupStableDecay(1.0, 100, shape="cosine")
