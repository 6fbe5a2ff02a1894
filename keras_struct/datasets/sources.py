"""Where data sets come from: a file, scikit-learn, or the loaders of Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_struct.datasets.arrays import EXPECTED, Dataset, read_npz
from keras_struct.datasets.local_copies import find_copy

DOWNLOADED = ("mnist", "fashion_mnist", "cifar10", "cifar100")
NAMES = ("digits", *DOWNLOADED)
"""Data sets that `load` knows by name."""


def load(name_or_path: str | Path, data_dir: str | Path | None = None, seed: int = 0) -> Dataset:
    """Load a data set for classification.

    Images keep their shape, without a channel axis where the source has none; flatten them for dense layers. Values of
    images are in [0, 1].

    Args:
        name_or_path: One of `NAMES`, or an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test`.
            "digits" (1797 images of 8 x 8) comes with scikit-learn; the others of `NAMES` are downloaded by Keras.
        data_dir: A folder that is looked into first, or for a file that is not found otherwise. Copies of a data set
            are found there as `<name>.npz`; as the folder `cifar-10-batches-py` or `cifar-100-python` that its authors
            publish and Keras unpacks; and as `<name>_jpeg.npz`, JPEG files in arrays `jpeg_train` (uint8, the bytes of
            all files), `offsets_train` (file `i` is `jpeg_train[offsets_train[i]:offsets_train[i + 1]]`) and
            `y_train`, and the same for `test`. JPEG keeps images only approximately.
        seed: Chooses the fifth of "digits" to test on, the same share of every class. Others are split already.

    Returns:
        The data set, features in float32.

    Raises:
        ConnectionError: If a download fails.
        FileNotFoundError: If `data_dir` or the file does not exist.
        ImportError: If "digits" is asked for without scikit-learn, or a copy holds JPEG files and Pillow is missing.
        ValueError: If the name is unknown, or a file damaged or foreign.

    References:
        "digits": E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository,
        1998; its test part, as scikit-learn has it.

    >>> load("digits").x_train.shape
    (1438, 8, 8)
    """
    name = name_or_path if isinstance(name_or_path, str) else None
    folder = _folder(data_dir)
    copy = find_copy(folder, name) if name and folder else None
    if copy is not None:
        return copy
    if name == "digits":
        return _digits(seed)
    if name in DOWNLOADED:
        return _downloaded(name)
    return read_npz(_found(Path(name_or_path), folder))


def _folder(data_dir: str | Path | None) -> Path | None:
    if data_dir is None:
        return None
    if not Path(data_dir).is_dir():
        raise FileNotFoundError(f"The data folder '{data_dir}' does not exist or is not a folder.")
    return Path(data_dir)


def _found(path: Path, folder: Path | None) -> Path:
    """The file at `path`, or else in `folder`."""
    for candidate in (path, folder / path) if folder else (path,):
        if candidate.is_file():
            return candidate
    looked = f"; there is no such file in '{folder}' either" if folder else ""
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no data file '{path}'{looked}. {EXPECTED}")
    raise ValueError(
        f"Unknown data set '{path}'{looked}. Known are {', '.join(NAMES)}; or give the path of an .npz file."
    )


def _downloaded(name: str) -> Dataset:
    """A data set that Keras downloads, or has downloaded before."""
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise ConnectionError(
            f"Keras could not download '{name}' ({error}). Without a connection, put a file '{name}.npz' into a folder "
            f"and pass that folder as `data_dir`, or pass the path of the file. {EXPECTED}"
        ) from error
    return Dataset.from_arrays(name, {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test})


def _digits(seed: int) -> Dataset:
    """8 x 8 images of digits, values scaled from 0..16 to [0, 1]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("'digits' comes with scikit-learn, which is missing: pip install scikit-learn.") from error
    bunch = load_digits()
    images, labels = (bunch.images / 16).astype(np.float32), bunch.target
    train, test = stratified_split(labels, test_fraction=0.2, seed=seed)
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
    return Dataset.from_arrays("digits", arrays)


def stratified_split(labels: np.ndarray, test_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to test on, with the same share of every class.

    Args:
        labels: Shape `(samples,)`, integers.
        test_fraction: Share of every class to test on, rounded to whole samples.
        seed: Same seed, same split.

    Returns:
        Two increasing vectors of indices that together are all.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(test_fraction * len(members))]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
