"""Edits of what a layer is: its constructor's arguments, instead of its units or connections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SlotRule = Literal["shared", "copied"]


@dataclass(frozen=True, eq=False)
class Reconfigure:
    """A layer's constructor arguments after the edit; the layer itself says what becomes of its weights.

    The layer has two methods: `reconfigured(config)` checks the arguments and returns its new attributes, and
    `reweigh(config, values)`, a linear map, takes arrays of the shapes of its variables to those of the new shapes.

    Attributes:
        layer: Name of the layer (its path, in a nested model).
        config: The arguments that change, such as `{"group": "C4"}`.
        slots: What becomes of optimizer slots where a weight becomes several: `"shared"`, first moments are divided among them
            and second moments by the square, as their gradients add up to that of the old weight; `"copied"`.
    """

    layer: str
    config: Mapping[str, Any]
    slots: SlotRule = "shared"

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", dict(self.config))
        if self.slots not in ("shared", "copied"):
            raise ValueError(f"`slots` must be 'shared' or 'copied'. Received: slots={self.slots!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reconfigure):
            return NotImplemented
        return (self.layer, self.config, self.slots) == (other.layer, other.config, other.slots)

    def __hash__(self) -> int:
        return hash((self.layer, json.dumps(self.config, sort_keys=True), self.slots))

    def to_json(self) -> str:
        """Return the edit as JSON; `Reconfigure.from_json` gives an equal edit."""
        return json.dumps(
            {"edit": "Reconfigure", "layer": self.layer, "config": self.config, "slots": self.slots}, default=str
        )

    @classmethod
    def from_json(cls, text: str) -> Reconfigure:
        """Return the edit that `to_json` wrote."""
        data = json.loads(text)
        return cls(data["layer"], data["config"], data["slots"])
