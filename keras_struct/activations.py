"""Activations for units that start from zero."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_struct")
def relu1(x):
    """ReLU whose derivative at 0 is 1.

    A unit that is added with zero incoming weights has pre-activation 0 everywhere. Plain `relu` has derivative 0 there,
    so such a unit would never train; this one passes the gradient (σ(x) = x for x >= 0, else 0).

    Args:
        x: Tensor of any shape and floating dtype.

    Returns:
        Tensor of the same shape and dtype.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022, section 3.
    """
    x = keras.ops.convert_to_tensor(x)
    return x * keras.ops.cast(x >= 0, x.dtype)


_CLEAR_ZERO = ("relu", "relu1", "relu6", "leaky_relu", "threshold")


def threshold_of_activity(function: Any) -> float | None:
    """Return above which output a neuron with this activation is active: 0 where that is a clear zero, else `None`.

    Args:
        function: An activation, such as `layer.activation`; `None` for none.

    >>> threshold_of_activity(keras.activations.relu), threshold_of_activity(keras.activations.tanh)
    (0.0, None)
    """
    return 0.0 if getattr(function, "__name__", "") in _CLEAR_ZERO else None
