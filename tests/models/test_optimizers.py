"""Every optimizer's state follows the structure (on every backend: `KERAS_BACKEND=jax python -m pytest ...`)."""

import keras
import numpy as np
import pytest

from keras_struct import NEW, StructuralModel, grow, prune, split
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense
from keras_struct.testing import check_edit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 5)).astype("float32")
Y = RNG.standard_normal((16, 2)).astype("float32")
IMAGES = RNG.standard_normal((8, 6, 6, 2)).astype("float32")
VALUES = {"h1/kernel": RNG.standard_normal((5, 2)).astype("float32")}
UNIT_AXIS = {"h1/kernel": 1, "h1/bias": 0, "h2/kernel": 0}
TENSORFLOW = keras.backend.backend() == "tensorflow"
optimizers = keras.optimizers
decay = optimizers.schedules.ExponentialDecay

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(decay(0.01, 10, 0.9), amsgrad=True, global_clipnorm=1.0),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.01, clipvalue=0.5),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "ftrl": lambda: optimizers.Ftrl(0.05, initial_accumulator_value=0.2),
    "lion": lambda: optimizers.Lion(0.005),
    "lamb": lambda: optimizers.Lamb(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=4.0),
    "loss_scale_ema": lambda: optimizers.LossScaleOptimizer(
        optimizers.SGD(0.05, momentum=0.9, use_ema=True), initial_scale=4.0, dynamic_growth_steps=2
    ),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "ema_overwrite": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
    "accumulation": lambda: optimizers.AdamW(0.01, gradient_accumulation_steps=3),
    "accumulation_ema": lambda: optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=3, use_ema=True),
}


def two_layers():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), keras.layers.Dense(4, activation="tanh", name="h1")]
    return keras.Sequential([*layers, keras.layers.Dense(2, activation="tanh", name="h2")])


def mlp():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), keras.layers.Dense(4, activation="tanh", name="h1")]
    return keras.Sequential([*layers, keras.layers.Dense(4, activation="tanh", name="h2"), keras.layers.Dense(2)])


def convolutional():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.Activation("tanh")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same", name="branch")(x)])
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


TRACED = {"momentum", "muon", "schedule_free", "loss_scale_ema", "accumulation"}
"""Optimizers whose steps are compiled; those of the others are run eagerly, which takes less time where they are few."""


def compiled(name):
    model = StructuralModel.from_model(two_layers())
    model.compile(OPTIMIZERS[name](), "mse", run_eagerly=TENSORFLOW and name not in TRACED)
    return model


def built(name):
    """A model with a built optimizer whose slots have values as after training."""
    model = two_layers()
    model.compile(OPTIMIZERS[name](), "mse")
    model.optimizer.build(model.trainable_variables)
    scramble(model.optimizer)
    return model


def scramble(optimizer):
    """Give every slot of a built optimizer other values, as training would."""
    for variable in optimizer.variables:
        if len(variable.shape):
            variable.assign(np.random.default_rng(1).uniform(0.1, 1.0, variable.shape).astype("float32"))


def values(variables):
    return [current().read(variable) for variable in variables]


def place_of(slot):
    """Name of the weight that a slot follows, without the model's name."""
    return "/".join(slot.reference.path.split("/")[-2:])


def expected(slot, old, source, fresh):
    """What a slot must hold after an edit of axis h1, computed by hand."""
    if (axis := UNIT_AXIS.get(place_of(slot))) is None:
        return old
    new, copies = source == NEW, np.array([(source == unit).sum() for unit in source], "float32")
    value = np.moveaxis(np.take(old, np.maximum(source, 0), axis=axis), axis, 0)
    if slot.copies and place_of(slot) == "h2/kernel":
        value /= copies[:, None]
    value[new] = np.moveaxis(fresh, axis, 0)[new]
    return np.moveaxis(value, 0, axis)


