"""Structural training of a plain Keras model."""

from __future__ import annotations

from typing import Any

from keras_struct.core.model.distribution import refuse_distribution
from keras_struct.core.model.parts import StructuralParts, find_parts
from keras_struct.core.model.stepping import StructuralStepping
from keras_struct.core.structure.events import StructureLog


class StructuralTraining(StructuralStepping):
    """Changes the structure of a plain `keras.Model` while its `fit` runs.

    Keras callbacks never see the batch, so the structure is measured on the `probe` that is given here. Layers stay the
    stock ones; where a stock layer cannot take a new width without it, the training step is traced again, which
    `callback.retraces` counts. A `StructuralModel` needs no callback: `compile(strategy=...)` does the same there.

    Args:
        strategy: When, where, how many and how to edit.
        probe: Inputs on which the structure is measured: an array `(samples, ...)` or a structure of them, with more
            samples (times positions, for convolutions) than any layer may have units. Not needed by strategies that
            only look at weights.
        targets: Targets of the probe, for strategies that look at gradients.

    Raises:
        ValueError: When training begins: if the strategy needs a probe and has none or too small a one, has no layer to
            act on, the model is a `StructuralModel` with a strategy of its own, or it is trained on several devices.

    Examples:
        >>> training = StructuralTraining(NorthSelect(EffectiveDimension(gamma=0.8), max_units=16), probe=x)
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[training])
        >>> training.structure.axes["hidden"] >= 8
        True
    """

    def __init__(self, strategy: Any, probe: Any = None, targets: Any = None) -> None:
        super().__init__()
        self.strategy = strategy
        self.probe_inputs, self.probe_targets = probe, targets
        if strategy.needs_inputs and probe is None:
            raise ValueError(
                f"{type(strategy).__name__} measures activations, and a callback never sees the training batches: pass "
                "StructuralTraining(strategy, probe=x[:1024])."
            )
        if strategy.needs_gradients and (probe is None or targets is None):
            raise ValueError(
                f"{type(strategy).__name__} looks at gradients, and a callback never sees the training batches: pass "
                "StructuralTraining(strategy, probe=x[:512], targets=y[:512])."
            )

    @property
    def structure_log(self) -> StructureLog:
        """Every edit so far, oldest first."""
        return StructureLog() if self.parts is None else self.parts.editor.log

    @property
    def structure(self) -> Any:
        """The units of the model, as `StructuralModel.structure`; `None` before training."""
        return None if self.parts is None else self.parts.editor.graph

    @property
    def retraces(self) -> int:
        """How often the training step had to be traced again."""
        return 0 if self.parts is None else self.parts.editor.retraces

    def on_train_begin(self, logs=None):
        """Read the model's structure and measure the baseline."""
        if self.parts is None or self.parts.model is not self.model:
            self.parts = self._begin()
        super().on_train_begin(logs)

    def _begin(self) -> StructuralParts:
        refuse_distribution(self.model)
        own = find_parts(self.model)
        if own is not None and own.runner.strategy is not None:
            raise ValueError(
                "The model is a StructuralModel that was compiled with a strategy of its own: use either that, or "
                "StructuralTraining with a plain Keras model."
            )
        parts = StructuralParts(self.model) if own is None else own
        parts.runner.use_strategy(self.strategy, self.probe_inputs, self.probe_targets)
        parts.editor.optimizer.follow()
        return parts
