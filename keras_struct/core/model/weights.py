"""Weights with the structure that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class StructuralWeights(list[Any]):
    """The arrays of a model, as `get_weights` returns them, which know the structure of the model that they are of.

    Whoever keeps them, such as `keras.callbacks.EarlyStopping`, can give them back after the structure has changed.

    Attributes:
        structure: What `StructureCheckpoint.structure` returned.
    """

    def __init__(self, arrays: Sequence[Any], structure: Mapping[str, Any]) -> None:
        super().__init__(arrays)
        self.structure = structure