def check_taken_over(converted, optimizer):
    for left, right in zip(converted.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(*values((left, right)), err_msg=right.path)
    assert all(id(v) not in {id(w) for w in optimizer.variables} for v in converted.optimizer.variables)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_are_taken_over_and_follow_bit_for_bit_and_new_entries_are_those_of_a_fresh_optimizer(name):
    source = built(name)
    model = StructuralModel.from_model(source)
    check_taken_over(model, source.optimizer)
    edits = (lambda: split("h1", 4, [1]), lambda: grow("h1", 5, 2, VALUES), lambda: prune("h1", 7, [2, 5]))
    for edit in edits:
        slots = list(parts_of(model).editor.optimizer.slots)
        old = values(s.variable for s in slots)
        event = model.apply(edit())
        rebuilt = type(model.optimizer).from_config(model.optimizer.get_config())
        rebuilt.build(model.trainable_variables)
        twins = dict(zip(map(id, model.optimizer.variables), rebuilt.variables, strict=True))
        for slot, before in zip(slots, old, strict=True):
            fresh = current().read(slot.reference if slot.copies else twins[id(slot.variable)])
            now = current().read(slot.variable)
            np.testing.assert_array_equal(now, expected(slot, before, np.asarray(event.source), fresh))
            assert tuple(slot.variable.shape) == tuple(slot.reference.shape) == now.shape
        known = {id(slot.variable) for slot in slots}
        others = [v for v in model.optimizer.variables if id(v) not in known]
        assert all(len(v.shape) == 0 for v in others), "numbers of the whole optimizer"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_grown_model_trains_on_saved_or_not(tmp_path, name):
    model = compiled(name)
    for _ in range(2):
        model.train_on_batch(X, Y)
    events = [model.split("h1", [1]), model.grow("h1", 2), model.prune("h1", [6])]
    assert any(event.retraced for event in events) == (name == "muon" and TENSORFLOW)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for left, right in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*values((left, right)), err_msg=right.path)
    before = values(model.trainable_variables)
    loaded.run_eagerly = TENSORFLOW  # sooner done than a trace of so few steps
    losses = [[float(m.train_on_batch(X, Y)) for _ in range(3)] for m in (model, loaded)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert np.isfinite(losses).all()
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert (old != current().read(variable)).any(), f"{variable.path} does not move any more"


@pytest.mark.parametrize("name", ["momentum", "adam", "muon", "schedule_free", "loss_scale_ema", "accumulation_ema"])
def test_a_loaded_optimizer_is_taken_over_bit_for_bit(tmp_path, name):
    model = built(name)
    model.save(tmp_path / "model.keras")
    check_taken_over(StructuralModel.from_model(keras.models.load_model(tmp_path / "model.keras")), model.optimizer)


@pytest.mark.parametrize("edit", [lambda model: model.split("stem", [0, 2]), lambda model: model.grow("stem", 2)])
def test_a_residual_convolution_with_statistics_follows_too(edit):
    check_edit(convolutional, edit, IMAGES, Y[:8], optimizer="adam")


def test_new_entries_can_have_the_mean_of_the_others():
    model = StructuralModel.from_model(mlp())
    model.compile("adam", "mse", new_slots="mean")
    scramble(model.optimizer)
    model.grow("h1", 1)
    (slot, *_) = [s for s in parts_of(model).editor.optimizer.slots if place_of(s) == "h1/kernel"]
    value = current().read(slot.variable)
    np.testing.assert_allclose(value[:, 4], value[:, :4].mean(axis=1), rtol=1e-5)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["adam", "momentum", "loss_scale", "schedule_free", "accumulation"])
def test_a_converted_model_trains_on_as_the_one_that_it_comes_from(name):
    model = two_layers()
    model.compile(
        OPTIMIZERS[name](), lambda y, p: keras.ops.mean((y - p) ** 2), metrics=[keras.metrics.RootMeanSquaredError()]
    )
    for _ in range(2):
        model.train_on_batch(X, Y)
    converted = StructuralModel.from_model(model)
    losses = [[net.train_on_batch(X, Y) for _ in range(3)] for net in (model, converted)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "lamb", "accumulation_ema"])
def test_a_structural_model_trains_exactly_as_a_plain_one(name):
    losses, options = [], {"jit_compile": False, "run_eagerly": name not in ("sgd", "adam")}
    for kind, dense in ((keras.Model, keras.layers.Dense), (StructuralModel, GrowableDense)):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5,))
        hidden = keras.layers.Dropout(0.2, seed=3)(dense(6, activation="relu")(inputs))
        model = kind(inputs, keras.layers.Dense(2)(hidden))
        model.compile(OPTIMIZERS[name](), "mse", **(options if TENSORFLOW else {}))
        losses.append(model.fit(X, Y, epochs=2, batch_size=10, verbose=0, shuffle=False).history["loss"])
    assert losses[0] == losses[1]


