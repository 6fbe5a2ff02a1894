"""Measure whether a model commutes with rotations and mirrors."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_struct.symmetry.groups import Group, get
from keras_struct.symmetry.tables import act_on_features


def equivariance_error(
    model: Any,
    x: Any,
    group: str | Group,
    frame: str | Group | None = None,
    input_frame: str | Group | None = None,
) -> dict[int, float]:
    """Return how far a model is from commuting with each element of a group, on some inputs.

    Test a trained model: some networks are equivariant only as long as their weights are fresh.

    Args:
        model: A model, layer or function of arrays, in inference mode; one with a method `predict_on_batch` is asked by it.
        x: Inputs, shape `(samples, height, width, channels)`; square for quarter turns unless the model takes any size.
        group: The group.
        frame: How the channels of outputs with height and width are ordered; `None` if they only move. Outputs of any other
            rank must not change at all.
        input_frame: How the channels of inputs are ordered, for models of features; `None` for images.

    Returns:
        For each element of the group (as a number of those of D4) the largest absolute difference between the output for the
        turned input and the turned output, over the largest absolute output.

    Raises:
        ValueError: If the inputs have another rank, or a group is unknown.

    Examples:
        >>> sums = lambda x: x.sum(axis=(1, 2))
        >>> max(equivariance_error(sums, np.random.rand(2, 5, 5, 3), "D4").values()) < 1e-6
        True
    """
    x = np.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"`x` must have shape (samples, height, width, channels). Received shape {x.shape}.")
    ins = None if input_frame is None else get(input_frame)
    outs = None if frame is None else get(frame)
    plain = _output(model, x)
    largest = max(float(np.abs(plain).max(initial=0.0)), 1e-30)
    found = {}
    for element in get(group).elements:
        turned = _output(model, np.ascontiguousarray(_acted(element, x, ins)))
        expected = _acted(element, plain, outs) if plain.ndim == 4 else plain
        if turned.shape != expected.shape:
            raise ValueError(
                f"The output for inputs turned by element {element} has shape {turned.shape} instead of {expected.shape}."
            )
        found[element] = float(np.abs(turned - expected).max(initial=0.0)) / largest
    return found


def _acted(element: int, maps: np.ndarray, frame: Group | None) -> np.ndarray:
    return act_on_features(element, maps, frame or Group("C1"), lifted=frame is not None)


def _output(model: Any, x: np.ndarray) -> np.ndarray:
    import keras

    found = model.predict_on_batch(x) if isinstance(model, keras.Model) else model(x)
    detached = found.detach() if hasattr(found, "detach") else found
    return np.asarray(detached, np.float64)
