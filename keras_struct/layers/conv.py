"""Convolutions that gain and lose filters while they train."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.backend import current
from keras_struct.layers.dense import checked_limit
from keras_struct.structure.rules import AxisRule

_Mixin: Any = object


class _GrowableConv(_Mixin):
    """What the growable convolutions of every rank share."""

    def __init__(self, filters, kernel_size, max_filters=None, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if self.groups != 1:
            raise ValueError(
                f"{type(self).__name__} does not support grouped convolutions. Received: groups={self.groups}. Use the "
                "plain Keras layer, whose units stay fixed."
            )
        self.max_filters = checked_limit("max_filters", max_filters, filters)

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Which units lie along which axis of which variable."""
        consume = AxisRule("kernel", self.rank, "consume")
        produce = AxisRule("kernel", self.rank + 1, "produce", size="filters")
        return (consume, produce, AxisRule("bias", 0, "produce")) if self.use_bias else (consume, produce)

    @property
    def connected_kernel(self) -> Any:
        """The kernel as `call` uses it."""
        return self.kernel

    def call(self, inputs):
        """Convolve, without looking at how many filters there are."""
        outputs = self.convolution_op(inputs, self.connected_kernel)
        if self.use_bias:
            outputs = current().add_bias(outputs, self.bias, self.data_format == "channels_first")
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self):
        """Return the arguments of the constructor, with the current number of filters."""
        return {**super().get_config(), "max_filters": self.max_filters}


@keras.saving.register_keras_serializable("keras_struct")
class GrowableConv1D(_GrowableConv, keras.layers.Conv1D):
    """1D convolution that can gain and lose filters while it trains. Nothing is masked or padded.

    Drop-in for `keras.layers.Conv1D`, without groups.

    Args:
        filters: Positive integer, the number of filters to start with.
        kernel_size: Integer or tuple of 1 integers.
        max_filters: Largest number of filters it may grow to, or `None` for no limit of its own.
        **kwargs: As `keras.layers.Conv1D`.

    Raises:
        ValueError: If `max_filters` is smaller than `filters`, or `groups` is not 1.
    """


@keras.saving.register_keras_serializable("keras_struct")
class GrowableConv2D(_GrowableConv, keras.layers.Conv2D):
    """2D convolution that can gain and lose filters while it trains. Nothing is masked or padded.

    Drop-in for `keras.layers.Conv2D`, without groups.

    Args:
        filters: Positive integer, the number of filters to start with.
        kernel_size: Integer or tuple of 2 integers.
        max_filters: Largest number of filters it may grow to, or `None` for no limit of its own.
        **kwargs: As `keras.layers.Conv2D`.

    Raises:
        ValueError: If `max_filters` is smaller than `filters`, or `groups` is not 1.
    """


@keras.saving.register_keras_serializable("keras_struct")
class GrowableConv3D(_GrowableConv, keras.layers.Conv3D):
    """3D convolution that can gain and lose filters while it trains. Nothing is masked or padded.

    Drop-in for `keras.layers.Conv3D`, without groups.

    Args:
        filters: Positive integer, the number of filters to start with.
        kernel_size: Integer or tuple of 3 integers.
        max_filters: Largest number of filters it may grow to, or `None` for no limit of its own.
        **kwargs: As `keras.layers.Conv3D`.

    Raises:
        ValueError: If `max_filters` is smaller than `filters`, or `groups` is not 1.
    """
