"""Models on several devices."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.backend import current


def refuse_distribution(model: Any) -> None:
    """Raise when a model is trained on several devices.

    Raises:
        ValueError: Under `tf.distribute` or `keras.distribution`.
    """
    current().refuse_distribution(model)
    if keras.distribution.distribution() is not None:
        raise ValueError(
            "A model whose structure changes cannot be trained under keras.distribution: an edit would have to change every "
            "shard at once. Call keras.distribution.set_distribution(None) before building and compiling the model."
        )
