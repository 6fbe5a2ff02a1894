"""What convolutions with an expanded kernel share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.arguments import whole_number
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.rules import AxisRule
from keras_struct.measure.statistics.flops_layers import expanded_convolution
from keras_struct.symmetry import groups, tables
from keras_struct.symmetry.framed import Framed
from keras_struct.symmetry.groups import Group, check_within
from keras_struct.symmetry.sampling import sampling_problem


class ExpandedConv2D(Framed, keras.layers.Layer):
    """2D convolution of features in a frame by a kernel that is expanded from fewer weights.

    Subclasses set the groups, then call `set_convolution`; they say how kernel and bias are expanded.

    Attributes:
        lifting: Whether the layer reads an image instead of features in the frame.
    """

    def set_convolution(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int],
        padding: str,
        data_format: str | None,
        dilation_rate: int | tuple[int, int],
        activation: Any,
        use_bias: bool,
        strict: bool,
        largest: Group,
    ) -> None:
        """Take the arguments of a convolution.

        Args:
            filters: See `GroupConv2D`, as all others.
            kernel_size: See there.
            strides: See there.
            padding: See there.
            data_format: See there.
            dilation_rate: See there.
            activation: See there.
            use_bias: See there.
            strict: See there.
            largest: The group that sampling and kernel must not break.

        Raises:
            ValueError: If a number is not positive, padding is unknown, or the kernel is not square for quarter turns.
        """
        self.filters = whole_number("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        if largest.rotations == 4 and self.kernel_size[0] != self.kernel_size[1]:
            raise ValueError(
                f"Kernels must be square for {largest}, which has quarter turns. Received: kernel_size={self.kernel_size}. Use a "
                "square kernel, or a group without quarter turns."
            )
        self.strides, self.dilation_rate = pair("strides", strides), pair("dilation_rate", dilation_rate)
        if padding not in ("valid", "same"):
            raise ValueError(f"`padding` must be 'valid' or 'same'. Received: padding={padding!r}")
        self.padding, self.use_bias, self.strict, self.largest = padding, use_bias, strict, largest
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        self.activation = keras.activations.get(activation)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    @abstractmethod
    def lifting(self) -> bool:
        """Whether the layer reads an image."""

    @abstractmethod
    def expanded_kernel(self) -> Any:
        """The kernel of the plain convolution, `(height, width, channels in, channels out)`."""

    @abstractmethod
    def expanded_bias(self) -> Any:
        """The bias of the plain convolution, `(channels out,)`."""

    @property
    def input_order(self) -> int:
        """Channels of a field that enters."""
        return 1 if self.lifting else self.frame.order

    def checked_fields(self, input_shape: tuple[int | None, ...]) -> int:
        """Return the number of fields that enter, and complain of strides and padding that break the symmetry."""
        fields = self.fields_in(input_shape, self.input_order)
        first = 2 if self.data_format == "channels_first" else 1
        height, width = (d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation_rate, strict=True))
        extents = (input_shape[first], input_shape[first + 1])
        problem = sampling_problem(self.largest, extents, (height, width), self.strides, self.padding)
        self.complain(problem, self.strict)
        return fields

    def spread(self, fields: int) -> float:
        """Standard deviation of He's initialisation, by the fan-in of the expanded kernel."""
        return float(np.sqrt(2 / (self.kernel_size[0] * self.kernel_size[1] * fields * self.input_order)))

    def call(self, inputs):
        """Expand the kernel and convolve."""
        outputs = keras.ops.conv(
            inputs,
            self.expanded_kernel(),
            strides=list(self.strides),
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        if self.use_bias:
            outputs = current().add_bias(outputs, self.expanded_bias(), self.data_format == "channels_first")
        return outputs if self.activation is None else self.activation(outputs)

    def count_flops(self, call: Any) -> int:
        """Floating point operations of a call: those of the plain convolution with the expanded kernel."""
        return expanded_convolution(call)

    def making(self, rules: tuple[AxisRule, ...], inputs: list, outputs: list, mixes: str | None = None) -> Fields:
        """Behaviour of a layer that makes fields."""
        axis = self.channel_axis(len(inputs[0]) + 1) - 1
        return Fields(rules, axis, outputs[0], self.input_order, self.frame.order, units=self.filters, mixes=mixes)

    def equivariance_distance(self, group: str | Group) -> Any:
        """Return how far the kernel is from one that is equivariant to a group: ‖W - P W‖ / ‖W‖, from 0 to 1, a scalar tensor.

        It can be differentiated. P averages over the group.
        """
        return distance(self.expanded_kernel(), groups.get(group), self.frame, self.lifting)

    def get_config(self):
        """Return the arguments that these layers share."""
        config = {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "frame": self.frame.name,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "strict": self.strict,
        }
        return {**super().get_config(), **config}


def expanded(rows: Any, table: Any, size: tuple[int, int]) -> Any:
    """Expand free rows by a table to a kernel of a plain convolution; numbers of fields may be unknown."""
    fields_in, fields_out = (
        keras.ops.shape(rows)[axis] if rows.shape[axis] is None else rows.shape[axis] for axis in (1, 2)
    )
    _, ins, outs = table.shape
    full = keras.ops.transpose(current().gathered(rows, table, axis=0), (0, 3, 1, 4, 2))
    return keras.ops.reshape(full, (*size, fields_in * ins, fields_out * outs))


def distance(kernel: Any, group: Group, frame: Group, lifting: bool) -> Any:
    """‖W - P W‖ / ‖W‖ of an expanded kernel, as a tensor."""
    check_within(group, frame)
    height, width, _, channels = kernel.shape
    order, ins = frame.order, 1 if lifting else frame.order
    table = tables.expansion((height, width), group, frame, lifting)
    full = keras.ops.reshape(kernel, (height * width, -1, ins, channels // order, order))
    flat = keras.ops.reshape(keras.ops.transpose(full, (0, 2, 4, 1, 3)), (table.size, -1))
    sums = keras.ops.segment_sum(flat, table.ravel(), num_segments=int(table.max()) + 1)
    mean = current().gathered(sums / group.order, table.ravel(), axis=0)
    squared = keras.ops.sum(keras.ops.square(flat))
    return keras.ops.sqrt(keras.ops.sum(keras.ops.square(flat - mean)) / keras.ops.maximum(squared, 1e-30) + 1e-30)


def pair(name: str, value: Any) -> tuple[int, int]:
    """Return two positive whole numbers, given as one or two.

    Raises:
        ValueError: If they are none.
    """
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"`{name}` must be an integer or two. Received: {name}={value}")
    return whole_number(name, pair[0]), whole_number(name, pair[1])
