"""What policies get to see of the symmetry of a group convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

from keras_struct.backend import current
from keras_struct.probes.measurement import NoGradients
from keras_struct.symmetry.groups import Group
from keras_struct.symmetry.tables import project


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
            NoGradients().kernels  # noqa: B018
        loss, (x, y, weights) = self._loss(), self._batch

        def run(watch: Callable[[str, Any], Any]) -> tuple[Any, Any]:
            with ExitStack() as stack:
                for name, layer in self._layers.items():
                    stack.enter_context(layer.watching(partial(watch, name)))
                return loss(x, y, self._model(x, training=False), weights), None

        found = current().gradients(run)[0]
        return {name: keras.ops.convert_to_numpy(part).astype(np.float64) for name, part in found.items()}


@dataclass(frozen=True)
class SymmetryMeasurement:
    """The symmetry of one group convolution.

    Attributes:
        layer: Its name.
        convolution: The layer.
        gradients: Gradients by expanded kernels.
        followers: Names of the normalisations right behind it, which change with it.
    """

    layer: str
    convolution: Any
    gradients: SymmetryGradients
    followers: tuple[str, ...] = ()

    @property
    def group(self) -> Group:
        """What it is equivariant to."""
        return self.convolution.group

    @property
    def frame(self) -> Group:
        """The frame of its features."""
        return self.convolution.frame

    def distance(self, group: Group) -> float:
        """How far the expanded kernel is from one that is equivariant to a group, from 0 to 1."""
        kernel = keras.ops.convert_to_numpy(self.convolution.expanded_kernel()).astype(np.float64)
        return self._outside(kernel, group)

    def pull(self, group: Group) -> float:
        """Which share of the gradient by the expanded kernel would lead out of a group, from 0 to 1."""
        return self._outside(self.gradients.kernels[self.layer], group)

    def _outside(self, kernel: np.ndarray, group: Group) -> float:
        size = np.linalg.norm(kernel)
        rest = kernel - project(kernel, group, self.frame, self.convolution.lifting)
        return float(np.linalg.norm(rest) / size) if size else 0.0
