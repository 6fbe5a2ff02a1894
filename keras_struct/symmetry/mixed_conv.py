"""A convolution whose symmetry is a mixture, which gradient descent can move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.fields import Fields
from keras_struct.core.structure.rules import AxisRule
from keras_struct.symmetry import groups as symmetries
from keras_struct.symmetry import tables
from keras_struct.symmetry.expanded_conv import ExpandedConv2D
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.groups import Group, common_frame, intersection

ALL = ("C1", "C2", "C4", "D1", "D2", "D4")
Mixing = Literal["softmax", "sum"]


@keras.saving.register_keras_serializable("keras_struct")
class MixedEquivariantConv(ExpandedConv2D):
    """2D convolution with a kernel that is a weighted mixture of kernels of several groups, merged before one convolution.

    W = Σ z_G s W_G / ‖W_G‖, with z = softmax(α) and the expanded kernel W_G of each group G. All kernels have the same norm s, so
    that z alone says how much each counts. α is trained like any weight, or by a search (`keras_struct.search.EquiNASD`).

    Args:
        filters: Number of fields of the output, as `GroupConv2D`.
        kernel_size: Odd for padding `"same"`; integer or tuple of 2 integers.
        groups: What to mix. They need a common frame, not to form a chain.
        lifting: Whether the input is an image instead of features in the frame.
        frame: A group that holds all of them; by default the smallest one.
        temperature: `None` for z = softmax(α). With a number, z is drawn again in each training step from the relaxed one-hot
            distribution (Gumbel-softmax) of that temperature: near 0 it picks one group. In inference z is softmax(α).
        mixing: `"softmax"`, or `"sum"`: plain sums of kernels as they are, without z and norms (residual pathway priors, with a
            regularizer for the kernels that shall be small).
        strides: As `GroupConv2D`.
        padding: As `GroupConv2D`.
        data_format: As `GroupConv2D`.
        dilation_rate: As `GroupConv2D`.
        activation: As `GroupConv2D`.
        use_bias: Whether each group has a bias, mixed alike.
        kernel_regularizers: Regularizers by the name of the group, such as `{"C1": keras.regularizers.L2(1e-6)}`.
        strict: As `GroupConv2D`, for the largest group.
        **kwargs: As `keras.layers.Layer`.

    Attributes:
        alpha: Weights α, one for each group.

    Raises:
        ValueError: As `GroupConv2D`; if there are no groups, one is named twice, or the frame does not hold all.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.3.2,
        equations 11 and 12); Finzi, Benton, Wilson, *Residual Pathway Priors for Soft Equivariance Constraints*, NeurIPS 2021.

    The draws are those of Jang, Gu, Poole, *Categorical Reparameterization with Gumbel-Softmax*, ICLR 2017.

    Differs from the authors' code, which adds the results of one convolution for each group, and norms the kernels before they
    are expanded, so that larger groups count more.

    Examples:
        >>> layer = MixedEquivariantConv(4, 3, ["C1", "C4", "D4"], lifting=True, padding="same")
        >>> layer(np.zeros((1, 8, 8, 3))).shape
        TensorShape([1, 8, 8, 32])
        >>> layer.mixture()
        {'C1': 0.33..., 'C4': 0.33..., 'D4': 0.33...}
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        groups: Sequence[str | Group] = ALL,
        lifting: bool = False,
        frame: str | Group | None = None,
        mixing: Mixing = "softmax",
        temperature: float | None = None,
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_regularizers: Mapping[str, Any] | None = None,
        strict: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups = tuple(symmetries.get(group) for group in groups)
        if not self.groups or len(set(self.groups)) < len(self.groups):
            raise ValueError(f"`groups` must hold one group or more, each once. Received: groups={groups}")
        self.set_groups(intersection(self.groups), common_frame(self.groups) if frame is None else frame)
        for group in self.groups:
            symmetries.check_within(group, self.frame)
        if mixing not in ("softmax", "sum"):
            raise ValueError(f"`mixing` must be 'softmax' or 'sum'. Received: mixing={mixing!r}")
        if temperature is not None and not (temperature > 0 and mixing == "softmax"):
            raise ValueError(
                f"`temperature` must be positive, and needs mixing='softmax'. Received: {temperature}, mixing={mixing!r}"
            )
        self.mixing, self._lifting, self.temperature = mixing, lifting, temperature
        self._draws = None if temperature is None else keras.random.SeedGenerator()
        self._drawn: Any = None
        largest = max(self.groups, key=lambda group: (group.rotations, group.order))
        same = (strides, padding, data_format, dilation_rate, activation, use_bias, strict)
        self.set_convolution(filters, kernel_size, *same, largest=largest)
        given = {symmetries.get(name).name: value for name, value in (kernel_regularizers or {}).items()}
        self.kernel_regularizers = {name: keras.regularizers.get(value) for name, value in given.items()}

    @property
    def lifting(self) -> bool:
        """Whether the layer reads an image."""
        return self._lifting

    def build(self, input_shape):
        """Make a kernel for each group, and their weights α."""
        fields = self.checked_fields(input_shape)
        normal = keras.initializers.RandomNormal(stddev=self.spread(fields))
        self.kernels, self.biases = {}, {}
        for group in self.groups:
            name = group.name
            self.kernels[name] = self.add_weight(
                name=f"kernel_{name}",
                shape=(tables.free_rows(self.kernel_size, group, self.frame, self.lifting), fields, self.filters),
                initializer=normal.clone(),
                regularizer=self.kernel_regularizers.get(name),
            )
            if self.use_bias:
                cosets = self.frame.order // group.order
                self.biases[name] = self.add_weight(
                    name=f"bias_{name}", shape=(self.filters, cosets), initializer="zeros"
                )
        self.alpha: Any = None
        self.norm: Any = None
        if self.mixing == "softmax":
            self.alpha = self.add_weight(name="alpha", shape=(len(self.groups),), initializer="zeros")
            norm = float(np.sqrt(2 * self.filters * self.frame.order))
            self.norm = self.add_weight(
                name="norm", shape=(), initializer=keras.initializers.Constant(norm), trainable=False
            )

    # Computing

    def mixture(self) -> dict[str, float]:
        """Return the share z of each group."""
        if self.mixing == "sum":
            return dict.fromkeys((group.name for group in self.groups), 1.0)
        shares = keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.cast(self.alpha, "float32")))
        return {group.name: float(share) for group, share in zip(self.groups, shares, strict=True)}

    def _shares(self) -> Any:
        """Shares z of the groups: softmax(α), or what was drawn for this step."""
        return keras.ops.softmax(self.alpha) if self._drawn is None else self._drawn

    def draw(self) -> Any:
        """Draw shares from the relaxed one-hot distribution, `(groups,)`."""
        uniform = keras.random.uniform((len(self.groups),), 1e-6, 1 - 1e-6, seed=self._draws)
        gumbel = -keras.ops.log(-keras.ops.log(uniform))
        return keras.ops.softmax((self.alpha + keras.ops.cast(gumbel, self.alpha.dtype)) / self.temperature)

    def call(self, inputs, training=False):
        """Merge the kernels and convolve once."""
        if self.temperature is None or not training:
            return super().call(inputs)
        object.__setattr__(self, "_drawn", self.draw())
        try:
            return super().call(inputs)
        finally:
            object.__setattr__(self, "_drawn", None)

    def _factors(self) -> list[Any]:
        """What the expanded kernel of each group is multiplied by."""
        if self.mixing == "sum":
            return [1.0] * len(self.groups)
        shares = self._shares()
        return [shares[i] * self.norm / (self._expanded_norm(group) + 1e-12) for i, group in enumerate(self.groups)]

    def _expanded_norm(self, group: Group) -> Any:
        """Frobenius norm of the expanded kernel: each free row stands for as many entries as the group has elements."""
        return keras.ops.sqrt(group.order * keras.ops.sum(keras.ops.square(self.kernels[group.name])))

    def expanded_kernel(self) -> Any:
        """The kernel of the plain convolution, `(height, width, channels in, channels out)`."""
        total = None
        for group, factor in zip(self.groups, self._factors(), strict=True):
            table = tables.expansion(self.kernel_size, group, self.frame, self.lifting)
            part = current().gathered(self.kernels[group.name] * factor, table, axis=0)
            total = part if total is None else total + part
        rows = self.kernels[self.groups[0].name]
        fields_in, fields_out = (
            keras.ops.shape(rows)[axis] if rows.shape[axis] is None else rows.shape[axis] for axis in (1, 2)
        )
        full = keras.ops.transpose(total, (0, 3, 1, 4, 2))
        return keras.ops.reshape(full, (*self.kernel_size, fields_in * self.input_order, fields_out * self.frame.order))

    def expanded_bias(self) -> Any:
        """The bias of the plain convolution, `(channels out,)`."""
        shares = [1.0] * len(self.groups) if self.mixing == "sum" else self._shares()
        total = None
        for i, group in enumerate(self.groups):
            part = current().gathered(self.biases[group.name], group.decomposition(self.frame)[1], axis=1) * shares[i]
            total = part if total is None else total + part
        return keras.ops.reshape(total, (-1,))

    def to_group_conv(self, group: str | Group | None = None, **kwargs: Any) -> GroupConv2D:
        """Return a built `GroupConv2D` with the merged kernel, projected on a group.

        Args:
            group: By default the intersection of the groups, to which the merged kernel is equivariant as it is.
            **kwargs: As `GroupConv2D`, such as `name`.
        """
        chosen = self.group if group is None else symmetries.get(group)
        layer = GroupConv2D(
            self.filters,
            self.kernel_size,
            chosen,
            None if self.lifting else self.frame,
            self.frame,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
            activation=self.activation,
            use_bias=self.use_bias,
            **kwargs,
        )
        kernel = np.array(keras.ops.convert_to_numpy(self.expanded_kernel()))
        channels = kernel.shape[2]
        layer.build(
            (None, channels, None, None) if self.data_format == "channels_first" else (None, None, None, channels)
        )
        nearest = tables.project(kernel, chosen, self.frame, self.lifting)
        layer.kernel.assign(tables.compress(nearest, chosen, self.frame, self.lifting))
        if self.use_bias:
            bias = np.array(keras.ops.convert_to_numpy(self.expanded_bias())).reshape(self.filters, self.frame.order)
            coset = chosen.decomposition(self.frame)[1]
            layer.bias.assign(np.stack([bias[:, coset == i].mean(axis=1) for i in range(layer.cosets)], axis=1))
        return layer

    # Structure

    def unit_behaviour(self, inputs: list, outputs: list) -> Fields:
        """What the layer does to units: its fields."""
        rules: list[AxisRule] = []
        for i, group in enumerate(self.groups):
            size = "filters" if i == 0 else None
            rules.append(AxisRule(f"kernel_{group.name}", 1, "consume"))
            rules.append(AxisRule(f"kernel_{group.name}", 2, "produce", size=size))
            if self.use_bias:
                rules.append(AxisRule(f"bias_{group.name}", 0, "produce"))
        mixes = f"layer '{self.name}' norms its kernels over all of its fields" if self.mixing == "softmax" else None
        return self.making(tuple(rules), inputs, outputs, mixes)

    def get_config(self):
        """Return the arguments of the constructor."""
        regularizers = {k: keras.regularizers.serialize(v) for k, v in self.kernel_regularizers.items()}
        config = {
            "groups": [group.name for group in self.groups],
            "lifting": self.lifting,
            "mixing": self.mixing,
            "temperature": self.temperature,
            "kernel_regularizers": regularizers,
        }
        return {**super().get_config(), **config}
