"""Scalars and texts for TensorBoard. TensorFlow writes them, whatever Keras runs on."""

from __future__ import annotations

from typing import Any


class SummaryWriter:
    """Writes event files that TensorBoard reads.

    Args:
        directory: Folder of the event files; made if missing.
    """

    def __init__(self, directory: str) -> None:
        import tensorflow as tf

        self._tf: Any = tf
        self._writer = tf.summary.create_file_writer(directory)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write one number."""
        with self._writer.as_default():
            self._tf.summary.scalar(name, value, step=step)

    def text(self, name: str, value: str, step: int) -> None:
        """Write one text."""
        with self._writer.as_default():
            self._tf.summary.text(name, value, step=step)

    def close(self) -> None:
        """Write everything out."""
        self._writer.close()
