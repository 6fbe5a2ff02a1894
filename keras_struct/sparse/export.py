"""Masked layers as stock ones, with zeros where no connection is."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals
from keras_struct.core.export.forms import PlainForm, register_plain_form
from keras_struct.core.export.plain import copied_plainly
from keras_struct.sparse.layers import MaskedConv2D, MaskedDense


def plain_masked(layer: Any) -> Any:
    """Return a stock layer in the place of a masked one, without weights yet.

    Raises:
        ValueError: If the layer has LoRA or quantised weights.
    """
    if keras_internals.is_adapted(layer):
        raise ValueError(
            f"Layer '{layer.name}' is masked and has LoRA or quantised weights: no stock layer computes that."
        )
    if isinstance(layer, MaskedDense):
        return copied_plainly(layer, keras.layers.Dense, ("max_units", "dormant"))
    return copied_plainly(layer, keras.layers.Conv2D, ("max_filters", "dormant"))


def copy_masked(layer: Any, plain: Any) -> None:
    """Give the stock layer the weights of the connections that there are."""
    plain.kernel.assign(np.array(keras.ops.convert_to_numpy(layer.connected_kernel)))
    if layer.use_bias:
        plain.bias.assign(np.array(keras.ops.convert_to_numpy(layer.bias)))


for kind in (MaskedDense, MaskedConv2D):
    register_plain_form(kind, PlainForm(plain_masked, copy_masked))
