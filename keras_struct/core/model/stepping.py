"""The structural step inside Keras's own training loop."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.structure.capabilities import ObservesStructure

SHOWN = 12
"""Of how many axes the progress bar shows the width; of more only their sum."""


class Count(int):
    """A whole number that Keras's progress bar shows as one."""

    def mean(self, **options: Any) -> float:
        """Return the number, as NumPy asks for the mean of what is to be shown."""
        return _Shown(self)


class _Shown(float):
    """A number that is shown without decimals, whatever format is requested."""

    def __truediv__(self, other: float) -> float:
        return _Shown(float(self) / other)

    def __format__(self, spec: str) -> str:
        return f"{float(self):.0f}"


class StructuralStepping(keras.callbacks.Callback):
    """Runs a structural step after every execution of the train function, and reports widths as metrics do.

    Args:
        parts: What belongs to the model that is trained; `None` if that is known when training begins.
    """

    def __init__(self, parts: Any = None) -> None:
        super().__init__()
        self.parts = parts
        self._last = -1
        self._total = 0.0

    def on_train_begin(self, logs=None):
        """Measure the baseline before the first gradient step."""
        self.parts.runner.begin()

    def on_epoch_begin(self, epoch, logs=None):
        """Count steps of an epoch from its start."""
        self._last = -1
        self.parts.progress.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps that were made, and let the strategy act."""
        if steps := (self.params or {}).get("steps"):
            batch = min(batch, steps - 1)  # the last execution of an epoch can be shorter than Keras counts it
        if self.parts.progress.skipped:
            self._last = batch
            return
        self._take_loss(logs, batch - self._last, batch + 1)
        self.parts.progress.step += batch - self._last
        self._last = batch
        events = self.parts.runner.structural_step(logs)
        for event in events:
            self.announce(event, logs)
        self.report(logs)

    def _take_loss(self, logs: Any, steps: int, in_epoch: int) -> None:
        """Keras logs the mean loss of an epoch so far: tell the loss of the last steps from it."""
        if not logs or "loss" not in logs:
            return
        total = float(logs["loss"]) * in_epoch
        before, self._total = (0.0 if steps == in_epoch else self._total), total
        self.parts.observation.loss = (total - before) / max(1, steps)

    def on_epoch_end(self, epoch, logs=None):
        """Put parameters and widths into the history, and let the strategy say what keeps it from acting."""
        self.parts.runner.end_epoch()
        self.report(logs)

    def report(self, logs: dict[str, Any] | None) -> None:
        """Add parameters and widths to the logs that other callbacks and the progress bar see."""
        runner = self.parts.runner
        if logs is not None and runner.strategy is not None:
            axes = self.parts.live.graph.axes
            found = {"parameters": self.parts.editor.parameters}
            shown = len(axes) <= SHOWN
            found |= {f"{a}_units": width for a, width in axes.items()} if shown else {"units": sum(axes.values())}
            found |= runner.metrics()
            logs.update({name: Count(number) for name, number in found.items()})

    def announce(self, event: Any, logs: Any) -> None:
        """Tell every callback that has `on_structure_change(event, logs)`."""
        for callback in self.parts.progress.listeners:
            if isinstance(callback, ObservesStructure):
                callback.on_structure_change(event, logs)
