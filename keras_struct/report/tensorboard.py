"""Widths, parameters and events in TensorBoard."""

from __future__ import annotations

import os
from typing import Any

import keras

from keras_struct.core.backend.summaries import SummaryWriter
from keras_struct.core.model.parts import find_parts


class StructureTensorBoard(keras.callbacks.Callback):
    """Writes the width of every axis, the number of parameters and every structural event for TensorBoard.

    Use it beside `keras.callbacks.TensorBoard`, with the same `log_dir`.

    Args:
        log_dir: Folder of the logs; scalars go into its subfolder `structure`.

    Examples:
        >>> history = model.fit(x, y, verbose=0, callbacks=[StructureTensorBoard("logs")])
    """

    def __init__(self, log_dir: str = "logs") -> None:
        super().__init__()
        self.log_dir = os.path.join(log_dir, "structure")
        self._writer: Any = None

    def on_train_begin(self, logs=None):
        """Open the file and write the widths to start with."""
        self._writer = SummaryWriter(self.log_dir)
        if (parts := find_parts(self.model)) is not None:
            for axis, width in parts.live.graph.axes.items():
                self._writer.scalar(f"units/{axis}", width, 0)

    def on_structure_change(self, event, logs=None):
        """Write one event."""
        self._writer.scalar(f"units/{event.axis}", event.before, max(event.step - 1, 0))
        self._writer.scalar(f"units/{event.axis}", event.after, event.step)
        self._writer.scalar("parameters", event.parameters, event.step)
        self._writer.text("events", f"{event.axis}: {event.before} -> {event.after} ({event.reason})", event.step)

    def on_train_end(self, logs=None):
        """Close the file."""
        self._writer.close()