UNKNOWN = {"Adafactor": optimizers.Adafactor}
if hasattr(optimizers, "MultiOptimizer"):
    UNKNOWN["MultiOptimizer"] = lambda: optimizers.MultiOptimizer([(optimizers.Adam(), None)])


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, optimizers.LossScaleOptimizer])
def test_an_optimizer_whose_state_cannot_follow_is_refused_at_compile(name, wrap):
    with pytest.raises(ValueError, match=f"cannot carry the state of the optimizer {name}.*Compile with another one"):
        StructuralModel.from_model(mlp()).compile(wrap(UNKNOWN[name]()), "mse")


@pytest.mark.usefixtures("eager")
def test_an_edit_in_the_middle_of_gradient_accumulation_keeps_what_was_accumulated():
    """The old units move as if nothing had happened: here their gradients do not depend on the new unit."""
    models = [StructuralModel.from_model(mlp()) for _ in range(2)]
    for model in models:
        model.compile(optimizers.SGD(0.1, gradient_accumulation_steps=3), "mse")
    for step in range(3):
        if step == 1:
            models[0].grow("h1", 2)
            models[0].prune("h1", [4])
        for model in models:
            model.train_on_batch(X, Y)
    left, right = (model.get_layer("h1").kernel for model in models)
    np.testing.assert_allclose(current().read(left)[:, :4], current().read(right), rtol=1e-6)
    start = current().read(mlp().layers[0].kernel)
    assert np.abs(current().read(right) - start).max() > 1e-4


def test_variables_without_weight_decay_keep_to_do_without():
    model = mlp()
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[model.layers[0].kernel])
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    for converted in (StructuralModel.from_model(model), StructuralModel(model.inputs, model.outputs)):
        if not converted.compiled:
            converted.compile(optimizer, "mse")
        converted.grow("h1", 2)
        decays = [converted.optimizer._use_weight_decay(v) for v in converted.trainable_variables]
        assert decays == [False, True, True, True, True, True]


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:.*is not trainable")
def test_layers_that_were_frozen_after_compiling_are_no_trouble():
    model = mlp()
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)
    model.layers[1].trainable = False
    converted = StructuralModel.from_model(model)
    slots = {place_of(s): current().read(s.variable) for s in parts_of(converted).editor.optimizer.slots}
    assert set(slots) == {"h1/kernel", "h1/bias", "dense/kernel", "dense/bias"} or len(slots) == 4
    assert int(converted.optimizer.iterations) == 1
    assert all(np.abs(value).max() > 0 for value in slots.values())
    frozen = current().read(converted.get_layer("h2").kernel)
    converted.split("h1", [0])
    converted.train_on_batch(X, Y)
    assert (current().read(converted.get_layer("h2").kernel)[1:4] == frozen[1:]).all()


def test_a_new_optimizer_is_followed_from_its_first_edit_on():
    model = compiled("sgd")
    model.compile(OPTIMIZERS["adam"](), "mse")
    scramble(model.optimizer)
    model.grow("h1", 2)
    assert tuple(model.optimizer.variables[2].shape) == (5, 6)
    assert np.isfinite(float(model.train_on_batch(X, Y)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
def test_weights_of_any_precision_follow_with_their_slots(tmp_path, policy):
    if (keras.backend.backend(), policy) == ("jax", "float64"):
        pytest.skip("JAX has no float64 unless it is asked for before it starts")
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled("adam")
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    for edit in (lambda: model.grow("h1", 2), lambda: model.split("h1", [0]), lambda: model.prune("h1", [1])):
        model.train_on_batch(X, Y)
        edit()
    kinds = {str(s.variable.dtype) for s in parts_of(model).editor.optimizer.slots}
    assert kinds == {policy if "mixed" not in policy else "float32"}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    losses = [[float(m.train_on_batch(X, Y)) for _ in range(2)] for m in (model, loaded)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.usefixtures("eager")
def test_a_function_can_be_the_learning_rate():
    model = StructuralModel.from_model(mlp())
    model.compile(optimizers.Adam(learning_rate=lambda: 0.01), "mse")
    model.train_on_batch(X, Y)
    model.grow("h1", 2)
    assert np.isfinite(float(model.train_on_batch(X, Y)))
