"""The symmetry of group convolutions, and gradients by their expanded kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.measure.measurements.gradients import no_batch
from keras_struct.symmetry.measurements import SymmetryMeasurement

__all__ = ["SymmetryGradients", "SymmetryMeasurement", "measured_symmetry"]


class SymmetryGradients:
    """Gradients of a loss by the expanded kernels of group convolutions, computed once.

    Args:
        model: The model.
        layers: The convolutions, by name.
        loss: Returns what `fit` minimises.
        batch: Inputs, targets and sample weights, or `None`.
    """

    def __init__(self, model: Any, layers: Mapping[str, Any], loss: Callable[[], Any], batch: Any) -> None:
        self._model, self._layers, self._loss, self._batch = model, layers, loss, batch

    @cached_property
    def kernels(self) -> dict[str, np.ndarray]:
        """The gradient by each layer's expanded kernel, in inference mode."""
        if self._batch is None:
            no_batch()
        loss, (x, y, weights) = self._loss(), self._batch

        def run(watch: Callable[[str, Any], Any]) -> tuple[Any, Any]:
            with ExitStack() as stack:
                for name, layer in self._layers.items():
                    stack.enter_context(layer.watching(partial(watch, name)))
                return loss(x, y, self._model(x, training=False), weights), None

        found = current().gradients(run)[0]
        return {name: keras.ops.convert_to_numpy(part).astype(np.float64) for name, part in found.items()}


def measured_symmetry(
    name: str, layer: Any, gradients: SymmetryGradients, followers: Sequence[str] = ()
) -> SymmetryMeasurement:
    """Return a measurement of the symmetry of one group convolution.

    Args:
        name: Name of the layer.
        layer: The convolution.
        gradients: Gradients by the expanded kernels of this and other layers.
        followers: Names of the normalisations right behind it.
    """

    def kernel() -> np.ndarray:
        return keras.ops.convert_to_numpy(layer.expanded_kernel()).astype(np.float64)

    def gradient() -> np.ndarray:
        return gradients.kernels[name]

    return SymmetryMeasurement(name, layer.group, layer.frame, layer.lifting, kernel, gradient, tuple(followers))
