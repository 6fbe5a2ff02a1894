"""A model is pruned until it costs no more than it may."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_struct import Budget, StructuralModel, initializers, selectors, strategies, triggers
from keras_struct.statistics import flops
from keras_struct.units import budget as budgets

layers = keras.layers
pytestmark = pytest.mark.usefixtures("eager_module")  # what is pruned does not depend on how steps are compiled


def built(**options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", name="first", **options)(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    y = layers.Conv2D(16, 3, padding="same", activation="relu", name="inner")(x)
    x = layers.Add()([x, layers.Conv2D(16, 1, name="back")(y)])
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    return StructuralModel.from_model(keras.Model(inputs, layers.Dense(4)(layers.Dense(32, name="hidden")(x))))


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((64, 8, 8, 3)).astype("float32"), rng.standard_normal((64, 4)).astype("float32")


@pytest.fixture(scope="module")
def network(eager_module):
    """A compiled model, inputs and targets that it measures, and the weights that it begins with."""
    model, (x, y) = built(), data()
    model.compile("sgd", "mse", probe=x, targets=y)
    return model, x, y, model.get_weights()


@pytest.fixture
def with_data(network):
    """The same model as it was at first, for tests that do not compile it again."""
    *given, weights = network
    network[0].set_weights(weights)
    return given


@pytest.fixture(scope="module")
def unchanged(eager_module):
    """A model for what is refused."""
    return built()


@pytest.mark.parametrize(
    ("scope", "share"), [("global", 0.75), ("global", 0.2), ("local", 0.75), ("local", 0.5), ("local", 0.2)]
)
def test_operations_come_down_to_the_share_that_is_allowed_and_not_much_further(with_data, scope, share):
    model, x, y = with_data
    before = flops(model)
    events = model.prune(budget=Budget(flops=share), scope=scope)
    assert 0.75 * share <= flops(model) / before <= share
    assert {event.axis for event in events} <= set(model.structure.axes)
    assert np.isfinite(model.train_on_batch(x, y))


def test_parameters_can_be_given_as_a_number_and_both_limits_hold(network, with_data):
    model, _, _, weights = network
    model.prune(budget=Budget(parameters=2000))
    assert 1500 <= model.count_params() <= 2000
    model.set_weights(weights)
    before = flops(model)
    model.prune(budget=Budget(parameters=3000, flops=0.3))
    assert model.count_params() <= 3000
    assert flops(model) <= 0.3 * before


def test_global_ranking_takes_units_where_they_are_worth_least_and_local_ranking_everywhere_the_same(with_data):
    model, _, _ = with_data
    kernel = model.get_layer("inner").kernel
    kernel.assign(np.asarray(kernel) * np.where(np.arange(16) < 12, 1e-4, 1.0))
    local = StructuralModel.from_model(model)
    model.prune(budget=Budget(flops=0.6), selector=selectors.Magnitude())
    local.prune(budget=Budget(flops=0.6), selector=selectors.Magnitude(), scope="local")
    assert model.structure.axes["inner"] < 9 <= model.structure.axes["first"]
    assert local.structure.axes["inner"] == local.structure.axes["first"]


def test_widths_are_multiples_and_no_smaller_than_the_minimum(with_data):
    model, _, _ = with_data
    model.prune(budget=Budget(flops=0.4), multiple=4, minimum=8)
    assert all(width % 4 == 0 and width >= 8 for width in model.structure.axes.values())


def test_only_the_axes_that_are_named_are_pruned(with_data):
    model, _, _ = with_data
    model.prune(budget=Budget(flops=0.7), axes=["inner"])
    assert model.structure.axes["first"] == 16
    assert model.structure.axes["inner"] < 16


@pytest.mark.parametrize("selector", [selectors.Taylor(), selectors.MostSimilar(), selectors.OptimalBrainSurgeon()])
def test_selectors_that_need_data_prune_to_a_budget_too(with_data, selector, tmp_path):
    model, x, y = with_data
    before = flops(model)
    model.prune(budget=Budget(flops=0.5), selector=selector)
    assert flops(model) <= 0.5 * before
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_latency_is_measured_on_pruned_copies(with_data, monkeypatch):
    model, _, _ = with_data
    monkeypatch.setattr(budgets, "_latency", lambda measured, shape: float(flops(measured)))
    before = flops(model)
    model.prune(budget=Budget(latency=0.5))
    assert 0.4 * before <= flops(model) <= 0.5 * before


def test_a_time_is_the_median_of_the_passes_behind_the_first_two(unchanged, monkeypatch):
    passes = [1000.0, 1000.0, *range(1, budgets.PASSES + 1)]
    readings = iter([reading for i, seconds in enumerate(passes) for reading in (5e4 * i, 5e4 * i + seconds)])
    monkeypatch.setattr(budgets, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    seen = []
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda model, x: seen.append(x.shape))
    assert budgets._latency(unchanged, None) == (budgets.PASSES + 1) / 2
    assert seen == [(1, 8, 8, 3)] * (budgets.PASSES + 2)


def test_a_model_within_the_budget_stays_as_it_is(with_data):
    model, _, _ = with_data
    assert model.prune(budget=Budget(flops=1.0)) == []


def test_a_budget_that_cannot_be_met_says_what_is_least_and_changes_nothing(with_data):
    model, _, _ = with_data
    before, widths = model.get_weights(), dict(model.structure.axes)
    with pytest.raises(ValueError, match=r"with 1 units left on each of the 3 axes it still costs [\d,]+ operations"):
        model.prune(budget=Budget(flops=100))
    assert dict(model.structure.axes) == widths
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "(exactly one of|a budget is for the model)"),
        ({"axis": "inner", "budget": Budget(flops=0.5)}, "(exactly one of|a budget is for the model)"),
        ({"budget": Budget(flops=0.5), "count": 3}, "exactly one of"),
        ({"budget": Budget(flops=0.5), "scope": "all"}, "`scope` must be"),
        ({"budget": Budget(flops=0.5), "minimum": 0}, "must be at least 1"),
        ({"budget": Budget(flops=0.5), "axes": ["outer"]}, r"Cannot prune axes \['outer'\]"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(unchanged, arguments, message):
    with pytest.raises(ValueError, match=message):
        unchanged.prune(**arguments)


@pytest.mark.parametrize("given", [{}, {"flops": 0}, {"flops": -1.0}, {"latency": 2}])
def test_budgets_that_mean_nothing_are_refused(given):
    with pytest.raises(ValueError, match="budget"):
        Budget(**given)


def test_a_model_in_which_nothing_can_be_edited_says_why():
    model = StructuralModel([keras.Input((4,)), layers.Dense(3, name="only")])
    with pytest.raises(ValueError, match=r"no axis that can be edited .*only: its units are an output"):
        model.prune(budget=Budget(flops=0.5))


@pytest.mark.parametrize("scope", ["global", "local"])
def test_a_share_of_the_units_goes(with_data, scope):
    model, _, _ = with_data
    before = dict(model.structure.axes)
    worth = {axis: selectors.Magnitude().scores(model.measure(axis)) for axis in before}
    model.prune(fraction=0.25, selector=selectors.Magnitude(), scope=scope)
    after = model.structure.axes
    if scope == "local":
        assert after == {axis: round(0.75 * width) for axis, width in before.items()}
    else:
        relative = np.sort(np.concatenate([part / part.mean() for part in worth.values()]))
        limit = relative[len(relative) // 4 - 1]
        assert after == {axis: int((part / part.mean() > limit).sum()) for axis, part in worth.items()}


def test_saliencies_are_compared_with_the_mean_of_their_axis_and_where_none_is_worth_anything_all_are_average(
    with_data,
):
    model, _, _ = with_data
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.asarray(kernel) * 1e-3)
    found = budgets.Ranking(model, selectors.Magnitude()).relative
    for axis, worth in found.items():
        scores = selectors.Magnitude().scores(model.measure(axis))
        np.testing.assert_allclose(worth, scores / scores.mean())
    kernel.assign(np.zeros(kernel.shape))
    relative = budgets.Ranking(model, selectors.Magnitude(), axes=["hidden"]).relative
    np.testing.assert_array_equal(relative["hidden"], np.ones(32))


def test_units_below_a_threshold_go_and_no_others(with_data):
    model, _, _ = with_data
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.asarray(kernel) * np.where(np.arange(32) % 4, 1.0, 0.01))
    event = model.prune("hidden", threshold=0.1, selector=selectors.Magnitude())
    assert event.source == tuple(i for i in range(32) if i % 4)
    assert model.prune("hidden", threshold=0.1, selector=selectors.Magnitude()) is None
    assert model.prune(threshold=1e-6) == []
    kernel.assign(np.where(np.arange(24) % 2, 3.0, 1.0) * np.ones((16, 1)))
    assert model.prune("hidden", threshold=0.5, selector=selectors.Magnitude()) is None, (
        "none is below half of the mean"
    )
    assert model.prune("hidden", threshold=0.51, selector=selectors.Magnitude()).after == 12


def test_a_share_of_one_axis_keeps_its_minimum_and_a_multiple(with_data):
    model, _, _ = with_data
    assert model.prune("hidden", fraction=0.3, multiple=8).after == 24
    assert model.prune("hidden", fraction=0.9, minimum=20).after == 20
    with pytest.raises(ValueError, match="Cannot prune axis 'hidden' to 18 units: `minimum` is 20"):
        model.prune("hidden", count=2, minimum=20)
    with pytest.raises(ValueError, match="`minimum` is 20"):
        model.prune("hidden", units=[0], minimum=20)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "exactly one of"),
        ({"fraction": 0.5, "budget": Budget(flops=0.5)}, "exactly one of"),
        ({"axis": "hidden", "count": 1, "threshold": 1.0}, "exactly one of"),
        ({"count": 1}, "need an axis"),
        ({"axis": "hidden", "budget": Budget(flops=0.5)}, "a budget is for the model"),
        ({"fraction": 1.0}, "`fraction` is the share"),
        ({"fraction": 0.0}, "`fraction` is the share"),
        ({"threshold": 0.0}, "`threshold` is a positive multiple"),
        ({"axis": "hiden", "fraction": 0.5}, "there is no such axis"),
    ],
)
def test_how_much_goes_must_be_said_once(with_data, options, expected):
    model, _, _ = with_data
    before = dict(model.structure.axes)
    with pytest.raises(ValueError, match=expected):
        model.prune(**options)
    assert model.structure.axes == before


@pytest.mark.parametrize(
    ("probe", "targets", "expected"),
    [
        (np.zeros((8, 8, 8, 4)), None, r"`probe` must hold inputs of the model, of shapes \[\(None, 8, 8, 3\)\]"),
        (np.zeros((8, 8, 3)), None, "`probe` must hold inputs"),
        ([np.zeros((8, 8, 8, 3))] * 2, None, "`probe` must hold inputs"),
        (np.zeros((8, 8, 8, 3)), np.zeros((7, 4)), r"same number of samples. Received \[7, 8\]"),
        (
            np.zeros((8, 8, 8, 3)),
            np.zeros((8, 5)),
            r"The loss cannot compare `targets` whose samples have shapes \[\(5,\)\]",
        ),
    ],
)
def test_data_of_the_wrong_shape_is_refused_when_it_is_given(unchanged, probe, targets, expected):
    with pytest.raises(ValueError, match=expected):
        unchanged.compile("adam", "mse", probe=probe, targets=targets)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"axis": "hidden", "count": 1, "selector": "taylor"}, r"such as keras_struct\.selectors\.Taylor\(\)"),
        ({"axis": "hidden", "count": 1, "selector": selectors.Fisher}, r"such as Fisher\(\)"),
        ({"budget": 0.5}, r"`budget` must be a Budget, such as Budget\(flops=0.5\)"),
    ],
)
def test_selectors_and_budgets_are_objects(unchanged, options, expected):
    with pytest.raises(TypeError, match=expected):
        unchanged.prune(**options)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("north", r"such as keras_struct\.strategies\.NorthSelect\(\)"),
        (strategies.Dyno, r"such as Dyno\(\)"),
        ([strategies.NorthRandom()], "GrowAndPrune"),
        (selectors.Taylor(), "`strategy` must be a strategy"),
    ],
)
def test_strategies_are_objects(unchanged, strategy, expected):
    with pytest.raises(TypeError, match=expected):
        unchanged.compile("adam", "mse", strategy=strategy)


def test_one_axis_may_be_named_without_a_list():
    model = built()
    model.prune(fraction=0.5, axes="hidden")
    assert model.structure.axes == {"first": 16, "inner": 16, "hidden": 16}


def test_progress_shows_widths_of_small_networks_and_their_sum_of_large_ones():
    keras.utils.set_random_seed(0)
    x, y = np.zeros((8, 4)), np.zeros((8, 1))
    for depth, names in ((12, {f"d{i}_units" for i in range(12)}), (13, {"units"})):
        stack = [keras.Input((4,)), *(layers.Dense(2, name=f"d{i}") for i in range(depth)), layers.Dense(1)]
        model = StructuralModel(stack)
        model.compile("sgd", "mse", strategy=strategies.Dyno(minimum=1), probe=np.zeros((64, 4)))
        history = model.fit(x, y, verbose=0)
        assert set(history.history) == {"loss", "parameters", *names}


def of_any_size():
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((None, None, 3), name="a"), keras.Input((None, 4), name="b")]
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu", name="c")(inputs[0]))
    y = layers.GlobalAveragePooling1D()(layers.Conv1D(6, 3, padding="same", activation="relu", name="d")(inputs[1]))
    return StructuralModel(inputs, layers.Dense(2)(layers.Concatenate()([x, y])))


def test_operations_of_a_model_of_any_size_are_counted_for_the_size_that_is_given():
    model = of_any_size()
    with pytest.raises(ValueError, match="Pass `input_shape`"):
        model.prune(budget=Budget(flops=0.5))
    shapes = [(8, 8, 3), (20, 4)]
    before = flops(model, shapes)
    model.prune(budget=Budget(flops=0.5), input_shape=shapes)
    assert 0.3 * before < flops(model, shapes) <= 0.5 * before
    with pytest.raises(ValueError, match="`input_shape` is for a budget"):
        model.prune("c", count=1, input_shape=shapes)


@pytest.mark.parametrize("strategy", [strategies.NorthWeight, strategies.NorthRandom])
def test_a_limit_of_operations_in_training_is_that_of_the_sizes_that_are_trained_on(strategy):
    model, rng = of_any_size(), np.random.default_rng(0)
    x = [rng.standard_normal((16, 8, 8, 3)).astype("float32"), rng.standard_normal((16, 20, 4)).astype("float32")]
    limit = round(1.3 * flops(model, [(8, 8, 3), (20, 4)]))
    trigger = triggers.FractionOfWidth(0.3)
    model.compile("adam", "mse", strategy=strategy(trigger=trigger, max_units=30, max_flops=limit), run_eagerly=True)
    assert model.fit(x, np.zeros((16, 2), "float32"), batch_size=4, verbose=0).structure
    assert flops(model, [(8, 8, 3), (20, 4)]) <= limit


def test_units_are_ranked_on_data_that_are_given_after_a_training_that_kept_none():
    model, (x, y) = built(), data()
    model.compile("sgd", "mse")
    model.fit(x[:8], y[:8], verbose=0)
    with pytest.raises(ValueError, match=r"kept only while a strategy trains.*`data=\(x, y\)` to `prune`"):
        model.prune("hidden", count=2, selector=selectors.Taylor())
    with pytest.raises(ValueError, match=r"`data=x` to `prune`"):
        model.prune("hidden", count=2, selector=selectors.Activity())
    reference = StructuralModel.from_model(model)
    reference.compile("sgd", "mse", probe=x, targets=y)
    expected = selectors.Taylor()(reference.measure("hidden"), 5)
    event = model.prune("hidden", count=5, selector=selectors.Taylor(), data=(x, y))
    assert set(range(32)) - set(event.source) == set(expected)
    assert model.prune(fraction=0.1, selector=selectors.Perturbation(), data=(x, y, np.ones(64, "float32")))
    assert model.grow("hidden", 2, initializers.Select(candidates=5), data=x).change < 1e-5
    with pytest.raises(ValueError, match="must hold inputs of the model"):
        model.prune("hidden", count=1, selector=selectors.Taylor(), data=(y, y))
    with pytest.raises(ValueError, match="no batch with targets"):
        model.prune("hidden", count=1, selector=selectors.Taylor())


def test_axes_that_a_selector_cannot_rank_are_left_out_unless_they_are_named(with_data):
    model, _, _ = with_data
    with pytest.warns(UserWarning, match="BatchNormScale leaves out an axis.*'(hidden|inner)'"):
        events = model.prune(fraction=0.5, selector=selectors.BatchNormScale())
    assert {event.axis for event in events} == {"first"}
    with pytest.raises(ValueError, match="'hidden'"):
        model.prune(fraction=0.5, selector=selectors.BatchNormScale(), axes=["first", "hidden"])
