"""Pooling over the elements of a group."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.structure.fields import Fields
from keras_struct.symmetry import groups
from keras_struct.symmetry.framed import Framed
from keras_struct.symmetry.group_conv import checked_group
from keras_struct.symmetry.groups import Group, check_within


@keras.saving.register_keras_serializable("keras_struct")
class GroupPooling2D(Framed, keras.layers.Layer):
    """Mean or maximum over the elements of a group: what comes out no longer knows how the input was turned.

    Behind global pooling, features become invariant to the group. Of the `|frame|` channels of each field one is left for each
    coset of the group; with the frame itself as the group, one channel for each field.

    Args:
        group: What to pool over, as `GroupConv2D`.
        frame: As `GroupConv2D`.
        mode: `"mean"` or `"max"`.
        input_group: What the features that enter are equivariant to, by default the group; a maximum needs that it holds the
            group.
        data_format: As `GroupConv2D`.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, ..., fields · |frame|)`, channels second for `data_format="channels_first"`.

    Output shape:
        `(batch, ..., fields · |frame| / |group|)`.

    Raises:
        ValueError: If a group is unknown or no subgroup of the frame, a maximum is taken over a group that does not hold, or
            channels do not match the frame.

    References:
        Cohen, Welling, *Group Equivariant Convolutional Networks*, ICML 2016, section 6.3 (coset pooling).
    """

    def __init__(
        self,
        group: str | Group = "C4",
        frame: str | Group = "D4",
        mode: Literal["mean", "max"] = "mean",
        input_group: str | Group | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_groups(group, frame)
        if mode not in ("mean", "max"):
            raise ValueError(f"`mode` must be 'mean' or 'max'. Received: mode={mode!r}")
        self.mode = mode
        self.input_group = None if input_group is None else groups.get(input_group)
        if mode == "max" and self.input_group is not None:
            check_within(self.group, self.input_group, "group that the input of a maximum holds,")
        self.data_format = keras.config.image_data_format() if data_format is None else data_format

    @property
    def members(self) -> np.ndarray:
        """Places in a field of the channels that are pooled together, `(cosets, |group|)`."""
        inner, outer = self.group.decomposition(self.frame)
        found = np.empty((self.frame.order // self.group.order, self.group.order), np.int32)
        found[outer, inner] = np.arange(self.frame.order)
        return found

    def build(self, input_shape):
        """Check the channels."""
        self.fields_in(input_shape, self.frame.order)

    def call(self, inputs):
        """Pool."""
        rank = len(inputs.shape)
        axis = self.channel_axis(rank)
        moved = keras.ops.moveaxis(inputs, axis, -1) if axis != rank - 1 else inputs
        shape, static = keras.ops.shape(moved), moved.shape
        leading = tuple(shape[i] if static[i] is None else static[i] for i in range(rank - 1))
        channels = shape[-1] if static[-1] is None else static[-1]
        order, members = self.frame.order, self.members
        split = keras.ops.reshape(moved, (*leading, channels // order, order))
        taken = keras.ops.take(split, members.ravel(), axis=-1)
        blocks = keras.ops.reshape(taken, (*leading, channels // order * len(members), members.shape[1]))
        pooled = keras.ops.mean(blocks, axis=-1) if self.mode == "mean" else keras.ops.max(blocks, axis=-1)
        return keras.ops.moveaxis(pooled, -1, axis) if axis != rank - 1 else pooled

    def count_flops(self, call: Any) -> int:
        """Floating point operations of a call at inference: one for each entry of the input."""
        return prod(call.inputs[0])

    def unit_behaviour(self, inputs: list, outputs: list) -> Fields:
        """What the layer does to units: fields pass, with fewer channels."""
        return self.fields((), inputs, outputs, self.frame.order, self.frame.order // self.group.order)

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes for another configuration; see `GroupConv2D.reconfigured`.

        Raises:
            ValueError: If anything but the group changes, the layer takes maxima, or the group is no subgroup of its own.
        """
        group = checked_group(self, config)
        if self.mode == "max":
            raise ValueError(
                f"Layer '{self.name}' takes the maximum over {self.group}, which is no function of maxima over {group}. Leave "
                "its group as it is, or pool by the mean."
            )
        if not group <= self.group:
            raise ValueError(
                f"Layer '{self.name}' pools over {self.group}; what it no longer tells apart cannot come back. It can change "
                f"to a subgroup only. Received: {group}"
            )
        return {"group": group}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the weights after a change of the group: the layer has none."""
        return dict(values)

    def channel_sources(self, config: Mapping[str, Any]) -> np.ndarray:
        """Return for each channel that a field has behind the layer after a change of the group, which one it had before."""
        group = checked_group(self, config)
        before, after = (each.decomposition(self.frame)[1] for each in (self.group, group))
        found = np.empty(self.frame.order // group.order, np.int64)
        found[after] = before
        return found

    def get_config(self):
        """Return the arguments of the constructor."""
        config = {
            "group": self.group.name,
            "frame": self.frame.name,
            "mode": self.mode,
            "input_group": None if self.input_group is None else self.input_group.name,
            "data_format": self.data_format,
        }
        return {**super().get_config(), **config}
