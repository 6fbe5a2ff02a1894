"""The state of a structure inside Keras's weight files."""

from __future__ import annotations

import json
import zipfile
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
    """Return the state that a `.weights.h5` or `.keras` file holds, or `None`."""
    import h5py

    path = Path(str(filepath))
    if path.suffix not in (".h5", ".keras") or not path.is_file():
        return None
    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source, "r") as file:
        places: list[str] = []
        file.visit(lambda name: places.append(name) if name.split("/")[-1] == _NAME else None)
        own = [place for place in places if isinstance(file[place], h5py.Dataset)]
        return state_from_array(file[min(own, key=len)]) if own else None
