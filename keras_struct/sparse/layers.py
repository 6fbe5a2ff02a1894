"""Layers whose connections come and go one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.structure.rules import AxisRule
from keras_struct.units.conv import GrowableConv2D
from keras_struct.units.dense import GrowableDense

Dormant = Literal["silent", "training", "kept"]
_Mixin: Any = object


class Masked(_Mixin):
    """What layers with a mask over their kernel share.

    Attributes:
        mask: Variable of the shape of `kernel`, bool: which connections there are.
        dormant: What the weights of the others do.
    """

    mask: Any
    dormant: Dormant

    def __init__(self, *args, dormant="silent", **kwargs):
        super().__init__(*args, **kwargs)
        if dormant not in ("silent", "training", "kept"):
            raise ValueError(f"`dormant` must be 'silent', 'training' or 'kept'. Received: dormant={dormant!r}")
        self.dormant = dormant
        self._passes_gradients = False

    def build(self, input_shape):
        """Make the weights, and a mask that leaves every connection there."""
        super().build(input_shape)
        self.mask = self.add_weight(
            name="mask", shape=tuple(self.kernel.shape), dtype="bool", initializer="ones", trainable=False
        )

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Which units lie along which axis of which variable. New units have all their connections."""
        rules = super().unit_rules()
        masks = (
            AxisRule("mask", rule.axis, "carry", new=1.0, tied_to="output" if rule.along_output else rule.tied_to)
            for rule in rules
            if rule.variable == "kernel"
        )
        return (*rules, *masks)

    def check_mask(self, mask: Any) -> None:
        """Raise unless the layer can have these connections.

        Raises:
            ValueError: If there are none.
        """
        if not mask.any():
            raise ValueError(
                f"Cannot remove all connections of layer '{self.name}': keep one, or remove the layer itself."
            )

    def possible_connections(self) -> np.ndarray:
        """Which connections there could be, in the shape of the kernel, bool: all, unless a layer knows better."""
        return np.ones(tuple(self.kernel.shape), bool)

    def follows(self, mask: Any) -> dict[str, Any]:
        """Return attributes that change when the layer has another mask, for which compiled steps must be traced again."""
        return {}

    @property
    def connected_kernel(self) -> Any:
        """The kernel with zeros where no connection is, as `call` uses it."""
        kernel = self.kernel
        connected = keras.ops.multiply(kernel, keras.ops.cast(self.mask, kernel.dtype))
        if self.dormant != "training" and not self._passes_gradients:
            return connected
        # The same values, but the gradient passes to all weights.
        return keras.ops.add(keras.ops.stop_gradient(connected), kernel - keras.ops.stop_gradient(kernel))

    @contextmanager
    def passing_gradients(self) -> Iterator[None]:
        """Let gradients reach the weights of connections that are not there, to see what they would bring."""
        object.__setattr__(self, "_passes_gradients", True)
        try:
            yield
        finally:
            object.__setattr__(self, "_passes_gradients", False)

    def save_own_variables(self, store):
        """Write the mask beside the weights, which Keras writes by name."""
        super().save_own_variables(store)
        store["mask"] = keras.ops.convert_to_numpy(self.mask)

    def load_own_variables(self, store):
        """Read the weights and the mask."""
        super().load_own_variables(store)
        self.mask.assign(store["mask"])

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "dormant": self.dormant}


@keras.saving.register_keras_serializable("keras_struct")
class MaskedDense(Masked, GrowableDense):
    """Dense layer whose connections can be removed and added one by one, beside its units.

    Computes with `kernel * mask`. Edits of connections are `keras_struct.Rewire`; new units come with all their connections.

    Args:
        units: Positive integer, the number of units to start with.
        dormant: What the weights of connections that are not there do: `"silent"`, they are zero and stay so until the
            connection is made again; `"training"`, they go on learning as if they were there, and come back with what they have
            become; `"kept"`, they stay as they were, and come back so.
        **kwargs: As `GrowableDense`.

    Raises:
        ValueError: If `dormant` is none of these.

    References:
        Maile, Luga, Wilson, *Structural Learning in Artificial Neural Networks: A Neural Operator Perspective*, TMLR 2022
        (synaptogenesis and synaptic pruning).

    Examples:
        >>> layer = MaskedDense(8, activation="relu")
    """


@keras.saving.register_keras_serializable("keras_struct")
class MaskedConv2D(Masked, GrowableConv2D):
    """2D convolution whose connections can be removed and added one by one, beside its filters.

    Computes with `kernel * mask`: a connection is one entry of the kernel, at all positions of the image.

    Args:
        filters: Positive integer, the number of filters to start with.
        kernel_size: Integer or tuple of 2 integers.
        dormant: As `MaskedDense`.
        **kwargs: As `GrowableConv2D`.

    Raises:
        ValueError: If `dormant` is unknown, or `groups` is not 1.
    """
