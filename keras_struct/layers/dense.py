"""Dense layer that gains and loses units while it trains."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.backend import current
from keras_struct.structure.rules import AxisRule


@keras.saving.register_keras_serializable("keras_struct")
class GrowableDense(keras.layers.Dense):
    """Dense layer that can gain and lose units while it trains. Nothing is masked or padded.

    Drop-in for `keras.layers.Dense`: input `(batch, ..., fan_in)`, output `(batch, ..., units)`.

    Args:
        units: Positive integer, the number of units to start with.
        max_units: Largest number of units it may grow to, or `None` for no limit of its own.
        **kwargs: As `keras.layers.Dense`.

    Raises:
        ValueError: If `max_units` is smaller than `units`.

    Examples:
        >>> layer = GrowableDense(8, max_units=64, activation="relu")
    """

    def __init__(self, units, max_units=None, **kwargs):
        super().__init__(units, **kwargs)
        self.max_units = checked_limit("max_units", max_units, units)

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Which units lie along which axis of which variable."""
        kernel = (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units"))
        return (*kernel, AxisRule("bias", 0, "produce")) if self.use_bias else kernel

    @property
    def connected_kernel(self) -> Any:
        """The kernel as `call` uses it."""
        return self.kernel

    def call(self, inputs, training=None):
        """Multiply and add, without looking at how many units there are."""
        outputs = keras.ops.matmul(inputs, self.connected_kernel)
        if self.use_bias:
            outputs = current().add_bias(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self):
        """Return the arguments of the constructor, with the current number of units."""
        return {**super().get_config(), "max_units": self.max_units}


def checked_limit(name: str, limit: int | None, start: int) -> int | None:
    """Return `limit` unless it is smaller than the width to start with."""
    if limit is not None and limit < start:
        raise ValueError(
            f"`{name}` must be at least the number to start with, {start}, or None. Received: {name}={limit}"
        )
    return limit
