"""Edits of the graph of calls of a model: its optimizers and all who hold its layers follow, or nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_struct.core.backend import holders
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.optimizer_slots import refit
from keras_struct.core.surgery.call_edits import CallEditKind
from keras_struct.core.surgery.graph_change import GraphChange
from keras_struct.core.surgery.trace import Network, trace


class CallChange:
    """An edit of the graph of calls that was carried out, and can be taken back.

    Attributes:
        network: The network afterwards.
        graph: What was changed.

    Args:
        model: The model.
        kind: How the edit is carried out.
        edit: The edit.

    Raises:
        ValueError: If it is not possible; everything is as it was.
    """

    def __init__(self, model: Any, kind: CallEditKind[Any], edit: Any) -> None:
        self.graph = GraphChange(model)
        self._undo: list[Callable[[], None]] = []
        before = list(model.trainable_variables)
        try:
            kind.connect(self.graph, edit)
            self.graph.settle()
            self.network: Network = trace(model)
            holders.variables_changed()
            for optimizer, weights in _trainers(model, before):
                self._undo.append(refit(optimizer, weights, self.graph.copied))
        except BaseException:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Make everything what it was."""
        while self._undo:
            self._undo.pop()()
        self.graph.take_back()
        holders.variables_changed()


def _trainers(model: Any, before: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Built optimizers that train weights of a model, with what they are to train now.

    Args:
        model: The model.
        before: What it trained before the edit.
    """
    known, now = set(map(id, before)), list(model.trainable_variables)
    kept, found = set(map(id, now)), []
    owners = [model, *holders.running_models()]
    trainers = holders.optimizers_of(known)
    for optimizer in (optimizer for optimizer in trainers if not _is_inside(optimizer, trainers)):
        trained = list(internals.trained_by(optimizer))
        owner = next((owner for owner in owners if _trains(owner, optimizer)), None)
        weights = [weight for weight in trained if id(weight) not in known or id(weight) in kept]
        held = [] if owner is None else list(owner.trainable_variables)
        if {id(weight) for weight in held if id(weight) in known or id(weight) not in kept} == set(map(id, weights)):
            weights = held  # it trains all of its model
        elif known <= set(map(id, trained)):
            weights = [*(weight for weight in trained if id(weight) not in known), *now]
        if list(map(id, weights)) != list(map(id, trained)):
            found.append((optimizer, weights))
    return found


def _is_inside(optimizer: Any, others: list[Any]) -> bool:
    return any(optimizer is part for other in others for part in internals.optimizer_chain(other)[1:])


def _trains(model: Any, optimizer: Any) -> bool:
    own = internals.optimizer_of(model)
    return own is not None and any(optimizer is part for part in internals.optimizer_chain(own))
