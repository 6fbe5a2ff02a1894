"""Gradients by the weights of masked layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.measure.probes.buffer import samples_between
from keras_struct.sparse.measurements import ConnectionMeasurement

__all__ = ["ConnectionGradients", "ConnectionMeasurement"]


class ConnectionGradients:
    """Gradients by the weights of masked layers, computed once.

    Args:
        model: The model.
        layers: The masked layers, by name.
        loss: What `fit` minimises.
        batch: Inputs, targets and sample weights.
        samples: For how many samples squares are averaged, at most.
    """

    def __init__(
        self, model: Any, layers: Mapping[str, Any], loss: Callable, batch: tuple[Any, Any, Any], samples: int = 64
    ) -> None:
        self._model, self._layers, self._loss, self._batch, self._samples = model, layers, loss, batch, samples

    @cached_property
    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of each layer's kernel."""
        return self._by_layer(self._batch)

    @cached_property
    def squares(self) -> dict[str, np.ndarray]:
        """The mean square of each layer's kernel's gradient for single samples."""
        count = min(self._samples, keras.tree.flatten(self._batch[0])[0].shape[0])
        total: dict[str, Any] = dict.fromkeys(self._layers, 0.0)
        for i in range(count):
            found = self._by_layer(keras.tree.map_structure(partial(_one, i), tuple(self._batch)))
            total = {name: total[name] + found[name] ** 2 for name in found}
        return {name: value / count for name, value in total.items()}

    def _by_layer(self, batch: Any) -> dict[str, np.ndarray]:
        with ExitStack() as stack:
            for layer in self._layers.values():
                stack.enter_context(layer.passing_gradients())
            found = current().weight_gradients(self._model, self._loss, batch)
        places = {id(variable): i for i, variable in enumerate(self._model.trainable_variables)}
        zeros = {name: np.zeros(tuple(layer.kernel.shape)) for name, layer in self._layers.items()}
        return {
            name: found[places[id(layer.kernel)]] if id(layer.kernel) in places else zeros[name]
            for name, layer in self._layers.items()
        }


def _one(i: int, part: Any) -> Any:
    """Sample `i` of a part of a batch, as a batch; `None` stays."""
    return None if part is None else samples_between(part, i, i + 1)
