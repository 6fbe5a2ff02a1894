"""What strategies on blocks see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_struct.depth.block import Block


@dataclass(frozen=True)
class BlockMeasurement:
    """What is known of one block.

    Attributes:
        block: The block.
        names: Names of the layers in its network, which new layers must not have.
        loss: Training loss of the last step, or `None` before the first one.
        influence: Returns `1 - E cos(x, y)` for what enters and what leaves, between 0 and 2, on the inputs that are kept.
        effective_dimension: Returns the share of the units of its output that are independent, for a threshold of the singular
            values, on the inputs that are kept.

    Raises:
        ValueError: By `influence` and `effective_dimension`, if no inputs are kept.
    """

    block: Block
    names: frozenset[str]
    loss: float | None
    influence: Callable[[], float]
    effective_dimension: Callable[[float], float]
