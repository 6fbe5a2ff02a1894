"""Callbacks for language models: learning rates by length, averages of weights, states that begin again."""

import keras
import numpy as np
import pytest

from keras_struct import datasets
from keras_struct.callbacks import AveragedWeights, FreshStates, RateByLength
from keras_struct.models import StructuralModel

ops = keras.ops


def line():
    """A model with one weight."""
    x = keras.Input((1,))
    return StructuralModel(x, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(x))


class Trace(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights, self.rates, self.tested = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(float(ops.convert_to_numpy(self.model.trainable_variables[0])[0, 0]))
        self.rates.append(float(ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def on_test_begin(self, logs=None):
        self.tested.append(float(ops.convert_to_numpy(self.model.trainable_variables[0])[0, 0]))


def noisy(seed):
    rng = np.random.default_rng(seed)
    x = np.ones((40, 1), "float32")
    return x, (1 + rng.normal(size=(40, 1))).astype("float32")


def test_weights_are_averaged_from_an_epoch_on_and_steps_go_on_from_the_last():
    x, y = noisy(0)
    model, trace, averaged = line(), Trace(), AveragedWeights(start=2)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(
        x, y, batch_size=4, epochs=4, shuffle=False, validation_data=(x, y), callbacks=[averaged, trace], verbose=0
    )
    assert averaged.steps == 21, "the weights at the beginning, and those of two epochs"
    np.testing.assert_allclose(trace.tested[2], np.mean(trace.weights[19:30]), rtol=1e-5)
    mean = np.mean(trace.weights[19:])
    np.testing.assert_allclose([trace.tested[3], float(model.get_weights()[0][0, 0])], mean, rtol=1e-5)
    alone, other = line(), Trace()
    alone.compile(keras.optimizers.SGD(0.1), "mse")
    alone.fit(x, y, batch_size=4, epochs=4, shuffle=False, callbacks=[other], verbose=0)
    np.testing.assert_allclose(trace.weights, other.weights, rtol=1e-5)


def test_averaging_begins_when_the_loss_has_not_improved_for_some_epochs():
    x, y = noisy(1)
    model, averaged = line(), AveragedWeights(patience=2)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    averaged.set_model(model)
    begun = []
    for value in (3.0, 2.0, 1.0, 1.5, 1.2, 1.1):
        averaged.on_epoch_end(0, {"val_loss": value})
        begun.append(averaged.steps > 0)
    # Values before are compared that are more than two epochs old: at 1.1 these are 3, 2 and 1.
    assert begun == [False, False, False, False, False, True]
    with pytest.raises(ValueError, match="looks at 'val_loss'"):
        model.fit(x, y, callbacks=[AveragedWeights()], verbose=0)
    with pytest.raises(ValueError, match="not be negative"):
        AveragedWeights(patience=-1)


def test_rates_are_in_proportion_to_lengths():
    model, trace = line(), Trace()
    model.compile(keras.optimizers.SGD(0.07), "mse")

    class Pieces(keras.utils.PyDataset):
        length = 10

        def lengths(self):
            return np.array([5, 20, 10])

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.ones((2, 1), "float32"), np.ones((2, 1), "float32")

    data = Pieces()
    model.fit(data, epochs=2, shuffle=False, callbacks=[RateByLength(data), trace], verbose=0)
    np.testing.assert_allclose(trace.rates, [0.035, 0.14, 0.07] * 2, rtol=1e-6)
    assert float(ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.07)


def test_states_begin_anew_in_every_epoch_and_evaluation():
    x = keras.Input(batch_shape=(2, None, 3))
    model = StructuralModel(x, keras.layers.LSTM(3, stateful=True, return_sequences=True)(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    text = np.random.default_rng(3).normal(size=(2, 4, 3)).astype("float32")
    model.fit(text, text, batch_size=2, epochs=1, callbacks=[FreshStates()], verbose=0)
    once, again = (model.evaluate(text, text, batch_size=2, callbacks=[FreshStates()], verbose=0) for _ in range(2))
    assert once == again != model.evaluate(text, text, batch_size=2, verbose=0)
    batches = datasets.TextBatches(np.arange(12), 2, 2)
    assert len(batches) == 2
