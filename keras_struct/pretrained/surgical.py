"""Surgical fine-tuning: layers learn at different rates."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.learning_rates import ScaledRates


class AutoRGN(keras.callbacks.Callback):
    """Scales the learning rate of each layer by its relative gradient norm, for fine-tuning.

    The relative gradient norm of a layer is the norm of the loss's gradient by its weights, divided by the norm of the weights.
    Divided by the largest of the model it is the factor of the layer's learning rate: layers that the new task asks to change
    most change at the full rate, others less. Nothing but the rate (that of decoupled weight decay included) is changed: the
    state of the optimizer goes on, and after training the optimizer is as it was before. It works with any Keras model; in a
    `StructuralModel` edits go on beside it.

    On JAX, where factors are part of the compiled step, each measurement compiles the step again.

    Args:
        x: Training inputs, shape `(samples, ...)` or a structure of them.
        y: Their targets.
        batch_size: Samples of a batch that a gradient is computed on, in inference mode.
        batches: How many batches, drawn again each time; norms are averaged over them.
        every: `"epoch"`, or a number of training steps; the first measurement is before the first step.
        per: `"layer"`: the weights of a layer together; `"variable"`: kernels and biases each by themselves.
        seed: Seed of the draws.

    Raises:
        ValueError: If a value is out of range; when training begins, if the model has no loss, or frozen weights only.

    References:
        Lee et al., *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts*, ICLR 2023 (Auto-RGN); Maile et al.,
        thesis section 7.3, whose code takes 3 batches, each variable by itself, and a new optimizer, without its state, each
        time.

    Examples:
        >>> rates = AutoRGN(x, y, batch_size=32, batches=1)
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[rates])
        >>> max(rates.factors.values())
        1.0
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        batches: int = 5,
        every: int | Literal["epoch"] = "epoch",
        per: Literal["layer", "variable"] = "layer",
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"batch_size": batch_size, "batches": batches}.items():
            if value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
        if every != "epoch" and (not isinstance(every, int) or every < 1):
            raise ValueError(f"`every` must be 'epoch' or a positive number of steps. Received: every={every!r}")
        if per not in ("layer", "variable"):
            raise ValueError(f"`per` must be 'layer' or 'variable'. Received: per={per!r}")
        self._x, self._y = x, y
        self._sizes = (batch_size, batches)
        self.every, self.per = every, per
        self.factors: dict[str, float] = {}
        self.history: list[tuple[int, dict[str, float]]] = []
        self._rng = np.random.default_rng(seed)
        self._rates: Any = None
        self._step = self._asked = 0

    def on_train_begin(self, logs=None):
        """Take hold of the optimizer, and measure."""
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        self.release()
        self._rates, self._step, self._asked = ScaledRates(optimizer), 0, 0
        try:
            self._measure()
        except BaseException:
            self.release()
            raise
        internals.forget_compiled_functions(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        """Measure, unless it is the first epoch."""
        if self.every == "epoch" and self._step:
            self._measure()

    def on_train_batch_begin(self, batch, logs=None):
        """Measure when it is time."""
        if self.every != "epoch" and self._step - self._asked >= self.every:
            self._asked = self._step
            self._measure()

    def on_train_batch_end(self, batch, logs=None):
        """Count steps."""
        self._step += 1

    def on_train_end(self, logs=None):
        """Give the optimizer back."""
        self.release()

    def release(self) -> None:
        """Give the optimizer its own rate back for all layers; call it yourself after a training that was interrupted."""
        if self._rates is not None:
            self._rates.release()
            self._rates = None
            internals.forget_compiled_functions(self.model)

    def _measure(self) -> None:
        """Compute the factors again."""
        current().before_edit(self.model)
        weights = self.model.trainable_variables
        gradients = np.sqrt(np.mean([self._squares() for _ in range(self._sizes[1])], axis=0))
        sizes = [float(np.linalg.norm(current().read(variable).astype(np.float64))) for variable in weights]
        names = [v.path if self.per == "variable" else v.path.rpartition("/")[0] for v in weights]
        relative = {name: _ratio(name, names, gradients, np.array(sizes)) for name in names}
        largest = max((value for value in relative.values() if np.isfinite(value)), default=0.0)
        self.factors = {name: min(1.0, value / largest) if largest else 1.0 for name, value in relative.items()}
        self.history.append((self._step, dict(self.factors)))
        stale = self._rates.set({id(v): self.factors[name] for v, name in zip(weights, names, strict=True)})
        if stale and self._step:
            internals.forget_compiled_functions(self.model)

    def _squares(self) -> np.ndarray:
        """Squared norms of the gradients of one batch by each weight."""
        loss = internals.loss_function(self.model)
        if loss is None or not self.model.trainable_variables:
            raise ValueError(
                "AutoRGN compares the gradients of a loss by the weights of each layer: compile the model with a loss, and "
                "leave some layer trainable."
            )
        held = keras.tree.flatten(self._x)[0].shape[0]
        chosen = np.sort(self._rng.choice(held, min(self._sizes[0], held), replace=False))
        x, y = (keras.tree.map_structure(lambda part: part[chosen], part) for part in (self._x, self._y))
        return np.array([(part**2).sum() for part in current().weight_gradients(self.model, loss, (x, y, None))])


def _ratio(name: str, names: list[str], gradients: np.ndarray, sizes: np.ndarray) -> float:
    """Norm of the gradient of some weights over their own; infinite where they are all zero."""
    own = np.array([other == name for other in names])
    gradient, size = (float(np.linalg.norm(values[own])) for values in (gradients, sizes))
    return gradient / size if size else float("inf")
