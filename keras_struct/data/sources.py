"""Where data sets come from: a file, scikit-learn, or the loaders of Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_struct.data.arrays import EXPECTED, Dataset, read_npz
from keras_struct.data.downloads import fetched
from keras_struct.data.handwritten import SPLITS, emnist
from keras_struct.data.image_archives import ORIGINS, SIZE, read_galaxy10, read_image_archive
from keras_struct.data.local_copies import data_folder, find_copy
from keras_struct.data.rotated import rotated_mnist
from keras_struct.data.skin import read_isic
from keras_struct.data.splits import stratified_split
from keras_struct.data.tables import read_csv

DOWNLOADED = ("mnist", "fashion_mnist", "cifar10", "cifar100")
NAMES = ("digits", *DOWNLOADED, "rotated_mnist", *SPLITS, *ORIGINS)
"""Data sets that `load` knows by name."""


def load(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    seed: int = 0,
    image_size: int | None = None,
    rescale: bool = False,
    target: str | None = None,
) -> Dataset:
    """Load a data set for classification.

    Images keep their shape, without a channel axis where the source has none; flatten them for dense layers. Values of
    images of the data sets that are known by name are in [0, 1]; those of files are as they are.

    Args:
        name_or_path: One of `NAMES`, an `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test`, or a `.csv`
            file; see `read_csv`.
            "digits" (1797 images of 8 x 8) comes with scikit-learn, "rotated_mnist" is made of "mnist", and "emnist" is
            "emnist_letters" (`emnist` also loads parts); the others of `NAMES` are downloaded by Keras.
        data_dir: A folder that is looked into first, or for a file that is not found otherwise. Copies of a data set
            are found there as `<name>.npz`; as the folder `cifar-10-batches-py` or `cifar-100-python` that its authors
            publish and Keras unpacks; and as `<name>_jpeg.npz`, JPEG files in arrays `jpeg_train` (uint8, the bytes of
            all files), `offsets_train` (file `i` is `jpeg_train[offsets_train[i]:offsets_train[i + 1]]`) and
            `y_train`, and the same for `test`. JPEG keeps images only approximately. "imagenette", "imagewoof" and
            "galaxy10" are found there as the files that are downloaded otherwise: `imagenette2-160.tgz` (100 MB),
            `imagewoof2-160.tgz` (90 MB) and `Galaxy10_DECals.h5` (2.7 GB); "isic2019" as
            `ISIC_2019_Training_Input.zip` (9.1 GB) and `ISIC_2019_Training_GroundTruth.csv`; all splits of EMNIST as
            `emnist-gzip.zip` (536 MB), or as `emnist` tells.
        seed: Chooses the fifth of "digits", or the tenth of "galaxy10" and "isic2019", to test on, the same share of every
            class, and the images and angles of "rotated_mnist". Others are split already.
        image_size: Height and width that images of "imagenette", "imagewoof", "galaxy10" and "isic2019" are scaled to; 64 by
            default.
        rescale: Divide features of dtype uint8 in an `.npz` file by 255.
        target: Column of a `.csv` file that holds the classes; the last one by default.

    Returns:
        The data set, features in float32.

    Raises:
        ConnectionError: If a download fails.
        FileNotFoundError: If `data_dir` or the file does not exist.
        ImportError: If "digits" is requested without scikit-learn, or a copy holds JPEG files and Pillow is missing.
        ValueError: If the name is unknown, a file damaged or foreign, or `image_size` given for other data.

    References:
        "digits": E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository,
        1998; its test part, as scikit-learn has it. Imagenette and Imagewoof: J. Howard, ten classes of ImageNet each.
        EMNIST: Cohen et al. Galaxy10 DECaLS: H. Leung, J. Bovy. ISIC 2019: Codella et al., Combalia et al., Tschandl et al.

    >>> load("digits").x_train.shape
    (1438, 8, 8)
    """
    name = name_or_path if isinstance(name_or_path, str) else None
    folder = data_folder(data_dir)
    if name in ORIGINS:
        return _archive(name, folder, seed, SIZE if image_size is None else image_size)
    if image_size is not None:
        raise ValueError(
            f"`image_size` scales images of {', '.join(ORIGINS)} only. Received: {image_size} for '{name_or_path}'"
        )
    if name in SPLITS:
        return emnist(SPLITS[name], data_dir=folder)
    copy = find_copy(folder, name) if name and folder else None
    if copy is not None:
        return copy
    if name == "digits":
        return _digits(seed)
    if name == "rotated_mnist":
        return rotated_mnist(load("mnist", data_dir), seed)
    if name in DOWNLOADED:
        return _downloaded(name)
    path = _found(Path(name_or_path), folder)
    return read_csv(path, target, seed) if path.suffix == ".csv" else read_npz(path, rescale=rescale)


def _found(path: Path, folder: Path | None) -> Path:
    """The file at `path`, or else in `folder`."""
    for candidate in (path, folder / path) if folder else (path,):
        if candidate.is_file():
            return candidate
    looked = f"; there is no such file in '{folder}' either" if folder else ""
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no data file '{path}'{looked}. {EXPECTED}")
    raise ValueError(
        f"Unknown data set '{path}'{looked}. Known are {', '.join(NAMES)}; or give the path of an .npz or a .csv file."
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
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return Dataset.from_arrays(name, arrays, rescale=True)


def _archive(name: str, folder: Path | None, seed: int, size: int) -> Dataset:
    """An image set in one file or two."""
    if size < 1:
        raise ValueError(f"`image_size` must be a positive integer. Received: image_size={size}")
    path = fetched(name, ORIGINS[name], folder)
    if name == "galaxy10":
        return read_galaxy10(path, size, seed)
    if name == "isic2019":
        return read_isic(path, fetched(name, ORIGINS[name].replace("Input.zip", "GroundTruth.csv"), folder), size, seed)
    return read_image_archive(path, name, size)


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
