"""What the commands read: data, saved models, and modules of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_struct import datasets

NO_MODELS = {".npz": "arrays", ".npy": "an array", ".csv": "a table", ".weights.h5": "weights"}
"""What files hold that are passed in the place of a model, by how their names end."""


def load_data(options: Any, seed: int = 0) -> datasets.Dataset:
    """Load what `--data` names, and print what the model is given.

    Args:
        options: What the parser read.
        seed: Chooses samples to test on, where the data are not split.
    """
    data = datasets.load(
        options.data, options.data_dir, seed, rescale=options.rescale, target=vars(options).get("target")
    )
    low, high = float(data.x_train.min()), float(data.x_train.max())
    scaled = "divided by 255, " if data.rescaled else ""
    counts = f"{len(data.x_train):,} samples of shape {data.input_shape} to train on, {len(data.x_test):,} to test on"
    print(f"Data {data.name}: {counts}; values are {scaled}from {low:g} to {high:g}.")
    if not data.rescaled and low >= 0 and high > 100:
        print("They are given to the model as they are; --rescale divides data of dtype uint8 by 255.")
    return data


def as_images(x: np.ndarray, fits: Callable[[int, int], bool], wanted: str) -> np.ndarray:
    """Return images with an axis for channels.

    Args:
        x: Images, with channels or without.
        fits: Whether a command can work with a height and a width.
        wanted: What images the command needs, for the message.

    Raises:
        ValueError: If these are no images, or their size does not fit.
    """
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or not fits(*x.shape[1:3]):
        raise ValueError(f"{wanted}, of shape (samples, height, width) or (..., channels). Received {x.shape}.")
    return x


def import_modules(names: Sequence[str]) -> None:
    """Import modules, or files, that define layers and other classes of a saved model.

    Args:
        names: Names of modules, or paths that end in `.py`.

    Raises:
        ImportError: If one cannot be imported.
    """
    for name in names:
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                if os.getcwd() not in sys.path:
                    sys.path.insert(0, os.getcwd())
                importlib.import_module(name)
        except Exception as error:  # a module of the user's own may raise anything
            raise ImportError(f"--import {name}: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def load_model(path: str) -> Any:
    """Load a saved model.

    Raises:
        ValueError: If there is no such file, it is damaged, or it needs classes that are not known; with what to do.
    """
    import keras

    from keras_struct.core.model.loading import cannot_rebuild, saved_config

    if not Path(path).is_file():
        raise ValueError(f"there is no file {path!r}: pass a model saved with model.save('NAME.keras')")
    for ending, content in NO_MODELS.items():
        if path.endswith(ending):
            raise ValueError(f"{path!r} holds {content}, and no model: pass one saved with model.save('NAME.keras')")
    try:
        config = saved_config(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path!r} is damaged, or was not written by model.save('NAME.keras') ({type(error).__name__}: {error})"
        ) from error
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras raises what its layers do
        raise ValueError(
            f"{cannot_rebuild(config, error)} A module of your own is imported with --import NAME, or --import FILE.py."
        ) from error
