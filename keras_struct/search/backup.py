"""Backups of a search that are whole even if it dies while one is written."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.backup import not_written

_KIND = ".weights.h5"


class SearchBackup(keras.callbacks.Callback):
    """Writes the weights of a search after each epoch, and goes on behind the last one that was written.

    Other than Keras's own backup it writes each one beside the last, and takes that away afterwards. All are deleted when the
    search is over.

    Args:
        folder: Where to.

    Raises:
        ValueError: When training begins, if there is a backup of another search.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self.folder = Path(folder)

    def _written(self) -> list[Path]:
        """Whole backups, the newest last."""
        found = [path for path in self.folder.glob(f"epoch-*{_KIND}") if _epoch(path).isdecimal()]
        return sorted(found, key=lambda path: int(_epoch(path)))

    def on_train_begin(self, logs=None):
        """Go on from the last backup, if there is one."""
        if written := self._written():
            try:
                self.model.load_weights(written[-1])
            except (ValueError, OSError, KeyError) as error:
                raise ValueError(
                    f"The backup '{written[-1]}' does not belong to this search: its network, or its optimizers, are others. "
                    "Give another folder, or delete the backup."
                ) from error
            internals.start_at_epoch(self.model, int(_epoch(written[-1])) + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Write a backup.

        Raises:
            OSError: If it cannot be written; the message names the one before, which is whole.
        """
        temporary = self.folder / f"new{_KIND}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.model.save_weights(temporary, overwrite=True)
            os.replace(temporary, self.folder / f"epoch-{epoch}{_KIND}")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            good = next(reversed(self._written()), None)
            raise OSError(error.errno, not_written(error, good, "fit of the search")) from error
        for path in self._written()[:-1]:
            path.unlink()

    def on_train_end(self, logs=None):
        """Delete the backups."""
        for path in self._written():
            path.unlink()


def _epoch(path: Path) -> str:
    return path.name.removeprefix("epoch-").removesuffix(_KIND)
