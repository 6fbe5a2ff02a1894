"""Ends training when the structure has settled."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.model.parts import find_parts


class StructuralEarlyStopping(keras.callbacks.Callback):
    """Stops training when the strategy has looked several times in a row and changed nothing.

    Args:
        patience: How many evaluations without an edit.
        training: The `StructuralTraining` that changes the structure of a plain Keras model; put it before this callback. Not
            needed for a `StructuralModel`.

    Attributes:
        stopped_step: Gradient step after which training was stopped, or `None`.

    Raises:
        ValueError: If `patience` is not positive; when training begins, if nothing changes the structure.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, Algorithm 1 (until the graph converges).

    Examples:
        >>> callback = StructuralEarlyStopping(patience=2)
    """

    def __init__(self, patience: int = 1, training: Any = None) -> None:
        super().__init__()
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(f"`patience` is a number of evaluations, at least 1. Received: patience={patience!r}")
        self.patience, self.training = patience, training
        self.stopped_step: int | None = None

    def on_train_begin(self, logs=None):
        """Find what changes the structure; evaluations before this training do not count."""
        parts = find_parts(self.model) if self.training is None else self.training.parts
        if parts is None or parts.runner.strategy is None:
            raise ValueError(
                "StructuralEarlyStopping waits for a strategy, and there is none: compile a StructuralModel with `strategy`, or "
                "pass the StructuralTraining callback of a plain model as `training`, and put it before this one."
            )
        self._parts, self.stopped_step = parts, None
        parts.runner.unchanged_evaluations = 0

    def on_train_batch_end(self, batch, logs=None):
        """Stop if the structure has settled."""
        if self.stopped_step is None and self._parts.runner.unchanged_evaluations >= self.patience:
            self.stopped_step, self.model.stop_training = self._parts.progress.step, True
