"""The state of a structure inside Keras's weight files."""

from __future__ import annotations

import json
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

_NAME = "structure"


def state_array(state: dict[str, Any]) -> np.ndarray:
    """Return the state as an array of bytes (uint8), which weight files can hold."""
    return np.frombuffer(json.dumps(state).encode(), np.uint8)


def state_from_array(array: Any) -> dict[str, Any]:
    """Return the state that `state_array` packed."""
    return json.loads(np.asarray(array, np.uint8).tobytes().decode())


def structure_in(filepath: Any) -> dict[str, Any] | None:
    """Return the state that a `.weights.h5` or `.keras` file holds, or `None`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged.
    """
    path = Path(str(filepath))
    if path.suffix not in (".h5", ".keras"):
        return None
    if not path.exists():
        raise FileNotFoundError(f"Cannot load weights: there is no file '{path}'.")
    if path.is_dir():
        return None
    try:
        return _state_in(path)
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise ValueError(
            f"'{path}' is damaged, or is no file of Keras ({path.stat().st_size} bytes; {error}). The model is as it was. Use "
            "another copy of the file, or an earlier checkpoint."
        ) from error


def _state_in(path: Path) -> dict[str, Any] | None:
    import h5py

    source: Any = path
    if path.suffix == ".keras" or zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source, "r") as file:
        places: list[str] = []
        file.visit(lambda name: places.append(name) if name.split("/")[-1] == _NAME else None)
        own = [place for place in places if isinstance(file[place], h5py.Dataset)]
        return state_from_array(file[min(own, key=len)]) if own else None
