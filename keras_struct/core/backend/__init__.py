"""The only code that knows TensorFlow, JAX and PyTorch, and the private attributes of Keras."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import keras


@cache
def current() -> ModuleType:
    """Return the module that knows the backend Keras runs on.

    Raises:
        ValueError: For a backend that cannot change structure.
    """
    name = keras.backend.backend()
    if name not in ("tensorflow", "jax", "torch"):
        raise ValueError(
            f"keras-struct works on the TensorFlow, JAX and PyTorch backends of Keras. Received: '{name}'."
        )
    return importlib.import_module(f"keras_struct.core.backend.{name}")
