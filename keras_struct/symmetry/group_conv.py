"""Convolutions that commute with rotations and mirrors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.rules import AxisRule
from keras_struct.symmetry import groups, tables
from keras_struct.symmetry.expanded_conv import ExpandedConv2D, expanded
from keras_struct.symmetry.framed import int_variable
from keras_struct.symmetry.groups import Group, check_within
from keras_struct.units.growable import checked_limit


@keras.saving.register_keras_serializable("keras_struct")
class GroupConv2D(ExpandedConv2D):
    """2D convolution that is equivariant to a group of rotations and mirrors: turn the input, and the output turns.

    Features have a channel for each element of a *frame*, the same for all layers of a network whatever their groups: channel
    `f · |T| + i` of an output is field `f` at element `i` of the frame T. A layer of a smaller group in the same frame is as
    wide, and has more free weights. Relaxing a layer to a subgroup is therefore an edit that touches nothing else.

    Weights are stored once for each orbit (`kernel`, shape `(free rows, fields in, filters)`; `bias`, shape
    `(filters, cosets)`) and expanded by a table of indices before one plain convolution.

    Args:
        filters: Number of fields of the output, which has `filters · |frame|` channels.
        kernel_size: Integer or tuple of 2 integers; equal for groups with quarter turns.
        group: What the layer is equivariant to: `"C1"`, `"C2"`, `"C4"` (rotations), `"D1"`, `"D2"`, `"D4"` (with mirrors, left
            to right), `"p4"`, `"p4m"`, or a `keras_struct.symmetry.Group`.
        input_group: `None` if the input is an image (a lifting); else what the features that enter are equivariant to, in the
            same frame.
        frame: A group that holds `group`, and all other groups of the network.
        strides: Integer or tuple of 2 integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; by default as Keras is configured.
        dilation_rate: Integer or tuple of 2 integers.
        activation: A pointwise activation.
        use_bias: Whether there is a bias, one number for each field and coset of the group in the frame.
        kernel_initializer: By default He normal, by the fan-in of the expanded kernel, alike for all groups.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the free weights.
        bias_regularizer: Regularizer of the bias.
        strict: Raise, instead of warning, when strides or padding break the symmetry.
        max_filters: Largest number of filters it may grow to, or `None`.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)` for an image, `(batch, height, width, fields · |frame|)` for features; channels
        second for `data_format="channels_first"`.

    Output shape:
        `(batch, new height, new width, filters · |frame|)`.

    Raises:
        ValueError: If a group is unknown, no subgroup of the frame or of the input's group, a kernel is not square for a group
            with quarter turns, or a number is not positive; when built, if channels do not match the frame, or, with `strict`,
            if the symmetry is broken (even kernels with padding `"same"`, uneven strides).

    References:
        Cohen, Welling, *Group Equivariant Convolutional Networks*, ICML 2016; Maile et al., *Equivariance-aware architectural
        optimization of neural networks*, ICLR 2023 (thesis chapter 4, equations 2 and 3).

    Examples:
        >>> layer = GroupConv2D(4, 3, "D4", padding="same")
        >>> layer(np.zeros((1, 8, 8, 3))).shape
        TensorShape([1, 8, 8, 32])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        group: str | Group = "C4",
        input_group: str | Group | None = None,
        frame: str | Group = "D4",
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        strict: bool = False,
        max_filters: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.set_groups(group, frame)
        self.input_group = None if input_group is None else groups.get(input_group)
        if self.input_group is not None:
            check_within(self.input_group, self.frame)
            check_within(self.group, self.input_group, "group of the input")
        same = (strides, padding, data_format, dilation_rate, activation, use_bias, strict)
        self.set_convolution(filters, kernel_size, *same, largest=self.group)
        self.kernel_initializer = None if kernel_initializer is None else keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.max_filters = checked_limit("max_filters", max_filters, filters)
        self._watch: Callable[[Any], Any] | None = None

    # Shapes

    @property
    def lifting(self) -> bool:
        """Whether the layer reads an image."""
        return self.input_group is None

    @property
    def free_rows(self) -> int:
        """Free weights of the kernel for each pair of fields."""
        return tables.free_rows(self.kernel_size, self.group, self.frame, self.lifting)

    @property
    def cosets(self) -> int:
        """Cosets of the group in the frame."""
        return self.frame.order // self.group.order

    def build(self, input_shape):
        """Make weights and tables, and check that strides and padding keep the symmetry."""
        fields = self.checked_fields(input_shape)
        normal = keras.initializers.RandomNormal(stddev=self.spread(fields))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.free_rows, fields, self.filters),
            initializer=normal if self.kernel_initializer is None else self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias: Any = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters, self.cosets),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.table = int_variable(self, "table", self._tables(self.group)["table"])
        self.coset = int_variable(self, "coset", self._tables(self.group)["coset"])

    def _tables(self, group: Group) -> dict[str, np.ndarray]:
        table = tables.expansion(self.kernel_size, group, self.frame, self.lifting)
        return {"table": table, "coset": group.decomposition(self.frame)[1].astype(np.int32)}

    # Computing

    def expanded_kernel(self) -> Any:
        """The kernel of the plain convolution, `(height, width, channels in, channels out)`."""
        kernel = expanded(self.kernel, self.table, self.kernel_size)
        return kernel if self._watch is None else self._watch(kernel)

    @contextmanager
    def watching(self, watch: Callable[[Any], Any]) -> Iterator[None]:
        """Let a function see the expanded kernel on its way into the convolution, and replace it."""
        object.__setattr__(self, "_watch", watch)
        try:
            yield
        finally:
            object.__setattr__(self, "_watch", None)

    def expanded_bias(self) -> Any:
        """The bias of the plain convolution, `(channels out,)`."""
        return keras.ops.reshape(current().gathered(self.bias, self.coset, axis=1), (-1,))

    # Structure

    def unit_behaviour(self, inputs: list, outputs: list) -> Fields:
        """What the layer does to units: its fields."""
        kernel = (AxisRule("kernel", 1, "consume"), AxisRule("kernel", 2, "produce", size="filters"))
        rules = (*kernel, AxisRule("bias", 0, "produce")) if self.use_bias else kernel
        return self.making(rules, inputs, outputs)

    def loose_axes(self) -> dict[str, tuple[int, ...]]:
        """Axes of variables whose extent an edit of the group changes."""
        return {"kernel": (0,), "bias": (1,)}

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes for another configuration.

        Raises:
            ValueError: If anything but the group would change, or the group lies outside of the frame or is neither sub- nor
                supergroup of the present one.
        """
        return {"group": checked_group(self, config)}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what becomes of arrays of the shapes of the layer's variables when the group changes.

        To a subgroup: each free row is copied to those that it stood for (thesis equation 5). To a supergroup: rows that become
        one are averaged, the orthogonal projection.

        Args:
            config: `{"group": ...}`.
            values: Arrays by the name of the variable.

        Returns:
            Arrays by the name of the variable.
        """
        group = checked_group(self, config)
        found = dict(values)
        if "kernel" in values:
            arguments = (self.kernel_size, self.frame, self.lifting)
            found["kernel"] = regrouped_rows(values["kernel"], self.group, group, *arguments)
        if "bias" in values:
            found["bias"] = regrouped_cosets(values["bias"], self.group, group, self.frame)
        return {**found, **{name: table for name, table in self._tables(group).items() if name in values}}

    def get_config(self):
        """Return the arguments of the constructor."""
        config = {
            "group": self.group.name,
            "input_group": None if self.input_group is None else self.input_group.name,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "max_filters": self.max_filters,
        }
        return {**super().get_config(), **config}


def checked_group(layer: Any, config: Mapping[str, Any]) -> Group:
    """Return the group of a configuration that a layer may change to.

    Raises:
        ValueError: If it may not.
    """
    if set(config) != {"group"}:
        raise ValueError(f"Layer '{layer.name}' can change its `group` only. Received: {dict(config)}")
    group = groups.get(config["group"])
    check_within(group, layer.frame)
    if not (group <= layer.group or layer.group <= group):
        raise ValueError(
            f"Layer '{layer.name}' is equivariant to {layer.group}, which neither holds {group} nor lies in it: relax it to "
            f"{groups.intersection([group, layer.group])} first, or constrain it to {groups.common_frame([group, layer.group])}."
        )
    return group


def regrouped_rows(
    rows: np.ndarray, old: Group, new: Group, size: tuple[int, int], frame: Group, lifting: bool
) -> np.ndarray:
    """Free rows of a kernel after a change of the group."""
    if new <= old:
        return rows[tables.relaxation(size, old, new, frame, lifting)]
    into = tables.constraint(size, old, new, frame, lifting)
    return tables.averaged(rows, into, tables.free_rows(size, new, frame, lifting))


def regrouped_cosets(values: np.ndarray, old: Group, new: Group, frame: Group) -> np.ndarray:
    """Numbers for each field and coset after a change of the group, `(fields, cosets)`."""
    before, after = old.decomposition(frame)[1], new.decomposition(frame)[1]
    cosets = frame.order // new.order
    if new <= old:
        source = np.empty(cosets, np.int64)
        source[after] = before
        return values[:, source]
    into = np.empty(values.shape[1], np.int64)
    into[before] = after
    return tables.averaged(values.T, into, cosets).T
