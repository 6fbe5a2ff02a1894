"""What strategies work on, as classes that they name; how each is found in a model and measured is the model's matter."""

from __future__ import annotations


class EditTarget:
    """What a strategy works on. A strategy names a subclass: `works_on: ClassVar[type[EditTarget]] = Units`.

    A target of one's own is a subclass without content and, for the model, a `keras_struct.core.model.targets.TargetFinder` that
    is registered with `register_target`.
    """


class Units(EditTarget):
    """Units along the axes of a model: neurons, channels, heads."""
