"""Layers that begin as an identity, or as nothing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.structure.rules import AxisRule


class _OneNumber(keras.layers.Layer):
    """A layer with one number that is trained, which lets units pass entry by entry."""

    def __init__(self, initial: float, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.initial = float(initial)
        self.supports_masking = True

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Units pass entry by entry."""
        return ()

    def _add_number(self, name: str) -> Any:
        return self.add_weight(shape=(), initializer=keras.initializers.Constant(self.initial), name=name)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "initial": self.initial}


@keras.saving.register_keras_serializable("keras_struct")
class Gate(_OneNumber):
    """Multiplies what enters by one number that is trained, 0 at first: a path behind it does nothing until training opens it.

    Any rank, any dtype; the shape stays.

    Args:
        initial: The number at first.
        name: Name of the layer.
        **kwargs: Further arguments of a layer.

    References:
        Bachlechner et al., *ReZero is all you need: fast convergence at large depth*, UAI 2021, equation 1.
    """

    def __init__(self, initial: float = 0.0, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(initial, name, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the number."""
        self.scale = self._add_number("scale")

    def call(self, inputs: Any) -> Any:
        """Multiply."""
        return inputs * keras.ops.cast(self.scale, inputs.dtype)


@keras.saving.register_keras_serializable("keras_struct")
class ParametricActivation(_OneNumber):
    """`a x + (1 - a) phi(x)`, where the number a is trained from 1 on: an identity at first, an activation in the end.

    Any rank, any dtype; the shape stays.

    Args:
        activation: The activation phi.
        initial: The number a at first.
        name: Name of the layer.
        **kwargs: Further arguments of a layer.

    References:
        Wei et al., *Network Morphism*, ICML 2016, section 3.4, P-activation (equation 15).
    """

    def __init__(self, activation: Any = "relu", initial: float = 1.0, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(initial, name, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        """Make the number."""
        self.slope = self._add_number("slope")

    def call(self, inputs: Any) -> Any:
        """Blend."""
        slope = keras.ops.cast(self.slope, inputs.dtype)
        return slope * inputs + (1 - slope) * self.activation(inputs)

    def identity_weights(self) -> dict[str, np.ndarray]:
        """Return the weights with which it returns what enters."""
        return {"slope": np.ones(())}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
