"""Dense layer that gains and loses units while it trains."""

from __future__ import annotations

import keras

from keras_struct.units.growable import Growable, checked_limit


@keras.saving.register_keras_serializable("keras_struct")
class GrowableDense(Growable, keras.layers.Dense):
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

    _size, _limit = "units", "max_units"

    def __init__(self, units, max_units=None, **kwargs):
        super().__init__(units, **kwargs)
        self.max_units = checked_limit("max_units", max_units, units)

    def call(self, inputs, training=None):
        """Multiply and add."""
        return self._finished(keras.ops.matmul(inputs, self.connected_kernel))
