"""Tables of numbers in text files: one sample a line, its class in one of the columns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from keras_struct.data.arrays import Dataset
from keras_struct.data.splits import stratified_split

TEST_FRACTION = 0.2


def read_csv(path: str | Path, target: str | None = None, seed: int = 0) -> Dataset:
    """Read a data set for classification from a `.csv` file.

    The first line may hold the names of the columns. A fifth of the samples of every class is kept to test on. Features are given
    as they are; adapt a `keras.layers.Normalization` where their scales differ.

    Args:
        path: The file, with commas between values.
        target: Name of the column that holds the classes; the last column by default. Classes are numbers or words, and are
            numbered in their order.
        seed: Chooses the samples to test on.

    Returns:
        The data set, features of shape `(samples, columns)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table, a feature is no number, there is no column `target`, or there are too few samples.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file '{path}'.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Cannot read '{path}': it is no .csv file in UTF-8 ({error}).") from error
    if not lines or len(lines[0][1]) < 2:
        raise ValueError(f"'{path}' must have lines of two or more values with commas between them.")
    first = [name.strip() for name in lines[0][1]]
    place, header = _column(path, first, target)
    rows = lines[1:] if header else lines
    return _dataset(path, rows, len(first), place, first if header else [], seed)


def _column(path: Path, first: list[str], target: str | None) -> tuple[int, bool]:
    """Which column holds the classes, and whether the first line holds names."""
    header = not any(_is_number(value) for value in first[:-1])
    if target is None:
        return len(first) - 1, header
    if target in first and header:
        return first.index(target), True
    raise ValueError(
        f"'{path}' has no column '{target}'. Columns: {', '.join(first) if header else 'they have no names'}."
    )


def _dataset(
    path: Path, rows: list[tuple[int, list[str]]], columns: int, place: int, names: list[str], seed: int
) -> Dataset:
    features, classes = [], []
    for number, row in rows:
        if len(row) != columns:
            raise ValueError(f"Line {number} of '{path}' has {len(row)} values; the first one has {columns}.")
        classes.append(row[place].strip())
        features.append([value.strip() for i, value in enumerate(row) if i != place])
        wrong = next((i for i, value in enumerate(features[-1]) if not _is_number(value)), None)
        if wrong is not None:
            column = wrong + (wrong >= place)
            name = f"'{names[column]}'" if names else str(column + 1)
            raise ValueError(
                f"Line {number} of '{path}' has {features[-1][wrong]!r} in column {name}: features must be numbers. Encode "
                "words as numbers, and fill in or remove what is missing."
            )
    known = sorted(set(classes), key=lambda name: (float(name), "") if _is_number(name) else (np.inf, name))
    labels = np.array([known.index(name) for name in classes], np.int64)
    train, test = stratified_split(labels, TEST_FRACTION, seed)
    if not len(test):
        raise ValueError(f"'{path}' has too few samples to keep a fifth of every class to test on: {len(labels)}.")
    x = np.array(features, np.float64).astype(np.float32)
    arrays = {"x_train": x[train], "y_train": labels[train], "x_test": x[test], "y_test": labels[test]}
    return Dataset.from_arrays(path.stem, arrays)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
