"""Choices among operations as part of the structure that is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keras_struct.core.model.aspects import StructureAspect, register_aspect
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.structure.capabilities import Choosable
from keras_struct.core.structure.reconfiguring import Reconfigure


class Choices(StructureAspect):
    """What each layer that chooses among operations has chosen."""

    name = "choices"

    def read(self, live: LiveNetwork) -> dict[str, Any]:
        """Return the arguments that say so, for each layer."""
        return {path: layer.choice for path, layer in live.network.having(Choosable).items()}

    def edits(self, live: LiveNetwork, wanted: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Let every layer choose what is wanted."""
        now = self.read(live)
        yield [
            Reconfigure(path, choice, "copied")
            for path, choice in wanted.items()
            if path in now and now[path] != choice
        ]


register_aspect(Choices())
