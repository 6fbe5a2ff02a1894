"""Training of language models: learning rates by length, averages of weights."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals


class RateByLength(keras.callbacks.Callback):
    """Sets the learning rate of each step in proportion to the length of its piece of text.

    The rate at the beginning of an epoch is that of a piece of `data.length` steps, and is restored at its end.

    Args:
        data: `datasets.TextBatches` that the model is trained on.

    References:
        Merity, Keskar, Socher, *Regularizing and Optimizing LSTM Language Models*, ICLR 2018, section 5.
    """

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data, self._rate = data, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Look up the lengths."""
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._factors = self.data.lengths() / self.data.length

    def on_train_batch_begin(self, batch, logs=None):
        """Set the rate."""
        self.model.optimizer.learning_rate = self._rate * float(self._factors[batch])

    def on_epoch_end(self, epoch, logs=None):
        """Give the rate back."""
        self.model.optimizer.learning_rate = self._rate


class FreshStates(keras.callbacks.Callback):
    """Lets stateful layers begin again in every epoch and every evaluation, as the text does."""

    def _forget(self) -> None:
        for variable in internals.carried_states(self.model):
            variable.assign(keras.ops.zeros_like(variable.value))

    def on_epoch_begin(self, epoch, logs=None):
        """Begin the text to train on."""
        self._forget()

    def on_test_begin(self, logs=None):
        """Begin another text."""
        self._forget()


class AveragedWeights(keras.callbacks.Callback):
    """Evaluates, and leaves in the model, the mean of the weights of all steps since training stopped to improve.

    Steps themselves go on from the last weights, not from the mean (ASGD without decay).

    Args:
        monitor: What should fall; averaging begins when it is larger than the smallest value that is more than `patience` epochs
            old.
        patience: See there.
        start: Averaging begins at this epoch at the latest, if it is given.

    Attributes:
        steps: How many steps have been averaged.

    Raises:
        ValueError: If `patience` is negative.

    References:
        Polyak, Juditsky, *Acceleration of stochastic approximation by averaging*, 1992; Merity, Keskar, Socher, *Regularizing and
        Optimizing LSTM Language Models*, ICLR 2018, algorithm 1 (NT-ASGD).
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, start: int | None = None) -> None:
        super().__init__()
        if patience < 0:
            raise ValueError(f"`patience` must not be negative. Received: patience={patience}")
        self.monitor, self.patience, self.start = monitor, patience, start
        self.steps = 0
        self._seen: list[float] = []
        self._means: list[Any] = []
        self._held: list[Any] = []

    def _begin(self) -> None:
        self._means = [keras.ops.convert_to_tensor(w) * 1 for w in self.model.trainable_variables]
        self.steps = 1

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to average, if it is time."""
        if not self.steps and self.start is not None and epoch >= self.start:
            self._begin()

    def on_train_batch_end(self, batch, logs=None):
        """Take the weights into the mean, which begins again where the structure has changed."""
        if self.steps and [m.shape for m in self._means] != [w.shape for w in self.model.trainable_variables]:
            self._begin()
        elif self.steps:
            self.steps += 1
            pairs = zip(self._means, self.model.trainable_variables, strict=True)
            self._means = [mean + (keras.ops.convert_to_tensor(w) - mean) / self.steps for mean, w in pairs]

    def on_test_begin(self, logs=None):
        """Evaluate the mean."""
        if self.steps and not self._held:
            self._held = [keras.ops.convert_to_tensor(w) * 1 for w in self.model.trainable_variables]
            self._assign(self._means)

    def on_test_end(self, logs=None):
        """Go on from the last weights."""
        if self._held:
            self._assign(self._held)
            self._held = []

    def on_epoch_end(self, epoch, logs=None):
        """Look whether the model still improves."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            if self.start is None:
                raise ValueError(
                    f"AveragedWeights looks at '{self.monitor}', which is not among {sorted(logs or {})}. Pass "
                    "`validation_data`, or another `monitor`."
                )
            return
        if not self.steps and len(self._seen) > self.patience and value > min(self._seen[: -self.patience or None]):
            self._begin()
        self._seen.append(float(value))

    def on_train_end(self, logs=None):
        """Leave the mean in the model."""
        if self.steps:
            self._assign(self._means)

    def _assign(self, values: list[Any]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)
