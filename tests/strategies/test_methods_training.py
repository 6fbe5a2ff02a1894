"""Every published strategy grows dense, convolutional and residual networks while they train."""

import json

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructuralTraining, statistics, strategies
from keras_struct.activations import relu1
from keras_struct.applications import VGG11, WideResNet28
from keras_struct.core.model.parts import parts_of
from keras_struct.initializers import Bridge, LargestGradient, RandomFanIn, Select
from keras_struct.layers import GrowableConv2D, GrowableDense
from keras_struct.measure.probes.paths import shortcuts
from keras_struct.policies.policy import pack, unpack
from keras_struct.schedules import EveryNSteps, Linear
from keras_struct.strategies import Grow
from keras_struct.triggers import (
    AuxiliaryGradient,
    Convergence,
    EffectiveDimension,
    FractionOfWidth,
    OrthogonalityGap,
    WeightEffectiveDimension,
)

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

layers = keras.layers
RNG = np.random.default_rng(0)
EAGER = {
    "NorthSelect": EffectiveDimension(gamma=0.5),
    "NorthPre": EffectiveDimension(gamma=0.5),
    "NorthRandom": EffectiveDimension(gamma=0.5),
    "NorthWeight": WeightEffectiveDimension(gamma=0.5),
    "GradMax": AuxiliaryGradient(threshold_factor=0.01),
    "Firefly": AuxiliaryGradient(threshold_factor=0.01),
    "NeST": AuxiliaryGradient(threshold_factor=0.01),
}


def dense():
    hidden = [GrowableDense(4, activation=relu1, name=f"h{i}") for i in (1, 2)]
    return StructuralModel([keras.Input((12,)), *hidden, layers.Dense(3, activation="softmax")]), (12,)


def convolutional():
    stack = [
        GrowableConv2D(3, 3, padding="same", activation=relu1, name="c1"),
        layers.MaxPooling2D(),
        GrowableConv2D(4, 3, padding="same", use_bias=False, name="c2"),
        layers.BatchNormalization(),
        layers.Activation(relu1),
        layers.Flatten(),
    ]
    return StructuralModel([keras.Input((8, 8, 2)), *stack, layers.Dense(3, activation="softmax")]), (8, 8, 2)


def residual():
    inputs = keras.Input((6, 6, 2))
    x = GrowableConv2D(3, 3, padding="same", name="stem")(inputs)
    for i in range(2):
        y = layers.Activation(relu1)(layers.BatchNormalization()(x))
        y = GrowableConv2D(4, 3, padding="same", activation=relu1, name=f"inner{i}")(y)
        x = layers.Add(name=f"add{i}")([x, GrowableConv2D(3, 3, padding="same", name=f"back{i}")(y)])
    x = layers.GlobalAveragePooling2D()(layers.Activation(relu1)(x))
    return StructuralModel(inputs, layers.Dense(3, activation="softmax")(x)), (6, 6, 2)


def data(shape, samples=64):
    return RNG.standard_normal((samples, *shape)).astype("float32"), RNG.integers(0, 3, samples)


NETWORKS = dict.fromkeys(("NorthSelect", "Firefly"), (dense, convolutional, residual)) | {
    "NorthPre": (dense, residual),
    "NorthRandom": (dense, convolutional),
    "NorthWeight": (convolutional, residual),
    "GradMax": (dense, residual),
    "NeST": (dense, convolutional),
}


@pytest.mark.parametrize(("name", "build"), [(name, build) for name in EAGER for build in NETWORKS[name]])
@pytest.mark.filterwarnings("ignore:.*units that axis .* is to get")
def test_it_grows_while_it_trains_and_keeps_to_the_limit(name, build):
    keras.utils.set_random_seed(0)
    model, shape = build()
    x, y = data(shape, 32)
    fewer = {"initializer": Bridge(candidates=50)} if name == "NeST" and build is not dense else {}
    strategy = getattr(strategies, name)(trigger=EAGER[name], max_units=7, schedule=EveryNSteps(2), **fewer)
    optimizer = "adam" if build is dense else "sgd"
    model.compile(optimizer, "sparse_categorical_crossentropy", strategy=strategy)
    history = model.fit(x, y, batch_size=8, epochs=1, verbose=0)
    assert history.structure, "nothing grew"
    assert all(width <= 7 for width in model.structure.axes.values())
    assert np.isfinite(history.history["loss"]).all()
    if name.startswith("North") or name == "GradMax":
        assert not any(event.change >= 1e-4 for event in history.structure)
    assert unpack(json.loads(json.dumps(pack(strategy)))) == strategy


