"""A learning rate of its own for every weight, without touching the state of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals


class ScaledRates:
    """Multiplies an optimizer's learning rate, that of its weight decay included, by a factor for each weight.

    Args:
        optimizer: A built Keras optimizer. Its variables stay as they are; `release` makes it forget the factors.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = internals.optimizer_chain(optimizer)[-1]
        self._factors = keras.Variable(
            np.ones(len(self._optimizer._trainable_variables)), dtype="float32", trainable=False, name="rate_factors"
        )
        self._patched: list[str] = []
        self._patch("update_step", self._one_update)
        self._patch("_apply_weight_decay", self._decay)
        if hasattr(self._optimizer, "_parallel_update_step"):
            self._patch("_parallel_update_step", self._updates)

    def set(self, factors: Mapping[int, float]) -> bool:
        """Give weights, by `id` of their Keras variable, a factor; others get 1.

        Returns:
            Whether a compiled step must be traced again to see them.
        """
        known = self._optimizer._trainable_variables
        self._factors.assign(np.array([factors.get(id(variable), 1.0) for variable in known], np.float32))
        return not current().READS_VARIABLES

    def release(self) -> None:
        """Let the optimizer compute as before. Compiled steps must be traced again."""
        for name in self._patched:
            object.__delattr__(self._optimizer, name)
        self._patched = []

    def _patch(self, name: str, wrapper: Any) -> None:
        original = getattr(self._optimizer, name)
        object.__setattr__(self._optimizer, name, lambda *args: wrapper(original, *args))
        self._patched.append(name)

    def _factor(self, variable: Any) -> Any:
        return self._factors.value[self._optimizer._get_variable_index(variable)]

    def _one_update(self, original: Any, gradient: Any, variable: Any, rate: Any) -> None:
        rate = keras.ops.multiply(keras.ops.cast(rate, "float32"), self._factor(variable))
        original(gradient, variable, rate)

    def _updates(self, original: Any, gradients: Any, variables: Any, rate: Any) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            original([gradient], [variable], rate * float(self._factor(variable)))

    def _decay(self, original: Any, variables: Any) -> None:
        """Weight decay asks the optimizer for its learning rate: answer with that of the weight."""
        ask = self._optimizer._get_current_learning_rate
        for variable in variables:
            rate = keras.ops.multiply(keras.ops.cast(ask(), "float32"), self._factor(variable))
            object.__setattr__(self._optimizer, "_get_current_learning_rate", lambda rate=rate: rate)
            try:
                original([variable])
            finally:
                object.__delattr__(self._optimizer, "_get_current_learning_rate")
