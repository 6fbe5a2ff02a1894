"""What the library relies on inside Keras's optimizers."""

import keras
import numpy as np
import pytest

from keras_struct.core.backend import current, optimizer_slots
from keras_struct.core.backend import keras_internals as internals

optimizers = keras.optimizers
SLOTS = {
    "SGD": (lambda: optimizers.SGD(), 0),
    "momentum": (lambda: optimizers.SGD(momentum=0.9), 1),
    "Adam": (lambda: optimizers.Adam(), 2),
    "amsgrad": (lambda: optimizers.Adam(amsgrad=True), 3),
    "centered": (lambda: optimizers.RMSprop(momentum=0.5, centered=True), 3),
    "Adadelta": (lambda: optimizers.Adadelta(), 2),
    "Ftrl": (lambda: optimizers.Ftrl(), 2),
    "Lion": (lambda: optimizers.Lion(), 1),
    "average": (lambda: optimizers.Adam(use_ema=True), 3),
    "accumulated": (lambda: optimizers.Adam(gradient_accumulation_steps=2), 3),
    "wrapped": (lambda: optimizers.LossScaleOptimizer(optimizers.Adam()), 2),
}


@pytest.fixture
def weights():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    return model.trainable_variables


def built(make, weights):
    optimizer = make()
    optimizer_slots.rebuild(optimizer, weights)
    return optimizer


@pytest.mark.parametrize("name", SLOTS)
def test_every_weight_has_its_slots(weights, name):
    make, each = SLOTS[name]
    optimizer = built(make, weights)
    slots = optimizer_slots.slots_of(optimizer)
    assert len(slots) == each * len(weights)
    assert {id(s.variable) for s in slots} <= {id(v) for v in optimizer.variables}
    for slot in slots:
        assert tuple(slot.variable.shape) == tuple(slot.reference.shape)
        assert slot.reference.path.replace("/", "_") in slot.variable.path


def test_looking_for_slots_leaves_the_optimizer_alone(weights):
    optimizer = built(lambda: optimizers.Adam(), weights)
    held = [(id(v), current().read(v)) for v in optimizer.variables]
    hook = optimizer.add_variable_from_reference
    optimizer_slots.slots_of(optimizer)
    assert [id(v) for v in optimizer.variables] == [key for key, _ in held]
    assert all((current().read(v) == value).all() for v, (_, value) in zip(optimizer.variables, held, strict=True))
    assert optimizer.add_variable_from_reference == hook


class Rank(optimizers.SGD):
    """A user's optimizer with one number for each row of a weight."""

    def build(self, variables):
        super().build(variables)
        self.rows = [self.add_variable(shape=v.shape[:1], name="rows") for v in variables]


class Named(optimizers.SGD):
    """A user's optimizer that follows the weights as Keras's do."""

    def build(self, variables):
        super().build(variables)
        self.traces = self.add_optimizer_variables(variables, "trace", initializer="ones")


def test_an_optimizer_of_ones_own_is_followed_or_refused(weights):
    assert {s.initial for s in optimizer_slots.slots_of(built(Named, weights))} == {1.0}
    with pytest.raises(ValueError, match=r"optimizer Rank.*do not have the shape of a weight"):
        optimizer_slots.slots_of(built(Rank, weights))


def test_state_is_copied_weight_by_weight(weights):
    source, target = built(SLOTS["wrapped"][0], weights), built(SLOTS["wrapped"][0], weights[2:])
    for i, variable in enumerate(source.variables):
        variable.assign(np.full(variable.shape, i + 1))
    optimizer_slots.copy_state(source, target, [(weight, weight) for weight in weights])
    slots = {id(slot.reference): current().read(slot.variable) for slot in optimizer_slots.slots_of(source)}
    for slot in optimizer_slots.slots_of(target):
        assert current().read(slot.variable).shape == slots[id(slot.reference)].shape
    assert float(target.variables[0].numpy()) == 1
    assert float(target.inner_optimizer.variables[-1].numpy().max()) == len(source.variables)


def test_a_fresh_optimizer_has_the_arguments_of_another():
    def rate():
        return 0.5

    wrapped = optimizers.LossScaleOptimizer(optimizers.SGD(rate, momentum=0.5), initial_scale=8.0)
    for optimizer in (
        wrapped,
        optimizers.Adam(0.25, beta_1=0.5),
        optimizers.Lion(optimizers.schedules.CosineDecay(1, 2)),
    ):
        fresh = internals.optimizer_of_the_same_kind(optimizer)
        assert type(fresh) is type(optimizer)
        if optimizer is not wrapped:
            assert fresh.get_config() == optimizer.get_config()
    fresh = internals.optimizer_of_the_same_kind(wrapped)
    assert fresh.inner_optimizer.learning_rate == wrapped.inner_optimizer.learning_rate == 0.5
    assert (fresh.initial_scale, fresh.inner_optimizer.momentum) == (8.0, 0.5)


def test_exclusions_from_weight_decay_follow_new_keys_and_copies(weights):
    optimizer = optimizers.SGD(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=weights[:1], var_names=["bias"])
    optimizer.build(weights)
    if keras.backend.backend() == "tensorflow":
        current().set_elastic(weights[0], [1])
    internals.rekey_optimizer(optimizer)
    copy = built(lambda: optimizers.SGD(weight_decay=0.1), weights)
    internals.copy_exclusions(optimizer, copy)
    for opt in (optimizer, copy):
        assert [opt._use_weight_decay(v) for v in weights] == [False, False, True, False]


def test_the_arguments_of_compile_are_kept_as_they_were_given():
    def loss(y, p):
        return keras.ops.mean(y - p)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("adam", loss, metrics=["mae"], steps_per_execution=1)
    found = internals.compile_arguments(model)
    assert found["loss"] is loss
    assert found["metrics"] == ["mae"]
    assert {"loss_weights", "weighted_metrics", "run_eagerly", "steps_per_execution"} <= set(found)
