"""Batch normalisation that commutes with rotations and mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.rules import AxisRule
from keras_struct.symmetry.framed import Framed, int_variable
from keras_struct.symmetry.group_conv import checked_group, regrouped_cosets
from keras_struct.symmetry.groups import Group


@keras.saving.register_keras_serializable("keras_struct")
class GroupBatchNormalization(Framed, keras.layers.Layer):
    """Batch normalisation with statistics, scale and offset tied over the elements of a group.

    Each field and coset of the group in the frame has one mean, variance, scale γ and offset β, so that the layer commutes with
    the group. An ordinary `BatchNormalization` has one for each channel and does not, once it is trained.

    Args:
        group: What the layer is equivariant to, as `GroupConv2D`.
        frame: As `GroupConv2D`.
        momentum: Of the moving statistics.
        epsilon: Added to the variance.
        center: Whether there is an offset.
        scale: Whether there is a scale.
        data_format: As `GroupConv2D`.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, ..., fields · |frame|)`, channels second for `data_format="channels_first"`.

    Output shape:
        The same.

    Raises:
        ValueError: If a group is unknown or no subgroup of the frame, or channels do not match the frame.

    References:
        Ioffe, Szegedy, *Batch Normalization*, ICML 2015; Cohen, Welling, *Group Equivariant Convolutional Networks*, ICML 2016,
        section 6.
    """

    def __init__(
        self,
        group: str | Group = "C4",
        frame: str | Group = "D4",
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_groups(group, frame)
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, center, scale
        self.data_format = keras.config.image_data_format() if data_format is None else data_format

    def build(self, input_shape):
        """Make weights, moving statistics for each channel, and the table of cosets."""
        fields = self.fields_in(input_shape, self.frame.order)
        cosets = self.frame.order // self.group.order
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(name="gamma", shape=(fields, cosets), initializer="ones")
        if self.center:
            self.beta = self.add_weight(name="beta", shape=(fields, cosets), initializer="zeros")
        whole = (fields, self.frame.order)
        fixed = {"trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(name="moving_mean", shape=whole, initializer="zeros", **fixed)
        self.moving_variance = self.add_weight(name="moving_variance", shape=whole, initializer="ones", **fixed)
        self.coset = int_variable(self, "coset", self.group.decomposition(self.frame)[1])

    def call(self, inputs, training=False):
        """Normalise; in training by the statistics of the batch."""
        axis = self.channel_axis(len(inputs.shape))
        others = [i for i in range(len(inputs.shape)) if i != axis]
        values = keras.ops.cast(inputs, "float32") if self.compute_dtype in ("float16", "bfloat16") else inputs
        if training and self.trainable:
            mean = self._tied(keras.ops.mean(values, others))
            spread = keras.ops.square(values - self._along(mean, axis, len(others)))
            variance = self._tied(keras.ops.mean(spread, others))
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + keras.ops.cast(batch, moving.dtype) * (1 - self.momentum))
        else:
            mean, variance = (keras.ops.convert_to_tensor(v) for v in (self.moving_mean, self.moving_variance))
        factor = keras.ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * keras.ops.cast(current().gathered(self.gamma, self.coset, axis=1), factor.dtype)
        offset = -mean * factor
        if self.center:
            offset = offset + keras.ops.cast(current().gathered(self.beta, self.coset, axis=1), offset.dtype)
        outputs = values * self._along(factor, axis, len(others)) + self._along(offset, axis, len(others))
        return keras.ops.cast(outputs, inputs.dtype)

    def _tied(self, statistic: Any) -> Any:
        """Average a number for each channel over the group, `(fields, |frame|)`."""
        same = keras.ops.equal(keras.ops.expand_dims(self.coset, 0), keras.ops.expand_dims(self.coset, 1))
        share = keras.ops.cast(same, statistic.dtype)
        share = share / keras.ops.sum(share, axis=0, keepdims=True)
        return keras.ops.matmul(keras.ops.reshape(statistic, (-1, self.frame.order)), share)

    def _along(self, numbers: Any, axis: int, others: int) -> Any:
        """Numbers for each field and element as a tensor that broadcasts against the input."""
        shape = [1] * (others + 1)
        shape[axis] = -1
        return keras.ops.reshape(numbers, shape)

    def count_flops(self, call: Any) -> int:
        """Floating point operations of a call at inference: a factor and an offset for each entry."""
        return 2 * prod(call.inputs[0])

    def unit_behaviour(self, inputs: list, outputs: list) -> Fields:
        """What the layer does to units: it has entries for each field."""
        new = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        held = {variable.name for variable in self.variables}
        rules = tuple(AxisRule(name, 0, "carry", new=value) for name, value in new.items() if name in held)
        return self.fields(rules, inputs, outputs, self.frame.order, self.frame.order)

    def loose_axes(self) -> dict[str, tuple[int, ...]]:
        """Axes of variables whose extent an edit of the group changes."""
        return {"gamma": (1,), "beta": (1,)}

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes for another configuration; see `GroupConv2D.reconfigured`."""
        return {"group": checked_group(self, config)}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what becomes of arrays of the shapes of the layer's variables when the group changes.

        Moving statistics are kept for each channel. With a larger group they are averaged, means and mean squares.
        """
        group, found = checked_group(self, config), dict(values)
        for name in {"gamma", "beta"} & set(values):
            found[name] = regrouped_cosets(values[name], self.group, group, self.frame)
        if "coset" in values:
            found["coset"] = group.decomposition(self.frame)[1].astype(np.int32)
        if not group <= self.group and {"moving_mean", "moving_variance"} <= set(values):
            mean, variance = values["moving_mean"], values["moving_variance"]
            tied, square = (_averaged(part, group, self.frame) for part in (mean, variance + mean**2))
            found["moving_mean"], found["moving_variance"] = tied, square - tied**2
        return found

    def get_config(self):
        """Return the arguments of the constructor."""
        names = ("momentum", "epsilon", "center", "scale", "data_format")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "group": self.group.name, "frame": self.frame.name, **own}


def _averaged(values: np.ndarray, group: Group, frame: Group) -> np.ndarray:
    coset = group.decomposition(frame)[1]
    return (values @ (coset[:, None] == coset[None, :]) / group.order).astype(values.dtype)
