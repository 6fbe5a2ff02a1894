"""Layers, blocks and branches that come and go: edits of the graph of calls."""

import importlib
from typing import Any

_PUBLIC = {
    "Block": "block",
    "BlockCriterion": "strategies",
    "BlockInfluence": "strategies",
    "BlockMeasurement": "measurements",
    "Blocks": "strategy",
    "Entry": "edits",
    "Graft": "edits",
    "Made": "edits",
    "NoIdentityError": "identities",
    "Part": "edits",
    "PartCall": "edits",
    "Start": "edits",
    "WarmupStableDecay": "learning_rates",
    "branch": "constructors",
    "duplicate": "copies",
    "insert": "constructors",
    "insert_block": "constructors",
    "remove": "copies",
    "reorder": "copies",
    "replace": "constructors",
    "stack": "copies",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: strategies on blocks are used without Keras."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
