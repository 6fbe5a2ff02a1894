"""Training ends when the structure has settled."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructuralTraining
from keras_struct.callbacks import StructuralEarlyStopping
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import FreeNet
from keras_struct.strategies import FreeEvolve

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = np.zeros((64, 1), "float32")


def network(kind=StructuralModel):
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    return kind(x, keras.layers.Dense(1)(FreeNet(12, bias_initializer="zeros", name="free")(x)))


def test_it_stops_after_looks_that_changed_nothing():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse", strategy=FreeEvolve(0.5, every=4, warmup=0, samples=64), probe=X)
    stop = StructuralEarlyStopping(patience=2)
    model.fit(X, Y, batch_size=16, epochs=50, verbose=0, callbacks=[stop])
    looks = parts_of(model).runner.policy_state["history"]
    assert looks[0][2] + looks[0][3] > 0
    assert [added + removed for _, _, added, removed in looks[1:]] == [0, 0]
    assert stop.stopped_step == parts_of(model).progress.step <= 13
    model.fit(X, Y, batch_size=16, epochs=50, verbose=0, callbacks=[stop])
    assert len(parts_of(model).runner.policy_state["history"]) == 5, "looks of the training before do not count"


def test_it_works_beside_structural_training_of_a_plain_model():
    model = network(keras.Model)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    training = StructuralTraining(FreeEvolve(0.5, every=4, warmup=0), probe=X)
    stop = StructuralEarlyStopping(training=training)
    model.fit(X, Y, batch_size=16, epochs=50, verbose=0, callbacks=[training, stop])
    assert 8 <= stop.stopped_step <= 9


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`patience` is a number of evaluations"):
        StructuralEarlyStopping(0)
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="compile a StructuralModel with `strategy`"):
        model.fit(X, Y, verbose=0, callbacks=[StructuralEarlyStopping()])
