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
from keras_struct.probes.buffer import samples_between
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
        possible: Shape of the kernel, bool: which connections there could be; all by default.
        activity: Returns the `Coactivation` of the ends of all connections on recent inputs, in the shape of the kernel; takes
            the value above which an end is active whose activation has no clear zero.
    """

    layer: str
    mask: np.ndarray
    weights: np.ndarray
    dormant: str = "silent"
    rate: Callable[[], float] = lambda: 0.0
    gradients: Callable[[], np.ndarray] = lambda: NoGradients().gradients
    squared_gradients: Callable[[], np.ndarray] = lambda: NoGradients().gradients
    possible: np.ndarray = None  # type: ignore[assignment]
    activity: Callable[..., Coactivation] = lambda threshold=None: _no_inputs()

    def __post_init__(self) -> None:
        if self.possible is None:
            object.__setattr__(self, "possible", np.ones_like(self.mask, bool))

    @property
    def count(self) -> int:
        """How many connections there are."""
        return int(self.mask.sum())

    @property
    def size(self) -> int:
        """How many there could be."""
        return int(np.sum(self.possible))


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


def _no_inputs() -> Coactivation:
    raise ValueError(
        "Activity of neurons is measured on inputs, and there are none: pass `probe=x` to compile, or train a few steps first."
    )


def _one(i: int, part: Any) -> Any:
    """Sample `i` of a part of a batch, as a batch; `None` stays."""
    return None if part is None else samples_between(part, i, i + 1)
