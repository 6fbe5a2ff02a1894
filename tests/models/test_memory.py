"""A model that was trained, edited and dropped leaves nothing behind, neither itself nor what was compiled for it."""

import gc
import weakref

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense

X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def used_and_dropped(optimizer):
    model = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    model.grow("h", 2)
    model.fit(X, Y, verbose=0)
    return weakref.ref(model), weakref.ref(parts_of(model).editor)


def traced_graphs():
    return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_dropped_model_is_freed_with_everything_that_was_traced(optimizer):
    gc.collect()
    before = traced_graphs()
    references = used_and_dropped(optimizer)
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert traced_graphs() <= before