def test_units_tied_by_residual_connections_grow_together():
    model, shape = residual()
    assert {"stem", "inner0", "inner1"} == set(model.structure.axes)
    x, y = data(shape)
    model.compile("adam", "sparse_categorical_crossentropy", strategy=Grow(schedule=Linear(4, 4), axes="stem"))
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert {model.get_layer(name).filters for name in ("stem", "back0", "back1")} == {7}


def test_residual_connections_are_found_and_switched_off_for_measuring():
    model, shape = residual()
    x, _ = data(shape)
    network = parts_of(model).live.network
    assert {(call.layer, place) for call, place in shortcuts(network)} == {("add0", 0), ("add1", 0)}
    probe = parts_of(model).observation.probe
    without = probe.measure(x, ["inner1"], {}, residual=False)["inner1"].gram()
    branch = keras.Model(model.inputs[0], model.get_layer("back0").output)(x)
    follow = model.layers[model.layers.index(model.get_layer("add0")) + 1 :][:2]
    for layer in follow:
        branch = layer(branch)
    hidden = np.asarray(model.get_layer("inner1")(branch)).reshape(-1, 4)
    np.testing.assert_allclose(without, hidden.T @ hidden / len(hidden), rtol=1e-4, atol=1e-6)
    assert not np.allclose(without, probe.measure(x, ["inner1"], {})["inner1"].gram())


def test_the_published_networks_take_every_kind_of_strategy():
    for build, size in ((VGG11, (32, 32, 3)), (WideResNet28, (16, 16, 3))):
        keras.utils.set_random_seed(0)
        model = build(input_shape=size, width=1 / 16, num_classes=3)
        x, y = data(size, 6)
        names = list(model.structure.axes)[:3]
        for strategy in (
            *([Grow(FractionOfWidth(0.5), RandomFanIn(), max_units=40, axes=names)] if build is VGG11 else []),
            Grow(FractionOfWidth(0.5), LargestGradient(), max_units=40, axes=names),
            Grow(FractionOfWidth(0.5), Select(candidates=3), max_units=40, axes=names),
        ):
            model.compile("sgd", "sparse_categorical_crossentropy", strategy=strategy, probe=x, targets=y)
            before = model.count_params()
            model.train_on_batch(x, y)
            events = model.structural_step()
            assert len(events) == 3
            assert max(event.change for event in events) < 1e-4
            assert model.count_params() > before


def test_round_robin_takes_one_axis_after_the_other():
    model, shape = dense()
    x, y = data(shape)
    strategy = Grow(FractionOfWidth(0.25), round_robin=True, schedule=EveryNSteps(1))
    model.compile("adam", "sparse_categorical_crossentropy", strategy=strategy)
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert [(event.step, event.axis) for event in model.structure_log] == [(1, "h1"), (2, "h2"), (3, "h1"), (4, "h2")]


@pytest.mark.parametrize("build", [dense, convolutional, residual])
def test_budgets_of_the_whole_model_are_kept_and_used(build):
    model, shape = build()
    x, y = data(shape)
    budget = int(model.count_params() * 1.5)
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        strategy=Grow(FractionOfWidth(0.5), max_parameters=budget, max_units=99),
    )
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert 0.8 * budget < model.count_params() <= budget
    model, _ = build()
    budget = int(statistics.flops(model) * 1.5)
    model.compile(
        "sgd", "sparse_categorical_crossentropy", strategy=Grow(FractionOfWidth(0.5), max_flops=budget, max_units=99)
    )
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    assert 0.8 * budget < statistics.flops(model) <= 1.01 * budget


