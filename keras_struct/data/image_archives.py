"""Image sets that come in one large file: archives of JPEG files in folders, and Galaxy10."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_struct.data.arrays import Dataset
from keras_struct.data.splits import stratified_split

IMAGENETTE = "https://s3.amazonaws.com/fast-ai-imageclas/"
ORIGINS = {
    "imagenette": f"{IMAGENETTE}imagenette2-160.tgz",
    "imagewoof": f"{IMAGENETTE}imagewoof2-160.tgz",
    "galaxy10": "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
    "isic2019": "https://isic-challenge-data.s3.amazonaws.com/2019/ISIC_2019_Training_Input.zip",
}
"""Where the data sets are downloaded from."""
SIZE = 64


def read_image_archive(path: Path, name: str, size: int = SIZE) -> Dataset:
    """Read a tar archive of JPEG files in folders `<set>/train/<class>/` and `<set>/val/<class>/`.

    Nothing is unpacked to disk.

    Args:
        path: The archive.
        name: What to call the data.
        size: Height and width of the images; they are cropped to their central square and scaled.

    Returns:
        The data set, images of shape `(size, size, 3)`, classes in the order of the names of their folders.

    Raises:
        ValueError: If the file is damaged, or holds no such images.

    References:
        J. Howard, *Imagenette*: ten easily told, and ten hardly told, classes of ImageNet.
    """
    from PIL import Image

    parts: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "val": []}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                place = PurePosixPath(member.name).parts
                if member.isfile() and len(place) >= 3 and place[-3] in parts and _is_jpeg(place[-1]):
                    file: Any = archive.extractfile(member)
                    with Image.open(file) as image:
                        parts[place[-3]].append((place[-2], square(image, size)))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"Cannot read '{path}': it is damaged, or no archive of images ({error}). {_EXPECTED}"
        ) from error
    if not all(parts.values()):
        raise ValueError(
            f"'{path}' holds {len(parts['train'])} images in train/ and {len(parts['val'])} in val/. {_EXPECTED}"
        )
    classes = {label: i for i, label in enumerate(sorted({label for part in parts.values() for label, _ in part}))}
    arrays = {}
    for part, images in (("train", parts["train"]), ("test", parts["val"])):
        arrays[f"x_{part}"] = np.stack([image for _, image in images])
        arrays[f"y_{part}"] = np.array([classes[label] for label, _ in images], np.int64)
    return Dataset.from_arrays(name, arrays, rescale=True)


_EXPECTED = (
    "Expected a tar archive with JPEG files <set>/train/<class>/*.JPEG and <set>/val/<class>/*.JPEG; download it again."
)


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpeg", ".jpg")) and not name.startswith("._")


def square(image: Any, size: int) -> np.ndarray:
    """Return the central square of a Pillow image in RGB, scaled."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((size, size), resample=2, box=box))  # 2: bilinear


def read_galaxy10(path: Path, size: int = SIZE, seed: int = 0) -> Dataset:
    """Read Galaxy10 DECaLS: 17736 coloured images of galaxies of ten shapes.

    Args:
        path: The HDF5 file with `images`, uint8 of shape `(samples, height, width, 3)`, and `ans`, the classes.
        size: Height and width to scale the images to.
        seed: Chooses the tenth of the images to test on, the same share of every class.

    Returns:
        The data set, images of shape `(size, size, 3)`.

    Raises:
        ValueError: If the file is damaged, or holds something else.

    References:
        H. Leung, J. Bovy, *Galaxy10 DECaLS*, from the DESI Legacy Imaging Surveys and Galaxy Zoo; split as in Maile, thesis
        section 4.5.
    """
    import h5py
    from PIL import Image

    try:
        with h5py.File(path) as file:
            labels = np.asarray(file["ans"], np.int64)
            images = np.stack([square(Image.fromarray(image), size) for image in file["images"]])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Cannot read '{path}': it is damaged, or not Galaxy10 ({error}). Expected an HDF5 file with `images`, uint8 of "
            "shape (samples, height, width, 3), and `ans`, their classes; download it again."
        ) from error
    if len(labels) != len(images):
        raise ValueError(f"'{path}' has {len(images)} images but {len(labels)} classes. Download it again.")
    train, test = stratified_split(labels, test_fraction=0.1, seed=seed)
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
    return Dataset.from_arrays("galaxy10", arrays, rescale=True)
