"""Weights with which a new layer returns what it is given, or zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.surgery.activation import activation_name

_NOT_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "softmax", "exponential")
_ZERO_AT_ZERO = ("linear", "tanh", "gelu", "silu", "elu", "selu", "leaky_relu", "softsign", "mish", "soft_shrink")
"""Activations that are 0 at 0 with a derivative other than 0: a layer of zeros behind which one stands learns."""


@runtime_checkable
class HasIdentity(Protocol):
    """A layer that knows weights with which it returns what it is given."""

    def identity_weights(self) -> dict[str, np.ndarray]:
        """Return these weights, by the name of the variable."""
        ...


class NoIdentityError(ValueError):
    """A layer has no weights with which it returns what it is given."""


def identity_weights(layer: Any, entering: Any = None) -> dict[str, np.ndarray]:
    """Return weights with which a built layer returns its input.

    Args:
        layer: The layer: `Dense`, a convolution of odd kernel, a normalisation, or one that does nothing in inference.
        entering: The symbolic tensor that enters, if there is one: behind an activation that is never negative, a layer with
            the activation `relu` has an identity.

    Raises:
        NoIdentityError: If there are none, with what to do instead.
    """
    if isinstance(layer, HasIdentity):
        return layer.identity_weights()
    maker = _first(layer, _IDENTITIES)
    if maker is not None:
        return maker(layer, entering)
    if not layer.weights and isinstance(layer, _NOTHING_AT_REST):
        return {}
    raise NoIdentityError(
        f"Layer '{layer.name}' ({type(layer).__name__}) has no identity: expected Dense, a convolution, a normalisation, or a "
        "layer that does nothing in inference. Put it into a residual block, whose last layer starts at zero: "
        "model.insert_block([...], after=...)."
    )


def zero_weights(layer: Any) -> dict[str, np.ndarray]:
    """Return weights with which a built layer returns zeros: those that its output is a product or a sum of.

    Raises:
        NoIdentityError: If it is not known which.
    """
    names = _first(layer, _LAST_WEIGHTS)
    held = internals.own_variables(layer)
    found = {name: np.zeros(internals.shape_of(held[name])) for name in names or () if name in held}
    if not found or (activation_name(layer) not in _ZERO_AT_ZERO):
        raise NoIdentityError(
            f"Layer '{layer.name}' ({type(layer).__name__}, activation {activation_name(layer)}) cannot start at zero: expected "
            "a last layer with weights whose activation is 0 at 0, such as Dense without activation, or a normalisation. Put one "
            "behind it."
        )
    return found


def _first(layer: Any, table: dict[type, Any]) -> Any:
    return next((value for kind, value in table.items() if isinstance(layer, kind)), None)


def is_never_negative(tensor: Any) -> bool:
    """Whether a symbolic tensor has no negative entries, as far as the layers that made it tell."""
    operation, call = internals.made_by(tensor)
    if isinstance(operation, _PASSING):
        return all(map(is_never_negative, call.input_tensors))
    if isinstance(operation, keras.layers.ReLU):
        return not operation.negative_slope
    return isinstance(operation, keras.layers.Layer) and activation_name(operation) in _NOT_NEGATIVE


def _check_activation(layer: Any, entering: Any) -> None:
    own = activation_name(layer)
    if own == "linear" or (own == "relu" and entering is not None and is_never_negative(entering)):
        return
    raise NoIdentityError(
        f"Layer '{layer.name}' with activation {own} has no identity where it is put: expected no activation, or relu behind one "
        "that is never negative. Insert it without activation and `ParametricActivation` behind it, or use "
        "model.insert_block([...], after=...), whose last layer starts at zero."
    )


def _dense(layer: Any, entering: Any) -> dict[str, np.ndarray]:
    _check_activation(layer, entering)
    entering, units = layer.kernel.shape
    if entering != units:
        raise NoIdentityError(
            f"Layer '{layer.name}' makes {units} units of {entering}, and has no identity: expected {entering} units."
        )
    return _with_bias(layer, {"kernel": np.eye(units)})


def _convolution(layer: Any, entering: Any) -> dict[str, np.ndarray]:
    _check_activation(layer, entering)
    *sizes, entering, filters = layer.kernel.shape
    if any(stride != 1 for stride in layer.strides):
        raise NoIdentityError(
            f"Layer '{layer.name}' has strides {layer.strides}, and no identity: expected strides of 1."
        )
    if layer.padding != "same" and any(size != 1 for size in sizes):
        raise NoIdentityError(
            f"Layer '{layer.name}' has padding '{layer.padding}' and kernel size {tuple(sizes)}, and no identity: expected "
            'padding="same", or a kernel size of 1.'
        )
    if any(size % 2 == 0 for size in sizes):
        raise NoIdentityError(
            f"Layer '{layer.name}' has kernel size {tuple(sizes)}, and no identity: expected odd sizes, which have a centre."
        )
    groups = layer.groups
    if filters != entering * groups:
        raise NoIdentityError(
            f"Layer '{layer.name}' makes {filters} filters of {entering * groups} channels, and has none: expected as many."
        )
    kernel = np.zeros(tuple(layer.kernel.shape))
    centre = tuple(size // 2 for size in sizes)
    for channel in range(filters):
        kernel[(*centre, channel % entering, channel)] = 1.0
    return _with_bias(layer, {"kernel": kernel})


def _depthwise(layer: Any, entering: Any) -> dict[str, np.ndarray]:
    _check_activation(layer, entering)
    sizes = layer.kernel.shape[:-2]
    even, strided = any(size % 2 == 0 for size in sizes), any(stride != 1 for stride in layer.strides)
    if layer.depth_multiplier != 1 or strided or even or (layer.padding != "same" and any(size != 1 for size in sizes)):
        raise NoIdentityError(
            f"Layer '{layer.name}' has no identity: expected depth_multiplier=1, strides of 1, an odd kernel size and "
            'padding="same".'
        )
    kernel = np.zeros(tuple(layer.kernel.shape))
    kernel[tuple(size // 2 for size in sizes)] = 1.0
    return _with_bias(layer, {"kernel": kernel})


def _batch_normalization(layer: Any, entering: Any) -> dict[str, np.ndarray]:
    """In inference: moving statistics stay as fresh ones are, and gamma makes up for epsilon."""
    held = internals.own_variables(layer)
    if "gamma" not in held:
        raise NoIdentityError(f"Layer '{layer.name}' has no scale, and no identity: expected scale=True.")
    variance = current().read(held["moving_variance"])
    values = {"gamma": np.sqrt(variance + layer.epsilon)}
    if "beta" in held:
        values["beta"] = current().read(held["moving_mean"])
    return values


def _with_bias(layer: Any, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    bias = internals.own_variables(layer).get("bias")
    return values if bias is None else {**values, "bias": np.zeros(bias.shape)}


_BASE_CONV = keras.layers.Conv1D.__mro__[1]
_BASE_DEPTHWISE = keras.layers.DepthwiseConv1D.__mro__[1]
_IDENTITIES: dict[type, Callable[[Any, Any], dict[str, np.ndarray]]] = {
    keras.layers.Dense: _dense,
    _BASE_CONV: _convolution,
    _BASE_DEPTHWISE: _depthwise,
    keras.layers.BatchNormalization: _batch_normalization,
}
_PASSING = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.Dropout,
    keras.layers.Identity,
    keras.layers.Add,
    keras.layers.Concatenate,
)
_NOTHING_AT_REST = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
_LAST_WEIGHTS: dict[type, tuple[str, ...]] = {
    keras.layers.Dense: ("kernel", "bias"),
    keras.layers.EinsumDense: ("kernel", "bias"),
    _BASE_CONV: ("kernel", "bias"),
    _BASE_DEPTHWISE: ("kernel", "bias"),
    keras.layers.SeparableConv1D: ("pointwise_kernel", "bias"),
    keras.layers.SeparableConv2D: ("pointwise_kernel", "bias"),
    keras.layers.Conv1DTranspose.__mro__[1]: ("kernel", "bias"),
    keras.layers.BatchNormalization: ("gamma", "beta"),
    keras.layers.LayerNormalization: ("gamma", "beta"),
    keras.layers.GroupNormalization: ("gamma", "beta"),
    keras.layers.RMSNormalization: ("scale",),
    keras.layers.MultiHeadAttention: ("attention_output/kernel", "attention_output/bias"),
    keras.layers.GroupQueryAttention: ("attention_output/kernel", "attention_output/bias"),
}
