"""Files that hold the weights of sparse networks without their zeros."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from keras_struct.core.export.plain import to_plain

_CONFIG, _COUNT = "config", "count"


def save_compact(model: Any, path: str | os.PathLike) -> int:
    """Write a network in stock Keras layers, without the zeros among its weights, as an `.npz` file.

    Of an array with many zeros one bit for each entry says whether it is zero, and the others follow; other arrays are written
    whole. Connections that a mask has removed are zeros. Units that nothing reads are left to `model.prune_silent()`.

    Args:
        model: A `StructuralModel` or any Functional or Sequential model. Compile arguments and the optimizer are left out.
        path: The file; `.npz` is appended if it is missing.

    Returns:
        The size of the file in bytes.
    """
    plain = to_plain(model)
    arrays: dict[str, Any] = {
        _CONFIG: np.frombuffer(plain.to_json().encode(), np.uint8),
        _COUNT: np.array(len(plain.weights)),
    }
    for i, weight in enumerate(plain.weights):
        value = np.array(keras.ops.convert_to_numpy(weight))
        value = value.astype(np.float32) if value.dtype.kind == "V" else value  # such as bfloat16
        there = value != 0
        if there.sum() * value.itemsize + value.size / 8 < value.nbytes:
            arrays[f"bits-{i}"], arrays[f"values-{i}"] = np.packbits(there.ravel()), value[there]
        else:
            arrays[f"whole-{i}"] = value
    path = os.fspath(path)
    path = path if path.endswith(".npz") else f"{path}.npz"
    np.savez(path, **arrays)
    return os.path.getsize(path)


def load_compact(path: str | os.PathLike) -> keras.Model:
    """Return the network that `save_compact` wrote, in stock Keras layers, not compiled.

    Args:
        path: The file.

    Raises:
        ValueError: If it was not written by `save_compact`.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if _CONFIG not in arrays.files:
            raise ValueError(f"'{path}' was not written by save_compact; it holds {arrays.files[:5]}.")
        model = keras.models.model_from_json(arrays[_CONFIG].tobytes().decode())
        weights = []
        for i, weight in zip(range(int(arrays[_COUNT])), model.weights, strict=True):
            if f"whole-{i}" in arrays.files:
                weights.append(arrays[f"whole-{i}"])
                continue
            values, size = arrays[f"values-{i}"], int(np.prod(weight.shape))
            value = np.zeros(size, values.dtype)
            value[np.unpackbits(arrays[f"bits-{i}"], count=size).astype(bool)] = values
            weights.append(value.reshape(tuple(weight.shape)))
    model.set_weights(weights)
    return model
