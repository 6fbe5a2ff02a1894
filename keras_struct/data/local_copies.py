"""Copies of data sets in a folder: as Keras unpacks them, or as JPEG files packed into one."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_struct.data.arrays import Dataset, read_npz

BATCHES = {
    "cifar10": ("cifar-10-batches-py", b"labels", [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]),
    "cifar100": ("cifar-100-python", b"fine_labels", ["train"], ["test"]),
}
"""Folder, key of the labels, files to train on and files to test on."""
PIXELS = 3 * 32 * 32


def data_folder(data_dir: str | Path | None) -> Path | None:
    """Return the folder to look for copies in, if one is given.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    if data_dir is None:
        return None
    if not Path(data_dir).is_dir():
        raise FileNotFoundError(f"The data folder '{data_dir}' does not exist or is not a folder.")
    return Path(data_dir)


def find_copy(folder: Path, name: str) -> Dataset | None:
    """Read the copy of a data set in a folder, if there is one.

    Args:
        folder: Where to look for, in this order: `<name>.npz`; for "cifar10" and "cifar100" the folder
            `cifar-10-batches-py` or `cifar-100-python` of its authors, also where Keras unpacks it; `<name>_jpeg.npz`.
        name: Name of the data set.

    Returns:
        The data set, or `None` if there is no copy.

    Raises:
        ImportError: If images must be decoded and Pillow is missing.
        ValueError: If the copy is damaged or incomplete.
    """
    if (folder / f"{name}.npz").is_file():
        return read_npz(folder / f"{name}.npz", name, rescale=True)
    if name in BATCHES:
        inner = BATCHES[name][0]
        for path in (folder / inner, folder / f"{inner}-target" / inner):
            if path.is_dir():
                return read_batches(path, name)
    if (folder / f"{name}_jpeg.npz").is_file():
        return read_jpegs(folder / f"{name}_jpeg.npz", name)
    return None


def read_batches(folder: Path, name: str) -> Dataset:
    """Read CIFAR from the pickled batches that its authors publish.

    The files are unpickled, with everything refused but NumPy arrays and plain containers, so that no code is run.

    Args:
        folder: Holds the files of `BATCHES[name]`.
        name: "cifar10" or "cifar100", with its 100 fine labels.

    Returns:
        The data set, images of shape `(32, 32, 3)`.

    Raises:
        ValueError: If a file is missing or damaged, or holds something else.

    References:
        A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, technical report, 2009.
    """
    _, key, *files = BATCHES[name]
    arrays = {}
    for part, names in zip(("train", "test"), files, strict=True):
        batches = [_batch(folder / file, key) for file in names]
        arrays[f"x_{part}"] = np.concatenate([images for images, _ in batches])
        arrays[f"y_{part}"] = np.concatenate([labels for _, labels in batches])
    return Dataset.from_arrays(name, arrays, rescale=True)


def read_jpegs(path: Path, name: str) -> Dataset:
    """Read images from JPEG files that are packed into one `.npz` file.

    JPEG keeps images only approximately: results differ a little from those on the original data.

    Args:
        path: Holds, for `train` and `test`: `jpeg_train`, uint8, the bytes of all files one after another;
            `offsets_train`, where file `i` is `jpeg_train[offsets_train[i]:offsets_train[i + 1]]`; `y_train`, the
            labels.
        name: What to call the data.

    Returns:
        The data set, images of shape `(height, width, 3)`, or `(height, width)` if they are grey.

    Raises:
        ImportError: If Pillow is missing.
        ValueError: If the file or an image in it is damaged, or images differ in shape.
    """
    arrays = {}
    for part in ("train", "test"):
        content, offsets, labels = _members(path, (f"jpeg_{part}", f"offsets_{part}", f"y_{part}"))
        _check_offsets(path, part, content, offsets)
        arrays[f"x_{part}"] = _stacked(path, part, _images(path, part, content, offsets))
        arrays[f"y_{part}"] = labels
    return Dataset.from_arrays(name, arrays, rescale=True)


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays and plain containers, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three names that a pickled array needs."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return np.ndarray if name == "ndarray" else _dtype
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which could run code and is not loaded")


