"""Backups from which a killed run resumes as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_struct.core.model.parts import find_parts, parts_of

_POINTER = "latest.json"


def not_written(error: OSError, good: Path | None, resume: str) -> str:
    """What to say when a backup cannot be written.

    Args:
        error: Why.
        good: The last backup that is whole, or `None` if there is none.
        resume: Name of the method that goes on from it.
    """
    reason = error.strerror or str(error)
    if good is None:
        return (
            f"The first backup could not be written ({reason}). Free space, or choose another folder, and start again."
        )
    return (
        f"A backup could not be written ({reason}), and training ends. The one before is whole: '{good}'. Free space, and call "
        f"{resume} again with the same folder: it goes on from there."
    )


class StructureBackup(keras.callbacks.Callback):
    """Saves the whole state of training, structure included, and resumes from it when `fit` is called again.

    Saved are: widths, weights, optimizer, log and state of the strategy, buffer of recent inputs, random state of the
    layers, metrics, epoch and step. With array data, `fit` shuffles by epoch number (a permutation drawn from `seed` and
    the epoch), so that a resumed run sees the batches that it would have seen. For a `tf.data.Dataset` or `PyDataset`
    the batches of the interrupted epoch are read again from the epoch's beginning and thrown away up to the place of the
    backup: a pipeline that gives the same order in every run continues exactly, another one with other batches. A plain
    Python generator cannot be rewound: its first batches are thrown away in the same way.

    Keras's `BackupAndRestore` works with a `StructuralModel` too, widths included, but resumes at the beginning of an
    epoch, with an empty buffer and another order of the data.

    Args:
        directory: Folder of the backups; made if missing. Only the latest backup is kept.
        save_freq: `"epoch"`, or a number of training steps.
        seed: Seed of the order of array data.
        delete_at_end: Remove the backup when training ends by itself, as Keras does.

    Raises:
        ValueError: If `save_freq` is neither, or the model is not a `StructuralModel` (when training begins).

    Examples:
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[StructureBackup("backup", save_freq=100)])
    """

    resumes_by_epoch = True

    def __init__(
        self, directory: str | os.PathLike, save_freq: str | int = "epoch", seed: int = 0, delete_at_end: bool = True
    ) -> None:
        super().__init__()
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"`save_freq` must be 'epoch' or a positive number of steps. Received: {save_freq!r}")
        self.directory = Path(directory)
        self.save_freq = save_freq
        self.seed = seed
        self.delete_at_end = delete_at_end
        self._epoch = 0
        self._saved_at = 0
        self._pending: dict[str, np.ndarray] | None = None

    def on_train_begin(self, logs=None):
        """Resume if there is a backup."""
        parts = find_parts(self.model)
        if parts is None:
            raise ValueError(
                "StructureBackup works with a StructuralModel. For a plain Keras model use "
                "keras.callbacks.BackupAndRestore, or convert it with StructuralModel.from_model(model)."
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self._pending = None
        if (self.directory / _POINTER).exists():
            self._resume(json.loads((self.directory / _POINTER).read_text()))
        self._saved_at = parts.progress.step

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Once the batches that were trained on before are skipped, take up metrics and random state."""
        if self._pending is not None and not parts_of(self.model).progress.skip:
            self._assign(self._pending)
            self._pending = None

    def on_train_batch_end(self, batch, logs=None):
        """Save when it is time."""
        progress = parts_of(self.model).progress
        if progress.skip or progress.skipped or not isinstance(self.save_freq, int):
            return
        if progress.step - self._saved_at >= self.save_freq:
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Save at the end of an epoch."""
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs=None):
        """Remove the backup: training is complete."""
        if self.delete_at_end:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _save(self, epoch: int, batches: int) -> None:
        """Write a new backup beside the old one, then point to it, then remove the old one."""
        parts = parts_of(self.model)
        parts.editor.sync()
        step = self._saved_at = parts.progress.step
        folder = self.directory / f"step-{step}-{epoch}-{batches}"
        try:
            self._write(folder, epoch, batches)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise OSError(error.errno, not_written(error, self._good(), "fit")) from error
        for old in self.directory.glob("step-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)

    def _good(self) -> Path | None:
        """The backup that a new `fit` would go on from."""
        pointer = self.directory / _POINTER
        return self.directory / json.loads(pointer.read_text())["folder"] if pointer.exists() else None

    def _write(self, folder: Path, epoch: int, batches: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.model.save_weights(folder / "model.weights.h5")
        state: dict[str, Any] = {**self._extras(), **self._buffer()}
        np.savez(folder / "state.npz", **state)
        pointer = {
            "folder": folder.name,
            "epoch": epoch,
            "batches": batches,
            "buffered": parts_of(self.model).observation.buffer is not None,
        }
        temporary = self.directory / "latest.tmp"
        temporary.write_text(json.dumps(pointer))
        os.replace(temporary, self.directory / _POINTER)

    def _resume(self, pointer: dict[str, Any]) -> None:
        folder = self.directory / pointer["folder"]
        self.model.load_weights(folder / "model.weights.h5")
        with np.load(folder / "state.npz", allow_pickle=False) as arrays:
            state = {key: arrays[key] for key in arrays.files}
        self._restore_buffer(state)
        self._pending = {key: value for key, value in state.items() if key.startswith("extra-")}
        parts_of(self.model).checkpoint.resume(pointer["epoch"], pointer["batches"])
        if not pointer["batches"]:
            self._assign(self._pending)
            self._pending = None

    def _extra_variables(self) -> list[Any]:
        """Variables that weight files leave out: metrics and random states."""
        weights = {id(variable) for variable in self.model.weights}
        extra = [v for v in self.model.variables if id(v) not in weights]
        known = {id(v) for v in extra}
        metrics = [v for metric in self.model.metrics for v in metric.variables]
        return extra + [v for v in metrics if id(v) not in known]

    def _extras(self) -> dict[str, np.ndarray]:
        return {f"extra-{i}": keras.ops.convert_to_numpy(v.value) for i, v in enumerate(self._extra_variables())}

    def _assign(self, state: dict[str, np.ndarray]) -> None:
        for i, variable in enumerate(self._extra_variables()):
            value = state.get(f"extra-{i}")
            if value is not None and tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)

    def _buffer(self) -> dict[str, np.ndarray]:
        buffer = parts_of(self.model).observation.buffer
        inputs = None if buffer is None else buffer.inputs()
        flat = [] if inputs is None else keras.tree.flatten(inputs)
        return {f"buffer-{i}": keras.ops.convert_to_numpy(part) for i, part in enumerate(flat)}

    def _restore_buffer(self, state: dict[str, np.ndarray]) -> None:
        buffer = parts_of(self.model).observation.buffer
        parts = [state[f"buffer-{i}"] for i in range(len(state)) if f"buffer-{i}" in state]
        if buffer is not None and parts:
            buffer.clear()
            buffer.add(parts[0] if len(parts) == 1 else keras.tree.pack_sequence_as(self.model.input, parts))
