"""Methods that features give to structural models."""

from __future__ import annotations

from typing import TypeVar

from keras_struct.core.model.structural_model import StructuralModel

C = TypeVar("C", bound=type)


def model_methods(methods: C) -> C:
    """Decorate a class whose public methods and properties every `StructuralModel` is to have, with the model as `self`.

    Raises:
        ValueError: If structural models have something of that name already.

    Examples:
        >>> @model_methods
        ... class Reports:
        ...     def widest(self):
        ...         return max(self.structure.axes, key=self.structure.axes.get)
    """
    for name, member in vars(methods).items():
        if name.startswith("_"):
            continue
        if _owner(name) not in (None, methods.__qualname__):
            raise ValueError(
                f"Structural models have '{name}' already, from {_owner(name)}: {methods.__name__} must use another name."
            )
        setattr(StructuralModel, name, member)
        _OWNERS[name] = methods.__qualname__
    return methods


_OWNERS: dict[str, str] = {}


def _owner(name: str) -> str | None:
    """Who gave structural models what goes by a name."""
    known = "Keras or StructuralModel itself" if name in dir(StructuralModel) else None
    return _OWNERS.get(name, known)
