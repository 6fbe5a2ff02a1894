"""Connections as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.suitability import is_trainable
from keras_struct.core.model.targets import TargetFinder, register_target
from keras_struct.core.structure.capabilities import Maskable, TellsActivity
from keras_struct.core.structure.targets import ActiveConnections, Connections, Edges
from keras_struct.sparse.coactivity import why_undefined
from keras_struct.sparse.measuring import measure_connections
from keras_struct.sparse.rewiring import count


class ConnectionFinder(TargetFinder):
    """Connections of masked layers."""

    def __init__(self, editor: Any, strategy: Any) -> None:
        super().__init__(editor, strategy)
        self._total: tuple[int, int] = (-1, 0)

    def counts(self) -> dict[str, int]:
        """How many connections each masked layer has."""
        self.editor.sync()
        return {name: count(layer) for name, layer in self._layers().items()}

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy does not work on a layer, or `None` if it does."""
        layer = self._layers()[name]
        if name in (self.strategy.axes or ()) or (self.editor.model.trainable and is_trainable(layer, layer.kernel)):
            return None
        return "it is not trainable, and stays as it is unless `layers` names it"

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each layer's connections."""
        acting = set(self.acting())
        chosen = {n: layer for n, layer in self._layers().items() if n in acting and (only is None or n in only)}
        return measure_connections(self.observation, chosen)

    def metrics(self) -> dict[str, int]:
        """How many connections there are, counted again after an edit."""
        if self._total[0] != self.editor.version:
            self.editor.sync()
            self._total = self.editor.version, sum(count(layer) for layer in self._masked().values())
        return {"connections": self._total[1]}

    def _masked(self) -> dict[str, Any]:
        return self.editor.network.having(Maskable)

    def _layers(self) -> dict[str, Any]:
        """The layers that the strategy may work on."""
        return self._masked()


class ActiveConnectionFinder(ConnectionFinder):
    """Connections of masked layers of which it is known when their ends are active."""

    def locked(self) -> dict[str, str]:
        """Why it is not known of others."""
        threshold, probe = self.strategy.threshold, self.observation.probe
        found = {name: why_undefined(probe, name, threshold) for name in self._masked()}
        return {name: reason for name, reason in found.items() if reason is not None}

    def _layers(self) -> dict[str, Any]:
        locked = self.locked()
        return {name: layer for name, layer in self._masked().items() if name not in locked}


class EdgeFinder(ConnectionFinder):
    """Edges between neurons of one layer, of which it is known when they are active."""

    def _layers(self) -> dict[str, Any]:
        active = self.editor.network.having(TellsActivity)
        return {name: layer for name, layer in self._masked().items() if name in active}


register_target(Connections, ConnectionFinder)
register_target(ActiveConnections, ActiveConnectionFinder)
register_target(Edges, EdgeFinder)
