"""Units that are edited together."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class UnitAxis:
    """Units that are edited together, in order.

    Attributes:
        name: Name of the first layer that produces them.
        width: How many there are.
        producers: Layers that make them, with the position of their first unit in the layer; a layer can hold several
            such blocks.
        locked: Why they cannot be edited, or `None`.
        mixes: Why no edit of them can keep the function, or `None`.
        elastic: Whether their number may be unknown when the training step is traced.
    """

    name: str
    width: int
    producers: tuple[tuple[str, int], ...]
    locked: str | None = None
    mixes: str | None = None
    elastic: bool = True


TANGLED = "its units lie in another order in one layer than in another that they are tied to"


def lock_tangled(axis: UnitAxis, layers: set[str]) -> UnitAxis:
    """Lock an axis that shares a producer with one whose units are not contiguous there."""
    shares = any(layer in layers for layer, _ in axis.producers)
    return replace(axis, locked=TANGLED) if shares and axis.locked is None else axis
