"""Arrays for training and testing, checked once so that nothing downstream has to."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

KEYS = ("x_train", "y_train", "x_test", "y_test")
EXPECTED = (
    "Expected an .npz file as numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...) writes it: features "
    "with one sample along the first axis, and labels as integers from 0 to the number of classes - 1."
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and labels of a classification, to train on and to test on.

    Attributes:
        name: What it is called.
        x_train: Features to train on, shape `(samples, ...)`, float32, finite.
        y_train: Their labels, shape `(samples,)`, int64, from 0 to `num_classes - 1`.
        x_test: Features to test on, shape `(samples, ...)`, float32, finite.
        y_test: Their labels, shape `(samples,)`, int64.
        num_classes: Number of classes.
        rescaled: Whether features of dtype uint8 were divided by 255.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    num_classes: int
    rescaled: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the features of one sample."""
        return self.x_train.shape[1:]

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Any], rescale: bool = False) -> Dataset:
        """Check and convert arrays as they come.

        Args:
            name: What the data are called.
            arrays: Holds `x_train`, `y_train`, `x_test` and `y_test`. Labels of shape `(samples, 1)` are flattened.
            rescale: Divide features of dtype uint8, as images have, by 255; they are kept as they are otherwise.

        Returns:
            The data set, in float32 and int64.

        Raises:
            ValueError: If an array is missing, empty or of the wrong dtype or shape, if features are not finite, labels
                negative, or lengths or shapes differ.
        """
        missing = [key for key in KEYS if key not in arrays]
        if missing:
            raise ValueError(f"Data '{name}' lack {missing}; there are {sorted(arrays)}. {EXPECTED}")
        given = {key: np.asarray(arrays[key]) for key in KEYS}
        x_train, x_test = (_features(name, key, given[key], rescale) for key in ("x_train", "x_test"))
        y_train, y_test = (_labels(name, key, given[key]) for key in ("y_train", "y_test"))
        _check_lengths(name, {"train": (x_train, y_train), "test": (x_test, y_test)})
        if x_train.shape[1:] != x_test.shape[1:]:
            raise ValueError(
                f"Samples of 'x_train' and 'x_test' of data '{name}' differ in shape: {x_train.shape[1:]} and "
                f"{x_test.shape[1:]}. Preprocess both in the same way."
            )
        classes = int(max(y_train.max(), y_test.max())) + 1
        return cls(name, x_train, y_train, x_test, y_test, classes, rescale and given["x_train"].dtype == np.uint8)


def read_npz(path: str | Path, name: str | None = None, rescale: bool = False) -> Dataset:
    """Read a data set from an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test`.

    Nothing in the file is executed: arrays of Python objects are refused, as they would have to be unpickled.

    Args:
        path: The file.
        name: What to call the data; the name of the file by default.
        rescale: Divide features of dtype uint8 by 255.

    Returns:
        The data set; see `Dataset.from_arrays` for how features and labels are converted.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, no `.npz` file, or does not hold such arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file '{path}'. {EXPECTED}")
    return Dataset.from_arrays(name or path.stem, _arrays(path), rescale)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file. Of other arrays only the names are looked at, to tell them in an error."""
    start = _start(path)
    if not (start.startswith(b"PK") and zipfile.is_zipfile(path)):
        raise ValueError(f"'{path}' is no .npz file: {_kind(path, start)}. {EXPECTED}")
    with path.open("rb") as file:
        try:
            content = np.load(file, allow_pickle=False)
        except Exception as error:  # what damaged bytes make NumPy and zipfile raise is not documented
            raise ValueError(f"Cannot read '{path}': it is damaged ({_first_line(error)}). {EXPECTED}") from error
        with content:
            return {key: _member(path, content, key) if key in KEYS else np.empty(0) for key in content.files}


def _member(path: Path, content: Any, key: str) -> np.ndarray:
    try:
        return content[key]
    except Exception as error:  # nor what they make zlib raise
        reason = f"it is damaged ({_first_line(error)})"
        if isinstance(error, ValueError) and "Object arrays" in str(error):
            reason = (
                "it holds Python objects, which could run code and are not read; convert it with astype and save again"
            )
        raise ValueError(f"Cannot read array '{key}' of '{path}': {reason}. {EXPECTED}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _kind(path: Path, start: bytes) -> str:
    """What a file that is no zip archive looks like."""
    if start.startswith(b"\x93NUMPY"):
        return "it holds a single array, as numpy.save writes it"
    if start.startswith(b"PK"):
        return f"it is cut short, at {path.stat().st_size} bytes; copy or download it again"
    return f"it begins with {start!r}" if start else "it is empty"


def _features(name: str, key: str, array: np.ndarray, rescale: bool) -> np.ndarray:
    """Features in float32; images of bytes in [0, 1] if they are to be rescaled."""
    where = f"'{key}' of data '{name}'"
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} must hold real numbers, not {array.dtype}; convert them with astype('float32').")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"{where} must have shape (samples, features...) without an empty axis, not {array.shape}. Give a single "
            "feature an axis of its own with x[:, None]."
        )
    with np.errstate(over="ignore"):
        features = array.astype(np.float32)
    finite = np.isfinite(features)
    if not finite.all():
        raise ValueError(
            f"{where} holds {finite.size - np.count_nonzero(finite)} values that are NaN or infinite in float32, of "
            f"{finite.size}. Remove these samples, or replace the values."
        )
    if rescale and array.dtype == np.uint8:
        features /= np.float32(255)
    return features


def _labels(name: str, key: str, array: np.ndarray) -> np.ndarray:
    """Labels as a vector in int64."""
    where = f"'{key}' of data '{name}'"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{where} must have shape (samples,) or (samples, 1) and not be empty; its shape is {array.shape}. Turn "
            "one-hot labels into numbers with y.argmax(axis=-1)."
        )
    if array.dtype.kind not in "iu":
        raise ValueError(f"{where} must hold integers, one class each, not {array.dtype}; try y.astype('int64').")
    if array.min() < 0 or array.max() >= np.iinfo(np.int32).max:
        raise ValueError(
            f"{where} must number the classes from 0; labels go from {array.min()} to {array.max()}. Renumber "
            "them with numpy.unique(y, return_inverse=True)."
        )
    return array.astype(np.int64)


def _check_lengths(name: str, parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for part, (x, y) in parts.items():
        if len(x) != len(y):
            raise ValueError(
                f"'x_{part}' of data '{name}' has {len(x)} samples, but 'y_{part}' has {len(y)} labels. Give one label "
                "a sample, in the same order."
            )
