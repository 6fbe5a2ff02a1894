"""What policies get to see of the connections of a masked layer."""

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
from keras_struct.statistics.coactivation import Coactivation


@dataclass(frozen=True)
class ConnectionMeasurement:
    """The connections of one masked layer. Gradients are computed when they are asked for.

    Attributes:
        layer: Its name.
        mask: Shape of the kernel, bool: which connections there are.
        weights: Shape of the kernel: their weights, and those that the others have.
        dormant: What the weights of the others do, as the layer says.
        rate: Returns the learning rate.
        gradients: Returns the gradient of the loss on the last training batch, float64, by the weights of all connections,
            also those that are not there.
        squared_gradients: Returns the mean, over samples of that batch, of its square for each sample.
        activity: Returns, for layers of neurons in an order, `Coactivation` on recent inputs; else `None`.
    """

    layer: str
    mask: np.ndarray
    weights: np.ndarray
    dormant: str = "silent"
    rate: Callable[[], float] = lambda: 0.0
    gradients: Callable[[], np.ndarray] = lambda: NoGradients().gradients
    squared_gradients: Callable[[], np.ndarray] = lambda: NoGradients().gradients
    activity: Callable[[], Coactivation | None] = lambda: None

    @property
    def count(self) -> int:
        """How many connections there are."""
        return int(self.mask.sum())

    @property
    def size(self) -> int:
        """How many there could be."""
        return self.mask.size


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
    return None if part is None else part[i : i + 1]


def activity_of(model: Any, layer: Any, inputs: Any, batch_size: int = 1024) -> Coactivation | None:
    """Return which neurons of a layer are active together on inputs of a model; `None` if "active" means nothing there.

    Args:
        model: The model.
        layer: One of its layers, which says with `threshold_of_activity` when a neuron is active.
        inputs: Inputs of the model, in several pieces or one.
        batch_size: Samples that are computed at once.
    """
    if not hasattr(layer, "threshold_of_activity"):
        return None
    head, found = keras.Model(model.inputs, layer.output), Coactivation(layer.units)
    for piece in inputs if isinstance(inputs, tuple) else (inputs,):
        count = keras.tree.flatten(piece)[0].shape[0]
        for start in range(0, count, batch_size):
            part = keras.tree.map_structure(lambda x, s=start: x[s : s + batch_size], piece)
            outputs = keras.ops.convert_to_numpy(head(keras.tree.flatten(part), training=False))
            found.add(outputs.reshape(-1, outputs.shape[-1]) > layer.threshold_of_activity())
    return found
