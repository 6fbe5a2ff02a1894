"""EMNIST: handwritten letters and digits."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_struct.data.arrays import Dataset
from keras_struct.data.downloads import fetched
from keras_struct.data.local_copies import data_folder, find_copy
from keras_struct.data.splits import stratified_sample

ORIGIN = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
ARCHIVES = ("emnist-gzip.zip", "gzip.zip")
"""Names of the archive: what it is downloaded as, and its own."""
CLASSES = {"letters": 26, "balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "mnist": 10}
"""Splits of EMNIST and their numbers of classes."""
SPLITS = {"emnist": "letters"} | {f"emnist_{split}": split for split in CLASSES}
"""Names that `load` knows, and the split of each."""
SIDE = 28


def emnist(
    split: str = "letters",
    max_train: int | None = None,
    classes: int | Sequence[int] | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
) -> Dataset:
    """Load EMNIST, handwritten letters and digits in the form of MNIST, or a part of it.

    "Truncated EMNIST", on which the paper of FreeNets reports, is defined nowhere: neither the split nor the number of
    samples or classes is given. Likely readings are "letters", or a truncated "byclass", which `max_train` and `classes` make;
    none is known to be the one meant, so do not compare results with those of the paper.

    Args:
        split: "letters" (26 classes, capital and small together, 124800 images to train on and 20800 to test on);
            "balanced" (47 classes: digits, capitals, and those small letters that look different; 112800 and 18800);
            "bymerge" (the same classes, unbalanced; 697932 and 116323); "byclass" (62 classes: digits, capitals, small
            letters, unbalanced; 697932 and 116323); "digits" (10 classes, 240000 and 40000) or "mnist" (10 classes, 60000
            and 10000).
        max_train: Keep at most so many images to train on, chosen at random: the same share of every class, as far as whole
            numbers allow, and at least one. All by default. The test images are all kept.
        classes: Keep only the first so many classes, or the classes with these numbers, which are numbered from 0 in the
            order given. All by default. Classes of every split are counted from 0, in "letters" too: A is 0.
        data_dir: A folder that is looked into first. Found there are `emnist_<split>.npz` ("letters" also as `emnist.npz`); the
            four files `emnist-<split>-{train,test}-{images-idx3,labels-idx1}-ubyte.gz`, in the folder itself or its subfolder
            `gzip`; and the archive that is downloaded otherwise (536 MB), as `emnist-gzip.zip` or `gzip.zip`. Nothing is
            unpacked to disk.
        seed: Chooses the images to train on if there are more than `max_train`.

    Returns:
        The data set, upright images of shape `(28, 28)`. If a part was chosen, its name says which.

    Raises:
        ConnectionError: If the download fails.
        FileNotFoundError: If `data_dir` does not exist.
        ValueError: If the split is unknown, `classes` or `max_train` do not fit it, or a file is missing, damaged or foreign.

    References:
        G. Cohen, S. Afshar, J. Tapson, A. van Schaik, *EMNIST: Extending MNIST to handwritten letters*, IJCNN 2017.
    """
    if not isinstance(split, str) or split not in CLASSES:
        raise ValueError(f"Unknown split of EMNIST: expected one of {', '.join(CLASSES)}. Received: split={split!r}")
    kept = _kept(classes, split)
    _check_max_train(max_train, len(kept))
    return _part(_arrays(split, data_folder(data_dir)), split, kept, max_train, seed)


def _kept(classes: Any, split: str) -> list[int]:
    """Numbers of the classes to keep."""
    count = CLASSES[split]
    if classes is None:
        return list(range(count))
    if _is_whole(classes):
        if not 1 <= classes <= count:
            raise ValueError(f"'{split}' has {count} classes: `classes` must be from 1 to {count}. Received: {classes}")
        return list(range(classes))
    numbers = list(classes) if isinstance(classes, Sequence | np.ndarray) else []
    if not numbers or not all(_is_whole(number) for number in numbers):
        raise ValueError(
            "`classes` must be a whole number, how many classes to keep, or a sequence of the numbers of these classes, or None "
            f"for all. Received: classes={classes!r}"
        )
    if outside := [int(number) for number in numbers if not 0 <= number < count]:
        raise ValueError(f"Classes of '{split}' are numbered from 0 to {count - 1}; `classes` also holds {outside}.")
    if repeated := sorted({int(number) for number in numbers if numbers.count(number) > 1}):
        raise ValueError(
            f"`classes` must name each class once; {repeated} come repeatedly. Received: classes={classes!r}"
        )
    return [int(number) for number in numbers]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_max_train(max_train: Any, classes: int) -> None:
    if max_train is not None and not (_is_whole(max_train) and max_train >= classes):
        raise ValueError(
            f"`max_train` must be a whole number of at least {classes}, one sample for each class that is kept, or None for all "
            f"samples. Received: max_train={max_train!r}"
        )


def _part(arrays: Mapping[str, np.ndarray], split: str, kept: list[int], max_train: int | None, seed: int) -> Dataset:
    """The classes that are kept, with new numbers, and of their training samples `max_train`."""
    number = np.full(CLASSES[split], -1, np.int64)
    number[kept] = np.arange(len(kept))
    labels = {part: number[arrays[f"y_{part}"]] for part in ("train", "test")}
    chosen = {part: np.flatnonzero(labels[part] >= 0) for part in labels}
    if max_train is not None and max_train < len(chosen["train"]):
        chosen["train"] = chosen["train"][stratified_sample(labels["train"][chosen["train"]], max_train, seed)]
    name = _name(split, kept, len(chosen["train"]), len(labels["train"]))
    parts = {f"x_{part}": arrays[f"x_{part}"][chosen[part]] for part in labels}
    parts |= {f"y_{part}": labels[part][chosen[part]] for part in labels}
    return replace(Dataset.from_arrays(name, parts, rescale=True), num_classes=len(kept))


def _name(split: str, kept: list[int], samples: int, available: int) -> str:
    every = kept == list(range(CLASSES[split]))
    if every and samples == available:
        return f"emnist_{split}"
    first = kept == list(range(len(kept)))
    which = f"{len(kept)} classes" if first else f"classes {', '.join(map(str, kept))}"
    return f"emnist_{split} ({samples} training samples, {which})"


def _arrays(split: str, folder: Path | None) -> Mapping[str, np.ndarray]:
    """Images, and labels from 0, from wherever the split is found."""
    if folder is not None:
        for name in (f"emnist_{split}", *(("emnist",) if split == SPLITS["emnist"] else ())):
            if (copy := find_copy(folder, name)) is not None:
                return _checked_copy(copy, split)
        if (places := _loose_files(folder, split)) is not None:
            return _read(split, str(folder), lambda file: places[file].open("rb"))
    return read_emnist_archive(_archive(split, folder), split)


def _checked_copy(copy: Dataset, split: str) -> Mapping[str, np.ndarray]:
    if copy.num_classes > CLASSES[split]:
        raise ValueError(
            f"The copy '{copy.name}' has labels up to {copy.num_classes - 1}, but '{split}' has {CLASSES[split]} classes, "
            "counted from 0. Renumber the labels, or name the file after the split that it holds."
        )
    return vars(copy)


def _archive(split: str, folder: Path | None) -> Path:
    """The archive: in the folder, under one of its names, or downloaded."""
    places = [folder / file for file in ARCHIVES] if folder is not None else []
    found = next((place for place in places if place.is_file()), None)
    return found or fetched(f"emnist_{split}", ORIGIN, None, ARCHIVES[0])


def _files(split: str) -> dict[str, tuple[str, str]]:
    """Names of the files of images and labels."""
    return {
        part: (f"emnist-{split}-{part}-images-idx3-ubyte.gz", f"emnist-{split}-{part}-labels-idx1-ubyte.gz")
        for part in ("train", "test")
    }


def _loose_files(folder: Path, split: str) -> dict[str, Path] | None:
    """Where the four files of a split lie in a folder; `None` if they do not."""
    wanted = [file for files in _files(split).values() for file in files]
    places = {file: place for file in wanted for place in (folder / "gzip" / file, folder / file) if place.is_file()}
    if len(places) == len(wanted):
        return places
    if not places or any((folder / file).is_file() for file in ARCHIVES):
        return None
    missing = [file for file in wanted if file not in places]
    raise ValueError(
        f"'{folder}' holds only some files of EMNIST '{split}'; add {', '.join(missing)}, or {ARCHIVES[0]}."
    )


def read_emnist_archive(path: Path, split: str) -> Mapping[str, np.ndarray]:
    """Read a split of EMNIST from the zip archive of all splits.

    Of the archive only the four files of the split are read; nothing is unpacked to disk.

    Args:
        path: The archive.
        split: One of `CLASSES`.

    Returns:
        Arrays `x_train`, `y_train`, `x_test` and `y_test`: images of shape `(samples, 28, 28)`, uint8, upright, and labels
        from 0.

    Raises:
        ValueError: If the archive is damaged or foreign, or lacks a file.
    """
    wanted = [file for files in _files(split).values() for file in files]
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"Cannot read '{path}': it is damaged, or no zip archive ({error}). {_AGAIN}") from error
    with archive:
        places = {PurePosixPath(name).name: name for name in archive.namelist()}
        if missing := [file for file in wanted if file not in places]:
            raise ValueError(f"'{path}' lacks {', '.join(missing)}: it is not the archive of EMNIST. {_AGAIN}")
        return _read(split, str(path), lambda file: archive.open(places[file]))


_AGAIN = f"Expected what {ORIGIN} holds; delete the file and download it again."


def _read(split: str, source: str, opened: Callable[[str], Any]) -> Mapping[str, np.ndarray]:
    """The four files of a split; `opened` opens one by its name."""
    first = 1 if split == "letters" else 0
    last = first + CLASSES[split] - 1
    arrays = {}
    for part, files in _files(split).items():
        images, labels = (_idx(opened, file, source, axes) for file, axes in zip(files, (3, 1), strict=True))
        if len(images) != len(labels) or not len(labels):
            raise ValueError(
                f"'{source}' must hold one label an image, but there are {len(images)} images in {files[0]} and "
                f"{len(labels)} labels in {files[1]}. {_AGAIN}"
            )
        if labels.min() < first or labels.max() > last:
            raise ValueError(
                f"Labels of '{split}' go from {first} to {last}, but those in {files[1]} of '{source}' from "
                f"{labels.min()} to {labels.max()}: they are of another split. {_AGAIN}"
            )
        arrays[f"x_{part}"] = np.ascontiguousarray(images.swapaxes(1, 2))  # the files hold them transposed
        arrays[f"y_{part}"] = labels - first
    return arrays


def _idx(opened: Callable[[str], Any], file: str, source: str, axes: int) -> np.ndarray:
    """Bytes of an idx file: images, with three axes, or labels, with one."""
    where = f"{file} of '{source}'"
    try:
        with opened(file) as packed, gzip.open(packed) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"Cannot read {where}: it is damaged, or no gzip file ({error}). {_AGAIN}") from error
    header, magic = 4 * (1 + axes), bytes([0, 0, 8, axes])  # 8: bytes
    if len(content) < header or content[:4] != magic:
        raise ValueError(
            f"{where} is no idx file of bytes with {axes} axes: it must begin with the magic number {magic.hex()}, and have "
            f"{header} bytes at least. It has {len(content)} and begins with {content[:4].hex() or 'none'}. {_AGAIN}"
        )
    shape = tuple(np.frombuffer(content, ">u4", axes, offset=4).tolist())
    if shape[1:] != (SIDE, SIDE)[: axes - 1]:
        raise ValueError(f"{where} must hold images of {SIDE} x {SIDE}; its shape is {shape}. {_AGAIN}")
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{where} must have {header + math.prod(shape)} bytes for its shape {shape}, but has {len(content)}. {_AGAIN}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
