"""Convolutions that gain and lose filters while they train."""

from __future__ import annotations

import keras

from keras_struct.units.growable import Growable, checked_limit


class _GrowableConv(Growable):
    """What the growable convolutions of every rank share."""

    _size, _limit = "filters", "max_filters"

    def __init__(self, filters, kernel_size, max_filters=None, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if self.groups != 1:
            raise ValueError(
                f"{type(self).__name__} does not support grouped convolutions. Received: groups={self.groups}. Use the "
                "plain Keras layer, whose units stay fixed."
            )
        self.max_filters = checked_limit("max_filters", max_filters, filters)

    @property
    def _input_axis(self) -> int:
        """Axis of the kernel along which inputs lie: behind those of space."""
        return self.rank

    def call(self, inputs):
        """Convolve."""
        outputs = self.convolution_op(inputs, self.connected_kernel)
        return self._finished(outputs, self.data_format == "channels_first")


@keras.saving.register_keras_serializable("keras_struct")
class GrowableConv1D(_GrowableConv, keras.layers.Conv1D):
    """1D convolution that can gain and lose filters while it trains; arguments as for `GrowableConv2D`.

    Drop-in for `keras.layers.Conv1D`, without groups.
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
    """3D convolution that can gain and lose filters while it trains; arguments as for `GrowableConv2D`.

    Drop-in for `keras.layers.Conv3D`, without groups.
    """
