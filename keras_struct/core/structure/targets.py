"""What strategies work on, as classes that they name; how each is found in a model and measured is the model's matter."""

from __future__ import annotations


class EditTarget:
    """What a strategy works on. A strategy names a subclass: `works_on: ClassVar[type[EditTarget]] = Units`.

    A target of one's own is a subclass without content and, for the model, a `keras_struct.core.model.targets.TargetFinder` that
    is registered with `register_target`.
    """


class Units(EditTarget):
    """Units along the axes of a model: neurons, channels, heads."""


class Connections(EditTarget):
    """Single connections of masked layers."""


class ActiveConnections(EditTarget):
    """Connections of masked layers of which it is known when their ends are active."""


class Edges(EditTarget):
    """Edges between neurons of one layer, of which it is known when they are active."""


class Symmetries(EditTarget):
    """Symmetries of group convolutions."""
