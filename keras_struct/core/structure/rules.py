"""How a layer's variables use units."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Literal, NamedTuple, get_args

import numpy as np

Role = Literal["produce", "consume", "carry"]
Tie = int | str


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


@dataclass(frozen=True, repr=False)
class AxisRule:
    """One axis of one variable that runs along units.

    Attributes:
        variable: Name of the variable in its layer, for example `"kernel"`; of a layer inside it behind that one's name
            (`"transform/kernel"`).
        axis: Axis of the variable, non-negative.
        role: `"produce"`: the axis holds what makes these units, such as their incoming weights; `"consume"`: it reads them;
            `"carry"`: they pass through the layer, and it holds something for each, like a scale.
        layout: How unit labels become positions along the axis.
        new: Value of new entries, unless the edit brings values; `"existing"` copies the entries of existing units, one after
            the other, for a kernel that each unit passes through (a depthwise filter): zeros would cut new units off, and
            their gradient would be zero for ever.
        size: Attribute of the layer that holds the extent of this axis, for example `"units"`; one of a layer inside it
            behind its name (`"lstm_cell/units"`), several of them separated by commas.
        tied_to: Whose units these are, where the role does not tell. By default what is produced are the units of the
            layer's output, and what is consumed or carried those of its input. `"output"`, `"input"`, the number of an input
            (from 0), the name of the parameter of `call` that it is passed for, or several of them. Units that are produced
            and tied to an input are those of the input and of the output: the layer outputs as many as it gets, and they are
            edited together (a residual or highway layer, a state). It is enough to say so in one rule.
        inherits: Whether copies of a unit take over its entries, as they do almost everywhere; else they get `new`, beside the
            first of them (what a neuron sends to later ones, which its copy comes behind).
        power: By which power of the ratio of extents, new over old, the variable is multiplied (an attention's queries,
            whose products are divided by the square root of their number).

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If the role is unknown, or the axis negative.

    Examples:
        >>> AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", tied_to="input")
        (AxisRule('kernel', 0, 'consume'), AxisRule('kernel', 1, 'produce', tied_to='input'))
    """

    variable: str
    axis: int
    role: Role
    layout: Layout = Layout()
    new: float | Literal["existing"] = 0.0
    size: str | None = None
    power: float = 0.0
    tied_to: Tie | tuple[Tie, ...] | None = None
    inherits: bool = True

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ValueError(
                f"`role` of an AxisRule must be 'produce', 'consume' or 'carry'. Received: role={self.role!r} for variable "
                f"'{self.variable}'"
            )
        if not _is_whole(self.axis) or self.axis < 0:
            raise ValueError(
                f"`axis` of an AxisRule must be a non-negative whole number. Received: axis={self.axis!r} for variable "
                f"'{self.variable}'"
            )
        self._check_kinds()

    def _check_kinds(self) -> None:
        kinds = {
            "variable": (isinstance(self.variable, str), "the name of a variable"),
            "layout": (isinstance(self.layout, Layout), "a Layout"),
            "new": (isinstance(self.new, Real) or self.new == "existing", "a number or 'existing'"),
            "size": (self.size is None or isinstance(self.size, str), "the name of an attribute"),
            "tied_to": (
                all(isinstance(tie, str) or _is_whole(tie) for tie in self._ties),
                "'input', 'output', the number of an input, the name of a parameter of `call`, or a tuple of these",
            ),
        }
        for name, (fits, expected) in kinds.items():
            if not fits:
                raise TypeError(
                    f"`{name}` of an AxisRule must be {expected}. Received: {name}={getattr(self, name)!r} for variable "
                    f"{self.variable!r}"
                )

    def __repr__(self) -> str:
        given = [f"{f.name}={v!r}" for f in fields(self)[3:] if (v := getattr(self, f.name)) != f.default]
        return f"AxisRule({', '.join([repr(self.variable), str(self.axis), repr(self.role), *given])})"

    def within(self, layer: str) -> AxisRule:
        """The rule of a layer inside another, whose variables and attributes go by longer names there."""
        return replace(self, variable=f"{layer}/{self.variable}", size=named_inside(layer, self.size))

    @property
    def along_output(self) -> bool:
        """Whether the axis lies along the units of the layer's output."""
        return self.role == "produce" or "output" in self._ties

    @property
    def inputs(self) -> tuple[Tie, ...]:
        """The inputs that it names, by number or parameter; none if it leaves that to the role."""
        return tuple(tie for tie in self._ties if tie != "output")

    @property
    def _ties(self) -> tuple[Tie, ...]:
        if self.tied_to is None:
            return ()
        return self.tied_to if isinstance(self.tied_to, tuple) else (self.tied_to,)


def named_inside(layer: str, size: str | None) -> str | None:
    """Names of attributes, separated by commas, of a layer inside another."""
    return None if size is None else ",".join(f"{layer}/{name}" for name in size.split(","))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
