"""Laws that hold for every edit of every network."""

import functools

import numpy as np
import pytest

from keras_struct import NEW, Resize, StructuralModel
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.testing.random_models import random_data, random_model

SEEDS = range(20, 28)


@functools.cache
def made_once(seed):
    model = StructuralModel.from_model(random_model(seed, "float64"))
    model.compile("adam", "mse", run_eagerly=True)
    return model, dict(model.structure.axes), model.get_weights()


def compiled(seed):
    """A random network as it was when it was built, whatever was done to it, with slots of three times the weights."""
    model, axes, weights = made_once(seed)
    for axis, width in axes.items():
        if model.structure.axes[axis] != width:  # a test failed half-way
            made_once.cache_clear()
            return compiled(seed)
    model.set_weights(weights)
    for slot in parts_of(model).editor.optimizer.slots:
        current().write(slot.variable, 3.0 * current().read(slot.reference))
    return model, random_data(model)[0]


def slots_per_weight(model):
    """For each slot, by how much its entries are what they were made to be: three times the weight's."""
    for slot in parts_of(model).editor.optimizer.slots:
        weight, held = current().read(slot.reference), current().read(slot.variable)
        yield held[weight != 0] / (3.0 * weight[weight != 0])


@pytest.mark.parametrize("seed", SEEDS)
def test_reordering_units_keeps_the_function_and_slots_go_with_their_weights(seed):
    model, x = compiled(seed)
    rng, before, start = np.random.default_rng(seed), outputs(model, x), model.get_weights()
    orders = {axis: rng.permutation(width) for axis, width in model.structure.axes.items()}
    for axis, order in orders.items():
        model.apply(Resize(axis, tuple(order)))
        assert relative_change(before, outputs(model, x)) < 1e-12, axis
    assert all((ratio == 1).all() for ratio in slots_per_weight(model))
    for axis, order in orders.items():
        model.apply(Resize(axis, tuple(np.argsort(order))))
    for left, right in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("seed", SEEDS)
def test_growing_and_pruning_again_is_no_change_for_weights_and_slots(seed):
    model, _ = compiled(seed)
    variables = [*model.weights, *model.optimizer.variables]
    start = [v.numpy().copy() for v in variables]
    for axis, width in model.structure.axes.items():
        model.grow(axis, 2)
        model.apply(Resize(axis, tuple(range(width))))
    for left, right in zip(start, variables, strict=True):
        np.testing.assert_array_equal(left, right.numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_have_the_slots_of_their_unit_and_share_its_outgoing_weights(seed):
    model, x = compiled(seed)
    rng = np.random.default_rng(seed)
    for axis, width in dict(model.structure.axes).items():
        before, start = outputs(model, x), list(slots_per_weight(model))
        unit = int(rng.integers(width))
        model.apply(Resize(axis, (unit, *range(width))))
        assert relative_change(before, outputs(model, x)) < 1e-12, axis
        model.apply(Resize(axis, tuple(range(1, width + 1))))  # the original stays, with half of its outgoing weights
        changes = [now / old for now, old in zip(slots_per_weight(model), start, strict=True)]
        found = np.concatenate(changes)
        assert np.isin(found.round(9), (1, 2)).all(), axis
        assert 0 < (found > 1.5).mean() < 1, axis


@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_and_reordering_at_once_equals_one_after_the_other(seed):
    model, _ = compiled(seed)
    axes = dict(model.structure.axes)
    for axis, width in axes.items():
        model.grow(axis, 1, seed=width)
        model.apply(Resize(axis, (width, *range(width - 1, 0, -1))))
    at_once = model.get_weights()
    compiled(seed)
    for axis, width in axes.items():
        model.grow(axis, 1, seed=width)
        model.apply(Resize(axis, (*range(1, width), width)))
        model.apply(Resize(axis, tuple(range(width - 1, -1, -1))))
    for left, right in zip(at_once, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_new_entries_of_slots_are_those_of_the_start_or_the_mean(monkeypatch):
    for kind, check in (("initial", lambda new, old: new == 0), ("mean", lambda new, old: np.isclose(new, old))):
        model, _ = compiled(20)
        monkeypatch.setattr(parts_of(model).editor, "new_slots", kind)
        axis, width = next(iter(model.structure.axes.items()))
        port = next(p for p, rule in model.structure.ports(axis).items() if rule.role == "produce")
        source = (*range(width), NEW)
        slot = next(s for s in parts_of(model).editor.optimizer.slots if s.reference.path.endswith(port.key))
        old = np.moveaxis(current().read(slot.variable), port.axis, -1).mean(axis=-1)
        shape = np.delete(slot.reference.shape, port.axis)
        values = {port.key: np.expand_dims(np.ones(tuple(shape)), port.axis)}
        model.apply(Resize(axis, source, values))
        new = np.moveaxis(current().read(slot.variable), port.axis, -1)[..., -1]
        assert check(new, old).all()
        model.apply(Resize(axis, tuple(range(width))))
