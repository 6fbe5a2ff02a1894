"""What layers on features in a frame share: fields of one channel for each element of a group."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.rules import AxisRule
from keras_struct.symmetry import groups
from keras_struct.symmetry.groups import Group, check_within

_Mixin: Any = object


class Framed(_Mixin):
    """What layers on features in a frame share.

    Attributes:
        group: What the layer is equivariant to.
        frame: The group whose elements the channels of a field stand for.
    """

    group: Group
    frame: Group

    def set_groups(self, group: str | Group, frame: str | Group) -> None:
        """Take group and frame, by name or object.

        Raises:
            ValueError: If a name is unknown, or the group is no subgroup of the frame.
        """
        self.group, self.frame = groups.get(group), groups.get(frame)
        check_within(self.group, self.frame)

    def channel_axis(self, rank: int) -> int:
        """Axis of the channels, batch counted in."""
        return 1 if internals.channels_first(self) else rank - 1

    def fields_in(self, shape: tuple[int | None, ...], order: int) -> int:
        """Number of fields of an input.

        Raises:
            ValueError: If its channels are unknown or no multiple of the order.
        """
        channels = shape[self.channel_axis(len(shape))]
        if channels is None or channels % order:
            raise ValueError(
                f"Layer '{self.name}' reads fields of {order} channels, one for each element of its frame {self.frame}, but its "
                f"input has {channels} channels. Give it a multiple of {order}, or make features with "
                f"GroupConv2D(filters, kernel_size, group, frame='{self.frame}') first."
            )
        return channels // order

    def complain(self, problem: str | None, strict: bool) -> None:
        """Warn of a broken symmetry, or raise.

        Raises:
            ValueError: If there is a problem and `strict` is set.
        """
        if problem is None:
            return
        text = f"Layer '{self.name}' is not equivariant to {self.group}: {problem}"
        if strict:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)

    def fields(
        self, rules: tuple[AxisRule, ...], inputs: list, outputs: list, channels_in: int, channels_out: int
    ) -> Any:
        """Behaviour of a layer that passes fields on."""
        axis = self.channel_axis(len(inputs[0]) + 1) - 1
        return Fields(rules, axis, outputs[0], channels_in, channels_out)


def int_variable(layer: Any, name: str, values: Any) -> Any:
    """Give a layer a table of indices."""
    return layer.add_weight(
        name=name,
        shape=values.shape,
        dtype="int32",
        trainable=False,
        initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(values, dtype="int32"),
    )
