"""Kinds of edits that change which layers a model calls."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

from keras_struct.core.surgery.edit_kinds import EditKind
from keras_struct.core.surgery.graph_change import GraphChange
from keras_struct.core.surgery.trace import Network

E = TypeVar("E")


class CallEditKind(EditKind[E]):
    """How one kind of edit of the graph of calls is carried out and logged."""

    follows_surroundings = False

    @abstractmethod
    def connect(self, change: GraphChange, edit: E) -> None:
        """Make the new calls and let others read what they put out. What was done is taken back if this raises.

        Args:
            change: Carries out calls and connections.
            edit: The edit.

        Raises:
            ValueError: If the edit is not possible.
        """

    def size(self, network: Network, edit: Any) -> int:
        """Return the number of layers."""
        return len(network.layers)

    def needs_retracing(self, network: Network, edits: Any) -> bool:
        """Compiled steps are always traced again."""
        return True
