"""What it takes to carry out a kind of edit, and which kinds there are."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from keras_struct.core.backend.optimizer_slots import Slot
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.structure.rearrangement import Rearrangement
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.trace import Network

E = TypeVar("E")
NewSlots = Literal["initial", "mean"]


class Write(NamedTuple):
    """A variable, its value before and its value afterwards."""

    variable: Any
    before: np.ndarray
    after: np.ndarray


class Fact(NamedTuple):
    """A layer, the name of one of its attributes, and the value that it gets."""

    layer: Any
    attribute: str
    value: Any


@dataclass(frozen=True)
class Request:
    """What is to be planned.

    Attributes:
        network: The model as a graph of units.
        edits: All edits that are carried out at once.
        slots: Optimizer variables that follow the weights.
        preserve: Refuse edits that no choice of weights can make function-preserving.
        new_slots: What optimizer slots hold for units without ancestor: `"initial"`, as freshly built, or `"mean"`, the
            mean over the existing units. Copies of a unit inherit its slots.
        limits: Largest width of each axis.
        editable: The graph that says what may be edited, if `network` holds more than what is edited.
    """

    network: Network
    edits: Sequence[Any]
    slots: Sequence[Slot] = ()
    preserve: bool = True
    new_slots: NewSlots = "initial"
    limits: Mapping[str, int] = field(default_factory=dict)
    editable: StructureGraph | None = None

    def followers(self, weight: Any) -> list[Slot]:
        """The slots of one weight."""
        return [slot for slot in self.slots if slot.reference is weight]


@dataclass(frozen=True)
class Structure:
    """A structure after edits, and what happens along each axis of a variable on the way there."""

    graph: StructureGraph
    changes: Mapping[Port, Rearrangement]


class EditKind(ABC, Generic[E]):
    """How one kind of edit is planned and logged. Kinds are asked in the order in which they were registered.

    Attributes:
        edit: The class of the edits.
        follows_surroundings: Whether layers around a model that read its tensors follow such an edit.
    """

    edit: type[E]
    follows_surroundings = True

    def rearrange(self, request: Request, edits: Sequence[E]) -> Structure | None:
        """Return the structure afterwards, if units come, go or move; edits of one kind at most may do so at a time.

        Raises:
            ValueError: If an edit is not possible.
        """
        return None

    def plan(self, request: Request, edits: Sequence[E], touched: set[str]) -> tuple[list[Write], list[Fact]]:
        """Return what the edits write beside that.

        Args:
            request: What is planned.
            edits: The edits of this kind.
            touched: Layers whose variables are written already.

        Raises:
            ValueError: If an edit is not possible.
        """
        return [], []

    def check(
        self, request: Request, edits: Sequence[E], after: Structure, values: Mapping[tuple[str, str], np.ndarray]
    ) -> None:
        """Raise if the edits together would leave what must not be.

        Args:
            request: What is planned.
            edits: The edits of this kind.
            after: The structure afterwards.
            values: New values of the weights that are rearranged, by layer and variable.
        """

    def follow(self, network: Network, writes: Sequence[Write]) -> list[Fact]:
        """Return attributes that follow from what is written by whatever edit; compiled steps are traced again for them."""
        return []

    def needs_retracing(self, network: Network, edits: Sequence[E]) -> bool:
        """Whether compiled steps must be traced again even if all variables keep their objects."""
        return False

    def size(self, network: Network, edit: E) -> int:
        """Return how large what is edited is, such as a number of units, for the log."""
        raise NotImplementedError

    def name(self, edit: E) -> str:
        """Return the name of what is edited, an axis or a layer, for the log."""
        raise NotImplementedError

    def source(self, edit: E) -> tuple[int, ...]:
        """Return for each unit afterwards its index before, for the log; empty if the edit is none of units."""
        return ()

    def detail(self, edit: E) -> str:
        """Return what the log says behind the reason."""
        return ""


_KINDS: dict[type, EditKind[Any]] = {}


def register_edit(kind: EditKind[Any]) -> None:
    """Let models carry out edits of another class.

    Args:
        kind: How they are planned and logged.

    Raises:
        ValueError: If edits of this class are known already.
    """
    if kind.edit in _KINDS and type(_KINDS[kind.edit]) is not type(kind):
        raise ValueError(
            f"Edits of class {kind.edit.__name__} are carried out by {type(_KINDS[kind.edit]).__name__} already. Give "
            f"{type(kind).__name__} a class of edits of its own."
        )
    _KINDS[kind.edit] = kind


def kind_of(edit: Any) -> EditKind[Any]:
    """Return how an edit is carried out.

    Raises:
        TypeError: If it is no edit.
    """
    found = _KINDS.get(type(edit)) or next((kind for cls, kind in _KINDS.items() if isinstance(edit, cls)), None)
    if found is None:
        known = ", ".join(sorted(cls.__name__ for cls in _KINDS))
        raise TypeError(
            f"Expected an edit such as keras_struct.grow(axis, width, count), one of {known}, or of a class that was "
            f"registered with keras_struct.register_edit. Received: {edit!r}"
        )
    return found


def by_kind(edits: Sequence[Any]) -> list[tuple[EditKind[Any], list[Any]]]:
    """Return each kind of which there are edits, with these."""
    kinds = [kind_of(edit) for edit in edits]
    return [
        (kind, [edit for edit, other in zip(edits, kinds, strict=True) if other is kind])
        for kind in all_kinds()
        if kind in kinds
    ]


def all_kinds() -> list[EditKind[Any]]:
    """Return all kinds, in the order in which they were registered."""
    return list(_KINDS.values())
