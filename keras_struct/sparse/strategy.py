"""What strategies that edit connections share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from keras_struct.core.structure.targets import EditTarget
from keras_struct.policies.layer_strategy import LayerStrategy
from keras_struct.policies.strategy import Remembered
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.measurements import ConnectionMeasurement


class Connections(EditTarget):
    """Single connections of masked layers, as what a strategy works on."""


@dataclass(frozen=True)
class Rewiring(LayerStrategy[ConnectionMeasurement, Remembered]):
    """Base of strategies that edit the connections of masked layers while a model trains.

    Args:
        layers: Names of the layers to work on; all masked ones by default, but for those that are not trainable.
    """

    works_on: ClassVar[type[EditTarget]] = Connections

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there are connections to edit.

        Raises:
            ValueError: If the model has no masked layer, or one of `layers` is not masked.
        """
        if not targets:
            raise ValueError(
                f"{type(self).__name__} edits connections, and the model has no masked layer. Convert it with "
                "keras_struct.sparsify(model), or use MaskedDense and MaskedConv2D."
            )
        if unknown := [name for name in self.layers or () if name not in targets]:
            raise ValueError(
                f"{type(self).__name__} cannot edit layers {unknown}: masked layers are {sorted(targets)}."
            )

    @abstractmethod
    def due(self, step: int, since: int | None = None) -> bool:
        """Whether to look at connections after `step` gradient steps, or at one after `since`."""

    @abstractmethod
    def propose(
        self, step: int, measurements: Mapping[str, ConnectionMeasurement], state: Remembered, since: int | None = None
    ) -> tuple[list[Rewire], Remembered]:
        """Return the edits to make now, and the new state.

        Args:
            step: Gradient steps so far.
            measurements: `ConnectionMeasurement` of each layer.
            state: What `init` or the last `propose` returned.
            since: Step after which it was asked before.
        """
