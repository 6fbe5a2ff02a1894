"""A failure in the middle of any edit of any network leaves model and optimizer bit-identical."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_struct import Resize, StructuralModel
from keras_struct.core.backend import current
from keras_struct.structure import NEW
from keras_struct.testing.random_models import random_data, random_model


@functools.cache
def trained(seed):
    model = StructuralModel.from_model(random_model(seed, blocks=(0, 2)))
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(*random_data(model))
    return model


def state(model):
    values = [v.numpy().copy() for v in (*model.weights, *model.optimizer.variables)]
    return values, dict(model.structure.axes), str(model.get_config())


class Fire(Exception):
    """What goes wrong."""


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 9), fail_at=st.integers(0, 14), choice=st.integers(0, 2**32 - 1))
def test_a_failed_edit_changes_nothing(seed, fail_at, choice):
    model = trained(seed)
    if not model.structure.axes:
        return
    rng = np.random.default_rng(choice)
    axis = str(rng.choice(sorted(model.structure.axes)))
    width = model.structure.axes[axis]
    edit = Resize(axis, tuple(rng.integers(0, width, rng.integers(1, min(width + 3, 9)))))
    before, write, calls = state(model), current().write, []

    def failing(variable, value):
        calls.append(variable)
        if len(calls) == fail_at + 1:
            raise Fire
        return write(variable, value)

    current().write = failing
    try:
        model.apply(edit)
    except Fire:
        current().write = write
        after = state(model)
        assert after[1:] == before[1:]
        for left, right in zip(before[0], after[0], strict=True):
            np.testing.assert_array_equal(left, right)
    finally:
        current().write = write
    model.train_on_batch(*random_data(model))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 9), wrong=st.integers(1, 5), choice=st.integers(0, 2**32 - 1))
def test_an_edit_that_names_a_unit_too_many_changes_nothing(seed, wrong, choice):
    model = trained(seed)
    if not model.structure.axes:
        return
    axis = str(np.random.default_rng(choice).choice(sorted(model.structure.axes)))
    width, before = model.structure.axes[axis], state(model)
    for source in ((*range(width), width - 1 + wrong), (NEW - wrong,), (), (*range(width), NEW)):
        with pytest.raises(ValueError, match=axis):
            model.apply(Resize(axis, source))
    after = state(model)
    assert after[1:] == before[1:]
    for left, right in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(left, right)
