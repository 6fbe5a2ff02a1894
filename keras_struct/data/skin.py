"""ISIC 2019: photographs of skin lesions."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from keras_struct.data.arrays import Dataset
from keras_struct.data.image_archives import SIZE, square
from keras_struct.data.splits import stratified_split

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
"""Diagnoses, in the order of their numbers. A ninth one, UNK, has no images to train on."""


def read_isic(images: Path, truth: Path, size: int = SIZE, seed: int = 0) -> Dataset:
    """Read ISIC 2019: 25331 dermoscopic images of eight diagnoses.

    Nothing is unpacked to disk.

    Args:
        images: The zip archive of JPEG files.
        truth: The table of diagnoses, comma-separated: a column `image` with the name of the file, without `.jpg`, and a column
            for each of `CLASSES`, 1 for the diagnosis of the image and 0 else.
        size: Height and width of the images; they are cropped to their central square and scaled.
        seed: Chooses the tenth of the images to test on, the same share of every class.

    Returns:
        The data set, images of shape `(size, size, 3)`.

    Raises:
        ValueError: If a file is damaged or holds something else, or an image is missing.

    References:
        Codella et al., *Skin lesion analysis toward melanoma detection*, ISBI 2018; Combalia et al., *BCN20000*, 2019;
        Tschandl et al., *The HAM10000 dataset*, 2018. Split as in Maile, thesis section 4.5.
    """
    from PIL import Image

    labels = _diagnoses(truth)
    found = {}
    try:
        with zipfile.ZipFile(images) as archive:
            places = {PurePosixPath(name).stem: name for name in archive.namelist() if name.lower().endswith(".jpg")}
            if missing := sorted(set(labels) - set(places)):
                raise ValueError(f"it lacks {len(missing)} of the images in '{truth.name}', such as {missing[0]}.jpg")
            for name in labels:
                with archive.open(places[name]) as file, Image.open(file) as image:
                    found[name] = square(image, size)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"Cannot read '{images}': it is damaged, or not that of ISIC 2019 ({error}). Download it again."
        ) from error
    x, y = np.stack(list(found.values())), np.array(list(labels.values()), np.int64)
    train, test = stratified_split(y, test_fraction=0.1, seed=seed)
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return Dataset.from_arrays("isic2019", arrays, rescale=True)


def _diagnoses(path: Path) -> dict[str, int]:
    """Number of the diagnosis of each image."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = {row["image"]: int(np.argmax([float(row[name]) for name in CLASSES])) for row in rows}
        sound = all(sum(float(row[name]) for name in CLASSES) == 1 for row in rows)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"Cannot read '{path}' ({error!r}). {_EXPECTED}") from error
    if not found or not sound:
        raise ValueError(f"'{path}' does not give each image one diagnosis. {_EXPECTED}")
    return found


_EXPECTED = (
    f"Expected a comma-separated table with the columns image, {', '.join(CLASSES)}, of which one is 1.0 in each row; "
    "download it again."
)
