"""What recurrent layers do to units, and cells that are called by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.assemblies import Assembly, Give, Make, Read
from keras_struct.core.structure.behaviours import Behaviour, Opaque
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule, Layout
from keras_struct.core.surgery.activation import locking_reason, mixing_reason

_GATES = {
    keras.layers.SimpleRNNCell: 1,
    keras.layers.GRUCell: 3,
    keras.layers.LSTMCell: 4,
    internals.CONV_LSTM_CELL: 4,
}
_STATES = {keras.layers.LSTMCell: 2, internals.CONV_LSTM_CELL: 2}
RECURRENT = tuple("SimpleRNN GRU LSTM RNN ConvLSTM1D ConvLSTM2D ConvLSTM3D".split())
CELLS = tuple("SimpleRNNCell GRUCell LSTMCell StackedRNNCells".split())


def recurrent(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """A recurrent layer: its units are those of its state; each has an entry in every gate, and reads all the others."""
    if (reason := _unknown(layer.cell, layer.name)) is not None:
        return Opaque(reason, tuple(outputs))
    stack = _stack(layer.cell, f"{layer.cell.name}/", _places(names, "initial_state"), internals.states_of(layer))
    return Assembly((stack.read,), stack.makes, stack.gives(outputs))


def cell(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """A cell that is called for a single step."""
    if (reason := _unknown(layer, layer.name)) is not None:
        return Opaque(reason, tuple(outputs))
    stack = _stack(layer, "", _places(names, "states"))
    return Assembly((stack.read,), stack.makes, stack.gives(outputs))


def bidirectional(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """Two recurrent layers side by side, or added, when their units at the same place become one."""
    states = _places(names, "initial_state")
    half = len(states) // 2
    found = []
    for inner, part, own in (
        (layer.forward_layer, "", states[:half]),
        (layer.backward_layer, "backward", states[half:]),
    ):
        reason = _unknown(inner.cell if isinstance(inner, keras.layers.RNN) else inner, layer.name)
        if reason is not None:
            return Opaque(reason, tuple(outputs))
        stack = _stack(inner.cell, f"{inner.cell.name}/", own, internals.states_of(inner), part)
        found.append(stack.inside(inner.name))
    forward, backward = found
    read = replace(forward.read, rules=forward.read.rules + backward.read.rules)
    makes = forward.makes + backward.makes
    last = (len(forward.makes) - 1, len(makes) - 1)
    merged: list[tuple[int, ...]]
    if layer.merge_mode == "concat":
        merged = [last]
    elif layer.merge_mode is None:
        merged = [(last[0],), (last[1],)]
    else:
        one, other = makes[last[0]], makes[last[1]]
        joint = replace(one, rules=one.rules + other.rules, tied_to=one.tied_to + other.tied_to)
        makes = (*makes[: last[0]], joint, *makes[last[0] + 1 : last[1]])
        last, merged = (last[0], last[0]), [(last[0],)]
    given = [Give(shape, forward.axis, made) for shape, made in zip(outputs, merged, strict=False)]
    rest, middle = outputs[len(given) :], len(forward.makes)
    order = [*forward.owners, *((last[1] if i == len(backward.makes) - 1 else i + middle) for i in backward.owners)]
    given += [Give(shape, forward.axis, (made,)) for shape, made in zip(rest, order, strict=False)]
    return Assembly((read,), makes, tuple(given))


def _places(names: Sequence[str], argument: str) -> tuple[int, ...]:
    return tuple(place for place, name in enumerate(names) if name == argument)


def _unknown(cell: Any, layer: str) -> str | None:
    """Why the units of a cell, or of those stacked in it, cannot be followed."""
    cells = _cells(cell)
    for each in cells:
        if type(each) not in _GATES:
            return (
                f"layer '{layer}' runs '{type(each).__name__}', and units can be followed through SimpleRNN, GRU, LSTM and "
                "ConvLSTM and their cells only; use one of these, or keep the layer at the width that it has"
            )
        if (reason := locking_reason(each)) is not None:
            return reason
    if len({each.name for each in cells}) < len(cells):
        return f"layer '{layer}' has several cells of the same name; give each a `name` of its own"
    return None


def _cells(cell: Any) -> list[Any]:
    return list(cell.cells) if type(cell) is keras.layers.StackedRNNCells else [cell]


@dataclass(frozen=True)
class _Stack:
    """Cells on top of each other, each with units of its own; those of the last come out."""

    read: Read
    makes: tuple[Make, ...]
    owners: tuple[int, ...]
    axis: int

    def gives(self, outputs: list[Shape]) -> tuple[Give, ...]:
        """The output, and the states."""
        made = (len(self.makes) - 1, *self.owners)
        return tuple(Give(shape, self.axis, (number,)) for shape, number in zip(outputs, made, strict=False))

    def inside(self, prefix: str) -> _Stack:
        """The same for cells inside a layer."""
        return replace(self, read=self.read.within(prefix), makes=tuple(make.within(prefix) for make in self.makes))


def _stack(cell: Any, prefix: str, given: tuple[int, ...] = (), carried: Sequence[Any] = (), part: str = "") -> _Stack:
    """Rules of a cell or of stacked ones.

    Args:
        cell: The cell.
        prefix: Of the names of its variables.
        given: Places of the inputs that hold states to begin with.
        carried: Variables in which states are carried from batch to batch.
        part: Name of the set of units that comes out.
    """
    cells, makes = _cells(cell), []
    stacked = type(cell) is keras.layers.StackedRNNCells
    owners = tuple(i for i, each in enumerate(cells) for _ in range(_STATES.get(type(each), 1)))
    axis = _unit_axis(cells[-1])
    prefixes = [f"{prefix}{each.name}/" if stacked else prefix for each in cells]
    read, *inner = [_consumed(each, name) for each, name in zip(cells, prefixes, strict=True)]
    for number, (each, name) in enumerate(zip(cells, prefixes, strict=True)):
        own = [place for place, owner in enumerate(owners) if owner == number]
        rules = _made(each, name) + (inner[number] if number < len(inner) else ())
        rules += tuple(_state(i, axis % len(carried[i].shape)) for i in own if i < len(carried))
        names = (part, each.name) if number < len(cells) - 1 else (part,)
        states = tuple(given[i] for i in own if i < len(given))
        makes.append(Make(int(_extent(each)), rules, "/".join(filter(None, names)), states, mixing_reason(each), axis))
    return _Stack(Read(0, axis, read), tuple(makes), owners, axis)


def _consumed(cell: Any, prefix: str) -> tuple[AxisRule, ...]:
    return (AxisRule(f"{prefix}kernel", len(cell.kernel.shape) - 2, "consume"),)


def _made(cell: Any, prefix: str) -> tuple[AxisRule, ...]:
    gates, last = Layout(tile=_GATES[type(cell)]), len(cell.kernel.shape) - 1
    size = "filters" if isinstance(cell, internals.CONV_LSTM_CELL) else "units"
    rules: tuple[AxisRule, ...] = (
        AxisRule(f"{prefix}kernel", last, "produce", gates),
        AxisRule(f"{prefix}recurrent_kernel", last, "produce", gates),
        AxisRule(f"{prefix}recurrent_kernel", last - 1, "consume", size=f"{prefix}{size}", tied_to="output"),
    )
    if cell.use_bias:
        rules += (AxisRule(f"{prefix}bias", len(cell.bias.shape) - 1, "carry", gates, tied_to="output"),)
    return rules


def _state(number: int, axis: int) -> AxisRule:
    return AxisRule(f"states/{number}", axis, "carry", tied_to="output")


def _extent(cell: Any) -> Any:
    return cell.filters if isinstance(cell, internals.CONV_LSTM_CELL) else cell.units


def _unit_axis(cell: Any) -> int:
    """Axis of a sequence, a step or a state along which units lie, from its end."""
    return -1 - cell.rank if internals.channels_first(cell) else -1
