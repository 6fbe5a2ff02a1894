"""What strategies that edit layers instead of unit axes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from keras_struct.policies.strategy import Measured, Remembered, Strategy


@dataclass(frozen=True)
class LayerStrategy(Strategy[Measured, Remembered]):
    """Base of strategies that edit layers, be it their connections or their symmetry, while a model trains.

    Args:
        layers: Names of the layers to work on; all by default, but for those that are not trainable.
    """

    layers: tuple[str, ...] | None = field(default=None, kw_only=True)

    grows: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.layers is not None:
            object.__setattr__(self, "layers", (self.layers,) if isinstance(self.layers, str) else tuple(self.layers))

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return False

    @property
    def axes(self) -> tuple[str, ...] | None:
        """Names of what it works on."""
        return self.layers
