"""Connections as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.targets import LayerFinder, register_target
from keras_struct.core.structure.capabilities import Maskable, TellsActivity
from keras_struct.sparse.coactivity import why_undefined
from keras_struct.sparse.hebbian import ActiveConnections, Edges
from keras_struct.sparse.measuring import measure_connections
from keras_struct.sparse.rewiring import count
from keras_struct.sparse.strategy import Connections


class ConnectionFinder(LayerFinder):
    """Connections of masked layers."""

    def __init__(self, editor: Any, strategy: Any) -> None:
        super().__init__(editor, strategy)
        self._total: tuple[int, int] = (-1, 0)

    def counts(self) -> dict[str, int]:
        """How many connections each masked layer has."""
        self.editor.sync()
        return {name: count(layer) for name, layer in self.layers().items()}

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each layer's connections."""
        return measure_connections(self.observation, self.chosen(only))

    def metrics(self) -> dict[str, int]:
        """How many connections there are, counted again after an edit."""
        if self._total[0] != self.editor.version:
            self.editor.sync()
            self._total = self.editor.version, sum(count(layer) for layer in self._masked().values())
        return {"connections": self._total[1]}

    def _masked(self) -> dict[str, Any]:
        return self.editor.network.having(Maskable)

    def layers(self) -> dict[str, Any]:
        """Return the masked layers."""
        return self._masked()


class ActiveConnectionFinder(ConnectionFinder):
    """Connections of masked layers of which it is known when their ends are active."""

    def locked(self) -> dict[str, str]:
        """Why it is not known of others."""
        threshold, probe = self.strategy.threshold, self.observation.probe
        found = {name: why_undefined(probe, name, threshold) for name in self._masked()}
        return {name: reason for name, reason in found.items() if reason is not None}

    def layers(self) -> dict[str, Any]:
        """Return the masked layers that are not locked."""
        locked = self.locked()
        return {name: layer for name, layer in self._masked().items() if name not in locked}


class EdgeFinder(ConnectionFinder):
    """Edges between neurons of one layer, of which it is known when they are active."""

    def layers(self) -> dict[str, Any]:
        """Return the masked layers that tell when their neurons are active."""
        active = self.editor.network.having(TellsActivity)
        return {name: layer for name, layer in self._masked().items() if name in active}


register_target(Connections, ConnectionFinder)
register_target(ActiveConnections, ActiveConnectionFinder)
register_target(Edges, EdgeFinder)