def test_a_trigger_on_the_loss_sees_the_loss_of_each_step():
    class Recording(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(parts_of(self.model).observation.loss)

    model, shape = dense()
    x, y = data(shape)
    model.compile(
        "sgd", "sparse_categorical_crossentropy", strategy=Grow(Convergence(units=1, window=4, threshold=10.0))
    )
    recording = Recording()
    recording.seen = []
    plain = keras.models.clone_model(keras.Model(model.inputs[0], model.outputs[0]))
    plain.set_weights(model.get_weights())
    plain.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0, callbacks=[recording])
    expected = []
    for start in range(0, 64, 16):
        plain.reset_metrics()
        expected.append(float(plain.train_on_batch(x[start : start + 16], y[start : start + 16])))
    np.testing.assert_allclose(recording.seen, expected, rtol=1e-4)
    model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    assert model.structure_log


@pytest.mark.parametrize("kind", [OrthogonalityGap, EffectiveDimension, WeightEffectiveDimension])
@pytest.mark.parametrize("build", [dense, convolutional])
def test_measures_of_orthogonality_work_on_every_layer(kind, build):
    model, shape = build()
    x, _ = data(shape)
    for measured in parts_of(model).observation.probe.measure(x, list(model.structure.axes), {}).values():
        assert 0 <= kind().measure(measured) <= 1


def test_gradient_strategies_work_in_a_callback_and_in_a_loop():
    plain = keras.Sequential(
        [keras.Input((12,)), layers.Dense(4, activation="tanh", name="h"), layers.Dense(3, activation="softmax")]
    )
    plain.compile("adam", "sparse_categorical_crossentropy")
    x, y = data((12,))
    strategy = strategies.GradMax(trigger=EAGER["GradMax"], max_units=8)
    with pytest.raises(ValueError, match="targets=y"):
        StructuralTraining(strategy, probe=x)
    training = StructuralTraining(strategy, probe=x, targets=y)
    plain.fit(x, y, epochs=2, verbose=0, callbacks=[training])
    assert training.structure_log

    model, _ = dense()
    model.compile("adam", "sparse_categorical_crossentropy", strategy=strategy)
    for _ in range(3):
        logs = model.train_on_batch(x, y, sample_weight=np.ones(len(x)), return_dict=True)
        model.structural_step(x, logs, targets=y, sample_weight=np.ones(len(x), "float32"))
    assert model.structure_log


def test_gradients_need_a_loss_and_more_than_half_precision():
    model, shape = dense()
    with pytest.raises(ValueError, match="needs a loss, and the model has none"):
        model.compile("adam", strategy=strategies.GradMax())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, _ = dense()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="cannot work in float16"):
        model.compile("adam", "sparse_categorical_crossentropy", strategy=strategies.GradMax())


def test_a_unit_axis_that_nothing_reads_is_explained():
    inputs = keras.Input((5,))
    hidden = layers.Dense(3, name="h", activation="tanh")(inputs)
    model = StructuralModel(inputs, layers.Dense(1)(layers.LSTM(2)(layers.Reshape((1, 3))(hidden))))
    assert "h" in model.structure.locked or "h" in model.structure.axes
    if "h" in model.structure.axes:
        with pytest.raises(ValueError, match=r"nothing to act on.*Cannot (compute gradients|follow)"):
            model.compile("sgd", "mse", strategy=strategies.GradMax(axes="h"))


def test_plain_relu_under_gradmax_is_refused_before_training():
    stack = [keras.Input((5,)), layers.Dense(3, activation="relu", name="h"), layers.Dense(1)]
    model = StructuralModel(stack)
    with pytest.raises(ValueError, match="relu1"):
        model.compile("sgd", "mse", strategy=strategies.GradMax())
    x, y = np.ones((8, 5), "float32"), np.ones((8, 1), "float32")
    with pytest.raises(ValueError, match="relu1"):
        model.compile("sgd", "mse", strategy=strategies.GradMax(), probe=x, targets=y)


@pytest.mark.filterwarnings(
    "ignore:.*units that axis .* is to get", "ignore:.*effective dimension.*starts", "ignore:.*once"
)
def test_constant_and_dead_inputs_add_nothing_and_do_not_fail():
    for fill in (0.0, 1.0):
        for name in EAGER:
            model, shape = dense()
            x, y = np.full((32, *shape), fill, "float32"), np.zeros(32, int)
            strategy = getattr(strategies, name)(max_units=9)
            model.compile("sgd", "sparse_categorical_crossentropy", strategy=strategy)
            with np.errstate(all="raise"):
                model.fit(x, y, batch_size=16, epochs=1, verbose=0)
