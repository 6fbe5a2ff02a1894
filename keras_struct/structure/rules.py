"""How a layer's variables use units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

Role = Literal["produce", "consume", "carry"]


class Port(NamedTuple):
    """One axis of one variable of one layer."""

    layer: str
    variable: str
    axis: int

    @property
    def key(self) -> str:
        """`layer/variable`, as new weights are keyed."""
        return f"{self.layer}/{self.variable}"


@dataclass(frozen=True)
class Layout:
    """How the labels of units become the positions of a variable's axis.

    Attributes:
        repeat: Each label this many times in a row (a depthwise convolution with a depth multiplier).
        tile: The whole sequence this many times (the four gates of an LSTM kernel).
    """

    repeat: int = 1
    tile: int = 1

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Lay out the labels `ids` along the variable's axis."""
        repeated = ids if self.repeat == 1 else np.repeat(ids, self.repeat)
        return repeated if self.tile == 1 else np.tile(repeated, self.tile)


@dataclass(frozen=True)
class AxisRule:
    """One axis of one variable that runs along units.

    Attributes:
        variable: Name of the variable in its layer, for example `"kernel"`.
        axis: Axis of the variable, non-negative.
        role: `"produce"`: the layer makes these units; `"consume"`: it reads them; `"carry"`: they pass through it and
            it holds something for each, like a scale.
        layout: How unit labels become positions along the axis.
        new: Value of an entry without ancestor, unless the edit brings values; `"existing"` copies the entries of
            existing units, one after the other, for a kernel that each unit passes through (a depthwise filter): zeros
            would cut new units off, and their gradient would be zero for ever.
        size: Attribute of the layer that holds the extent of this axis, for example `"units"`; one of a layer inside it
            behind its name (`"lstm_cell/units"`), several of them separated by commas.
        made: For a carrier in a layer that makes units: whether it lies along those, instead of along those that enter.
        input: Which of the layer's inputs the units enter by that the axis lies along, for a layer with several.
        inherits: Whether copies of a unit take over its entries, as they do almost everywhere; else they get `new`, beside the
            first of them (what a neuron sends to later ones, which its copy comes behind).
        power: By which power of the ratio of extents, new over old, the variable is multiplied (an attention's queries,
            whose products are divided by the square root of their number).
    """

    variable: str
    axis: int
    role: Role
    layout: Layout = Layout()
    new: float | Literal["existing"] = 0.0
    size: str | None = None
    power: float = 0.0
    made: bool = False
    inherits: bool = True
    input: int = 0

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ValueError(
                f"`role` of an AxisRule must be 'produce', 'consume' or 'carry'. Received: role={self.role!r} for variable "
                f"'{self.variable}'"
            )
        if not isinstance(self.axis, int) or self.axis < 0:
            raise ValueError(
                f"`axis` of an AxisRule must be a non-negative whole number. Received: axis={self.axis!r} for variable "
                f"'{self.variable}'"
            )
