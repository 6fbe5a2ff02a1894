"""What a structure consists of, as far as it is saved, and which edits bring it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from keras_struct.core.backend import keras_internals
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.structure.edits import Resize


class StructureAspect(ABC):
    """One thing that a structure consists of, such as the widths of its axes.

    Attributes:
        name: Under which it is saved.
        order: What is restored first has the smallest number.
    """

    name: ClassVar[str]
    order: ClassVar[int] = 0

    @abstractmethod
    def read(self, live: LiveNetwork) -> dict[str, Any]:
        """Return it for each axis or layer of a model, as JSON can hold it."""

    @abstractmethod
    def edits(self, live: LiveNetwork, wanted: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Return the edits that make it what is wanted, those together that can be made at once.

        Args:
            live: The network, which has the edits that were returned before already when it returns the next ones.
            wanted: What `read` shall return, for some or all axes or layers.
        """

    def in_weights(self, live: LiveNetwork, arrays: Mapping[int, Any]) -> dict[str, Any]:
        """Return what weights from elsewhere imply, for `edits`.

        Args:
            live: The network.
            arrays: An array for each variable, by its `id`.
        """
        return {}


_ASPECTS: dict[str, StructureAspect] = {}


def register_aspect(aspect: StructureAspect) -> None:
    """Let something be saved with the structure of models, and be restored.

    Raises:
        ValueError: If another aspect has its name.
    """
    if type(_ASPECTS.setdefault(aspect.name, aspect)) is not type(aspect):
        raise ValueError(f"`{aspect.name}` is what {type(_ASPECTS[aspect.name]).__name__} saves. Use another name.")


def aspects() -> list[StructureAspect]:
    """Return what a structure consists of, in the order in which it is restored."""
    return sorted(_ASPECTS.values(), key=lambda aspect: aspect.order)


class Widths(StructureAspect):
    """How many units each axis has."""

    name = "widths"

    def read(self, live: LiveNetwork) -> dict[str, int]:
        """Return the width of each axis."""
        return dict(live.graph.axes)

    def edits(self, live: LiveNetwork, wanted: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Give every axis its width; new units are copies, whose values are set by the caller."""
        now = live.graph.axes
        different = {axis: width for axis, width in wanted.items() if axis in now and now[axis] != width}
        yield [Resize(axis, tuple(i % now[axis] for i in range(width))) for axis, width in different.items()]

    def in_weights(self, live: LiveNetwork, arrays: Mapping[int, Any]) -> dict[str, int]:
        """Return the widths that the shapes of weights imply."""
        shapes = {key: np.shape(array) for key, array in arrays.items()}
        extents = {}
        for port in live.graph.all_ports:
            variable = keras_internals.own_variables(live.network.layers[port.layer])[port.variable]
            shape = shapes.get(id(variable), ())
            if len(shape) > port.axis:
                extents[port] = shape[port.axis]
        return live.graph.widths_from(extents)


register_aspect(Widths())
