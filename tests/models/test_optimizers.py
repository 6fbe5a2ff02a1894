"""Every optimizer's state follows the structure."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, grow
from keras_struct.backend import current
from keras_struct.layers import GrowableDense
from keras_struct.testing import check_edit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 5)).astype("float32")
Y = RNG.standard_normal((16, 2)).astype("float32")
IMAGES = RNG.standard_normal((8, 6, 6, 2)).astype("float32")
optimizers = keras.optimizers

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adamax": lambda: optimizers.Adamax(0.01),
    "ftrl": lambda: optimizers.Ftrl(0.05),
    "lion": lambda: optimizers.Lion(0.005),
    "lamb": lambda: optimizers.Lamb(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.01),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=4.0),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "ema_overwrite": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "clipped": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.01, 10, 0.9), global_clipnorm=1.0),
}


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


def grow_split_and_prune(model):
    """Three edits in mid-training, the last of which keeps the function because the unit is silent."""
    axis = next(iter(model.structure.axes))
    model.split(axis, [1])
    event = model.grow(axis, 2)
    model.prune(axis, [event.after - 1])
    return model.grow(axis, 1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_after_edits_saved_or_not(name):
    model = check_edit(mlp, grow_split_and_prune, X, Y, optimizer=OPTIMIZERS[name]())
    assert model.structure.axes["h1"] == 7
    assert any(event.retraced for event in model.structure_log) == (name == "muon")


@pytest.mark.parametrize("edit", [grow_split_and_prune, lambda model: model.split("stem", [0, 2])])
def test_a_residual_convolution_with_statistics_follows_too(edit):
    check_edit(convolutional, edit, IMAGES, Y[:8], optimizer="adam")


@pytest.mark.parametrize("name", ["adam", "ftrl", "adagrad", "ema", "schedule_free"])
def test_new_entries_are_those_of_a_freshly_built_optimizer(name):
    model = StructuralModel.from_model(mlp())
    model.compile(OPTIMIZERS[name](), "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
    before = {id(s.variable): current().read(s.variable) for s in model._structural.slots}
    model.apply(grow("h1", 4, 1, {"h1/kernel": np.full((5, 1), 0.5, "float32")}))
    seen = 0
    for slot in model._structural.slots:
        if slot.reference.path.endswith("h1/kernel"):
            new = current().read(slot.variable)
            np.testing.assert_array_equal(new[:, :4], before[id(slot.variable)])
            expected = 0.5 if slot.copies else slot.initial
            np.testing.assert_array_equal(new[:, 4], np.full(5, expected, "float32"))
            seen += 1
    assert seen


def test_new_entries_can_have_the_mean_of_the_others():
    model = StructuralModel.from_model(mlp())
    model.compile("adam", "mse", new_slots="mean")
    model.train_on_batch(X, Y)
    model.grow("h1", 1)
    (slot, *_) = [s for s in model._structural.slots if s.reference.path.endswith("h1/kernel")]
    value = current().read(slot.variable)
    np.testing.assert_allclose(value[:, 4], value[:, :4].mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "momentum", "loss_scale", "schedule_free"])
def test_a_built_optimizer_is_taken_over_bit_for_bit(name):
    model = mlp()
    model.compile(OPTIMIZERS[name](), "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
    converted = StructuralModel.from_model(model)
    for left, right in zip(converted.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())
    losses = [[float(net.train_on_batch(X, Y)) for _ in range(4)] for net in (model, converted)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "lamb"])
def test_a_structural_model_trains_as_a_plain_one(name):
    losses = []
    for kind, dense in ((keras.Model, keras.layers.Dense), (StructuralModel, GrowableDense)):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5,))
        model = kind(inputs, keras.layers.Dense(2)(dense(6, activation="relu")(inputs)))
        model.compile(OPTIMIZERS[name](), "mse")
        losses.append(model.fit(X, Y, epochs=3, verbose=0, shuffle=False).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.Adafactor(),
        *([optimizers.MultiOptimizer(optimizers.Adam())] if hasattr(optimizers, "MultiOptimizer") else []),
    ],
)
def test_an_optimizer_whose_state_cannot_follow_is_refused_at_compile(optimizer):
    with pytest.raises(ValueError, match="cannot carry the state of the optimizer"):
        StructuralModel.from_model(mlp()).compile(optimizer, "mse")


def test_an_edit_in_the_middle_of_gradient_accumulation_keeps_what_was_accumulated():
    model = StructuralModel.from_model(mlp())
    model.compile(optimizers.SGD(0.1, gradient_accumulation_steps=3), "mse")
    model.train_on_batch(X, Y)
    (slot,) = [s for s in model._structural.slots if s.reference.path.endswith("h2/kernel")]
    before = current().read(slot.variable)
    assert np.abs(before).max() > 0
    model.grow("h1", 2)
    after = current().read(slot.variable)
    np.testing.assert_array_equal(after[:4], before)
    for _ in range(5):
        model.train_on_batch(X, Y)
    assert np.isfinite(model.get_weights()[0]).all()
