"""Lottery tickets: train, prune connections, go back to early weights, train again."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.model.parts import find_parts, parts_of
from keras_struct.core.structure.capabilities import Maskable
from keras_struct.sparse.edits import Rewire


class WeightRewinding(keras.callbacks.Callback):
    """Remembers weights and optimizer state of an early training step, and goes back to them when connections were pruned.

    Args:
        step: Which gradient step to remember, 0 for the initial weights.

    Raises:
        ValueError: If `step` is negative; when training begins, if the model has no masked layer.

    References:
        Frankle, Carbin, *The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks*, ICLR 2019 (step 0);
        Frankle, Dziugaite, Roy, Carbin, *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, ICML 2020 (later steps).

    Examples:
        >>> sparse = sparsify(model)
        >>> ticket = WeightRewinding(step=2)
        >>> for sparsity in (0.2, 0.36):
        ...     history = sparse.fit(x, y, verbose=0, callbacks=[ticket])
        ...     events = sparse.prune_connections(sparsity)
        ...     ticket.rewind()
    """

    def __init__(self, step: int = 0) -> None:
        super().__init__()
        if step < 0:
            raise ValueError(f"`step` must not be negative. Received: step={step}")
        self.step = step
        self._count = 0
        self._saved: tuple[list[np.ndarray], list[np.ndarray]] | None = None

    def on_train_begin(self, logs=None):
        """Remember the initial weights, if these are wanted."""
        parts = find_parts(self.model)
        if parts is None or not parts.live.network.having(Maskable):
            raise ValueError(
                "WeightRewinding needs a model with masked layers: convert it with keras_struct.sparsify(model)."
            )
        self._remember()

    def on_train_batch_end(self, batch, logs=None):
        """Count steps, and remember when it is time."""
        self._count += 1
        self._remember()

    def _remember(self) -> None:
        if self._saved is None and self._count == self.step:
            parts_of(self.model).editor.sync()
            self._saved = (_values(self._weights()), _values(self.model.optimizer.variables))

    def _weights(self) -> list[Any]:
        """All weights but the masks."""
        masks = {id(layer.mask) for layer in self.model.masked_layers.values()}
        return [weight for weight in self.model.weights if id(weight) not in masks]

    def rewind(self) -> None:
        """Give the model the weights and the optimizer the state of that step. Masks stay as they are now.

        Raises:
            ValueError: If the step was not reached yet, or units were edited since; nothing is changed.
        """
        if self._saved is None:
            raise ValueError(f"There is nothing to go back to: training has not reached step {self.step} yet.")
        weights, state = self._weights(), self.model.optimizer.variables
        for variables, values in zip((weights, state), self._saved, strict=True):
            shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    "Cannot go back to weights of other shapes: units or layers were edited since they were remembered."
                )
        for variables, values in zip((weights, state), self._saved, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        masks = {name: current().read(layer.mask) for name, layer in self.model.masked_layers.items()}
        parts_of(self.model).editor.apply([Rewire(name, mask) for name, mask in masks.items()], reason="rewound")


def _values(variables: Any) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
