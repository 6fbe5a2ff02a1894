"""Check arrays that are given to measure on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.measure.probes.buffer import first_samples


def checked_probe(model: Any, probe: Any, targets: Any) -> tuple[Any, Any]:
    """Return inputs and targets to measure on as tensors.

    Args:
        model: The model, compiled.
        probe: Inputs, an array or a structure of them.
        targets: Their targets, or `None`.

    Raises:
        ValueError: If the inputs are not those that the model takes, the targets are not as many, or the model's loss cannot
            compare them with the outputs.
    """
    wanted = keras.tree.flatten(internals.structured_ends(model)[0])
    given = keras.tree.flatten(probe)
    shapes = [tuple(part.shape) if hasattr(part, "shape") else np.shape(part) for part in given]
    if len(given) != len(wanted) or not all(map(_fits, shapes, (tuple(t.shape) for t in wanted))):
        raise ValueError(
            f"`probe` must hold inputs of the model, of shapes {[tuple(tensor.shape) for tensor in wanted]}. Received arrays of "
            f"shapes {shapes}."
        )
    x, y = (None if part is None else _as_tensors(part) for part in (probe, targets))
    lengths = {int(part.shape[0]) for part in keras.tree.flatten((x, () if y is None else y))}
    if len(lengths) > 1:
        raise ValueError(f"`probe` and `targets` must have the same number of samples. Received {sorted(lengths)}.")
    if lengths == {0}:
        raise ValueError("`probe` must hold at least one sample. Received none.")
    if y is not None:
        _check_loss(model, x, y)
    return x, y


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted, strict=True))


def _as_tensors(arrays: Any) -> Any:
    """Arrays where they are computed on, converted once; sparse and ragged tensors as they are."""
    return keras.tree.map_structure(_as_tensor, arrays)


def _as_tensor(array: Any) -> Any:
    return keras.ops.convert_to_tensor(array.toarray() if hasattr(array, "toarray") else array)  # one of SciPy


def _check_loss(model: Any, x: Any, y: Any) -> None:
    """Let the loss compare two samples."""
    loss = internals.loss_function(model)
    if loss is None:
        return
    x, y = first_samples(x, 2), first_samples(y, 2)
    outputs = model(x, training=False)
    try:
        loss(x, y, outputs, None)
    except Exception as error:  # each backend raises errors of its own
        shapes = [[tuple(part.shape)[1:] for part in keras.tree.flatten(whole)] for whole in (y, outputs)]
        raise ValueError(
            f"The loss cannot compare `targets` whose samples have shapes {shapes[0]} with outputs of shapes {shapes[1]}: {error}"
        ) from error
