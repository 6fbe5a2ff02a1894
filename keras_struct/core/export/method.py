"""Export as a method of structural models."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.export.plain import to_plain
from keras_struct.core.model.methods import model_methods


@model_methods
class ExportMethods:
    """What a `StructuralModel` can do to be exported."""

    def to_plain(self: Any, inference: bool = False) -> keras.Model:
        """Return the same network in stock Keras layers with static shapes, for export and for people without this library.

        Args:
            inference: Leave out dropout, noise and random augmentation.
        """
        return to_plain(self, inference)