def _dtype(kind: Any, align: Any = False, copy: Any = False) -> np.dtype:
    """`numpy.dtype`, called as old pickles do, with 0 and 1, of which NumPy 2.4 warns."""
    return np.dtype(kind, bool(align), bool(copy))


def _batch(path: Path, key: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images `(samples, 32, 32, 3)` and labels of one file."""
    if not path.is_file():
        raise ValueError(f"'{path.parent}' lacks the file '{path.name}'. Unpack the archive again, with all its files.")
    with path.open("rb") as file:
        try:
            content = _ArraysOnly(file, encoding="bytes").load()
        except Exception as error:  # damaged pickles raise almost anything
            raise ValueError(f"Cannot read '{path}': {error}. {_again(path)}") from error
    if not isinstance(content, dict) or not {b"data", key} <= set(content):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"'{path}' must hold a dictionary with b'data' and {key!r}, but holds {found}. {_again(path)}")
    images, labels = content[b"data"], content[key]
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{key!r} of '{path}' must be a list of integers. {_again(path)}")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != (len(labels), PIXELS):
        what = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(
            f"Images of '{path}' must be an array uint8 {(len(labels), PIXELS)}, one row a label; they are {what}. "
            f"{_again(path)}"
        )
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(labels, np.int64)


def _again(path: Path) -> str:
    return f"It is no batch of CIFAR for Python, or damaged: copy or unpack '{path.name}' again."


def _members(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            missing = [key for key in keys if key not in content.files]
            found = [] if missing else [content[key] for key in keys]
            names = sorted(content.files)
    except Exception as error:  # what damaged bytes make NumPy, zipfile and zlib raise is not documented
        raise ValueError(
            f"Cannot read '{path}': it is damaged, or no .npz file ({error}). Copy or make it again."
        ) from error
    if missing:
        raise ValueError(
            f"'{path}' lacks {missing}; there are {names}. Expected jpeg_train, offsets_train, y_train, and the same for "
            "test, with file i = jpeg[offsets[i]:offsets[i + 1]]."
        )
    return found


def _check_offsets(path: Path, part: str, content: np.ndarray, offsets: np.ndarray) -> None:
    """The offsets cut the bytes into files without gap or overlap."""
    if content.dtype != np.uint8 or content.ndim != 1:
        raise ValueError(
            f"'jpeg_{part}' of '{path}' must be a vector of uint8, the bytes of all files, not {content.dtype} "
            f"{content.shape}."
        )
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or len(offsets) < 2:
        raise ValueError(
            f"'offsets_{part}' of '{path}' must be a vector of integers, one more than there are files, not "
            f"{offsets.dtype} {offsets.shape}."
        )
    if offsets[0] != 0 or offsets[-1] != len(content) or (offsets[1:] <= offsets[:-1]).any():
        raise ValueError(
            f"'offsets_{part}' of '{path}' must increase from 0 to {len(content)}, the length of 'jpeg_{part}'; they go "
            f"from {offsets[0]} to {offsets[-1]}. The file is damaged or was packed wrongly; make it again."
        )


def _pillow(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"The images in '{path}' are JPEG files, which Pillow decodes; it is missing: pip install pillow."
        ) from error
    return Image


def _images(path: Path, part: str, content: np.ndarray, offsets: np.ndarray) -> Iterator[np.ndarray]:
    """The images one after another, in RGB or grey."""
    image, files = _pillow(path), content.tobytes()
    for i in range(len(offsets) - 1):
        try:
            with image.open(io.BytesIO(files[offsets[i] : offsets[i + 1]]), formats=["JPEG"]) as jpeg:
                decoded = np.asarray(jpeg if jpeg.mode == "L" else jpeg.convert("RGB"))
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more
            raise ValueError(
                f"Image {i} of 'jpeg_{part}' in '{path}' is no JPEG file, or damaged ({error}). Copy or make it again."
            ) from error
        yield decoded


def _stacked(path: Path, part: str, images: Iterator[np.ndarray]) -> np.ndarray:
    """The images in one array."""
    every = list(images)
    for i, image in enumerate(every):
        if image.shape != every[0].shape:
            raise ValueError(
                f"Images of 'jpeg_{part}' in '{path}' must have the same shape; image 0 has {every[0].shape}, image {i} "
                f"has {image.shape}. Scale or crop them, or make all of them grey or all RGB, before packing."
            )
    return np.stack(every)
