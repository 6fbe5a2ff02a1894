"""Pruning, alone and beside growth, while a model trains."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.initializers import RandomFanIn
from keras_struct.layers import GrowableDense
from keras_struct.measurements import AxisMeasurement
from keras_struct.policies.policy import pack, unpack
from keras_struct.schedules import AmountSchedule, EveryNSteps, Linear
from keras_struct.selectors import Magnitude, MostSimilar
from keras_struct.strategies import Dyno, Grow, GrowAndPrune, Prune
from keras_struct.testing import check_trigger
from keras_struct.triggers import AuxiliaryGradient, EffectiveDimension, FractionOfWidth, LostDimension


@dataclass(frozen=True)
class EveryTwo(AmountSchedule):
    """One unit every second step."""

    def __call__(self, step):
        return int(step % 2 == 0)


RNG = np.random.default_rng(0)
X = RNG.standard_normal((128, 6)).astype("float32")
Y = np.tanh(X @ RNG.standard_normal((6, 3))).astype("float32")


def model(units=16, strategy=None, **options):
    keras.utils.set_random_seed(0)
    found = StructuralModel(
        [keras.Input((6,)), GrowableDense(units, activation="relu", name="hidden"), GrowableDense(3)]
    )
    found.compile("adam", "mse", strategy=strategy, **options)
    return found


def measured(rank, units=10):
    """Activations of so many units that span so many dimensions."""
    gram = np.diag([1.0] * rank + [0.0] * (units - rank))
    return AxisMeasurement("h", units, None, "dense", (), samples=lambda: 100, gram=lambda: gram)


@pytest.mark.parametrize(("now", "removed"), [(10, 0), (9, 0), (8, 1), (5, 4), (0, 9)])
def test_units_are_removed_by_the_printed_rule(now, removed):
    # floor(10 * ((1 - 0.03) * 1 - now / 10))
    assert LostDimension()(measured(now), 1.0) == (removed, 1.0)
    check_trigger(LostDimension(), measured(now))


def test_a_schedule_alone_prunes_down_to_the_minimum():
    found = model(16, Prune(selector=Magnitude(), schedule=Linear(units=100, steps=20), minimum=5))
    found.fit(X, Y, batch_size=16, epochs=4, verbose=0)
    assert found.structure.axes["hidden"] == 5
    assert all(event.reason == "Prune" for event in found.structure_log)


def test_growing_and_pruning_turn_units_over_within_a_budget():
    start = model(8)
    grow = Grow(initializer=RandomFanIn(), schedule=Linear(units=64, steps=32), max_parameters=start.count_params())
    found = model(8, GrowAndPrune(grow, Prune(schedule=EveryTwo(), selector=Magnitude(), minimum=4)))
    found.fit(X, Y, batch_size=16, epochs=4, verbose=0)
    widths = [event.after for event in found.structure_log]
    assert min(widths) < 8 >= max(widths)
    assert len({event.after > event.before for event in found.structure_log}) == 2


def dead_units(found, units):
    layer = found.get_layer("hidden")
    bias = np.asarray(layer.bias)
    bias[units] = -1e3
    layer.bias.assign(bias)


def test_dyno_prunes_dormant_units_first_and_moves_its_baseline():
    found = model(16, Dyno(every=1, minimum=4, max_units=32), probe=X)
    before = np.asarray(found.get_layer("hidden").kernel)
    found.structural_step()
    assert not found.structure_log
    dead_units(found, [3, 7, 11])
    found.structural_step()
    (event,) = found.structure_log
    assert event.after == 16 - 2  # floor(16 * (0.97 - 13 / 16))
    assert set(range(16)) - set(event.source) <= {3, 7, 11}
    assert np.asarray(found.get_layer("hidden").kernel).shape[1] == before.shape[1] - 2
    state = parts_of(found).runner.policy_state
    assert state["prune"]["axes"]["hidden"] == state["grow"]["axes"]["hidden"] == pytest.approx(13 / 14)
    found.structural_step()
    assert len(found.structure_log) == 1


def test_dyno_grows_what_was_pruned_when_more_dimensions_are_in_use():
    found = model(16, Dyno(every=1, minimum=4, max_units=32), probe=X)
    dead_units(found, range(8))
    found.structural_step()  # takes 8 of 16 dimensions for its baseline
    layer = found.get_layer("hidden")
    layer.bias.assign(np.zeros(16, "float32"))
    before = np.asarray(found(X))
    found.structural_step()
    (event,) = found.structure_log
    assert event.after == 16 + 7  # floor(16 * (1 - 1.03 / 2))
    np.testing.assert_allclose(found(X), before, atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "conv", "residual"])
def test_dyno_trains_every_kind_of_network_and_is_saved_with_it(kind, tmp_path):
    keras.utils.set_random_seed(0)
    shape = (6,) if kind == "dense" else (6, 6, 2)
    x = inputs = keras.Input(shape)
    if kind == "dense":
        x = keras.layers.Dense(12, activation="relu")(x)
    else:
        x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        y = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
        x = keras.layers.Flatten()(keras.layers.Add()([x, y]) if kind == "residual" else y)
    found = StructuralModel.from_model(keras.Model(inputs, keras.layers.Dense(2)(x)))
    data, target = RNG.standard_normal((96, *shape)).astype("float32"), RNG.standard_normal((96, 2)).astype("float32")
    found.compile(keras.optimizers.Adam(0.03), "mse", strategy=Dyno(every=4, minimum=2, delta=0.01))
    history = found.fit(data, target, batch_size=16, epochs=6, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    found.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert parts_of(loaded).runner.strategy == parts_of(found).runner.strategy
    assert parts_of(loaded).runner.policy_state == parts_of(found).runner.policy_state
    np.testing.assert_array_equal(loaded(data), found(data))


@pytest.mark.parametrize("strategy", [Dyno(), Dyno(delta=0.1, only=("hidden",)), Prune(LostDimension())])
def test_strategies_can_be_saved(strategy):
    assert unpack(pack(strategy)) == strategy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prune(), r"needs to know how many units to prune: pass a trigger such as LostDimension\(\)"),
        (lambda: Prune(LostDimension(), minimum=0), "`minimum` must be a positive integer"),
        (lambda: LostDimension(delta=1.0), "`delta` must lie between 0 and 1"),
        (lambda: Dyno(delta=0.0), "`delta` must lie between 0 and 1"),
        (lambda: Dyno(candidates=0), "`candidates` must be a positive integer"),
        (lambda: model(strategy=Dyno(only=("outer",))), "Grow cannot grow axis 'outer'"),
        (lambda: model(strategy=Prune(LostDimension(), axes="outer")), "Prune cannot prune axis 'outer'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@dataclass(frozen=True)
class Never(FractionOfWidth):
    """Cannot fire at up to 10 units, and says so."""

    why: str = ""

    def init(self, measured):
        return 0

    def cannot_fire(self, measured, state):
        return f"{self.why}." if measured.units <= 10 else None


@dataclass(frozen=True)
class Counting(FractionOfWidth):
    """Remembers whether an axis is new or was edited."""

    def init(self, measured):
        return "new"

    def renewed(self, measured):
        return "edited"


@pytest.mark.parametrize("strategy", [Grow(Counting(0.1)), Prune(Counting(0.1))])
def test_triggers_begin_anew_on_axes_that_were_edited(strategy):
    axes = {"h": measured(5)}
    assert strategy.init(axes)["axes"] == {"h": "new"}
    assert strategy.renewed(axes) == {"h": "edited"}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Grow(schedule=Linear(4, 8)), set()),
        (Grow(FractionOfWidth(0.1)), set()),
        (Grow(EffectiveDimension()), {"activations"}),
        (Grow(AuxiliaryGradient()), {"gradients"}),
        (Prune(FractionOfWidth(0.1)), set()),
        (Prune(FractionOfWidth(0.1), MostSimilar()), {"activations"}),
        (GrowAndPrune(Grow(AuxiliaryGradient()), Prune(LostDimension())), {"activations", "gradients"}),
    ],
)
def test_what_is_asked_of_measurements_is_what_the_parts_need(strategy, expected):
    assert strategy.requirements() == expected
    assert strategy.needs_inputs == ("activations" in expected)
    assert strategy.needs_gradients == ("gradients" in expected)


def test_an_axis_is_idle_when_neither_part_can_act_on_it_and_each_says_why():
    grow, prune = (
        Grow(Never(0.1, why="No more"), axes=("a", "b", "d")),
        Prune(Never(0.1, why="No less"), axes=("b", "c", "d")),
    )
    strategy = GrowAndPrune(grow, prune)
    axes = {axis: replace(measured(5, units), axis=axis) for axis, units in zip("abcde", (4, 5, 6, 20, 3), strict=True)}
    found = strategy.idle(axes, strategy.init(axes))
    assert found == {"a": "No more.", "b": "No more. No less.", "c": "No less."}


def test_every_n_steps_says_when_to_look():
    strategy = GrowAndPrune(Grow(schedule=Linear(units=4, steps=8)), Prune(LostDimension(), schedule=EveryNSteps(5)))
    assert [strategy.due(step) for step in range(1, 11)].count(True) >= 4
    assert strategy.due(5)
    assert strategy.axes is None
