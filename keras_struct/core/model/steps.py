"""Parts of what is edited at once, which can be taken back while the others are carried out, and undone afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.call_editor import CallChange
from keras_struct.core.structure.edits import Resize, Values
from keras_struct.core.structure.remap import NEW
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.commit import Commit
from keras_struct.core.surgery.edit_kinds import Request, kind_of
from keras_struct.core.surgery.plan import plan

if TYPE_CHECKING:
    from keras_struct.core.model.editor import StructureEditor


class Step(ABC):
    """A part of what is edited at once: edits of weights together, or one of the graph of calls.

    Attributes:
        stale: Whether compiled steps must be traced again.
        sizes: Of what each edit edits, before and afterwards.
    """

    stale: bool
    sizes: list[tuple[int, int]]

    @abstractmethod
    def take_back(self) -> None:
        """Make everything what it was, before others were told."""

    @abstractmethod
    def settle(self) -> None:
        """Tell others, once all parts have succeeded."""

    @abstractmethod
    def check_undo(self) -> None:
        """Raise a ValueError if it cannot be undone any more."""

    @abstractmethod
    def undo(self) -> None:
        """Take back what was settled: what has been trained since stays as far as it is not removed."""


class WeightStep(Step):
    """Edits of weights, carried out at once.

    Args:
        editor: Edits the model.
        edits: The edits.
        preserve: Refuse edits that cannot keep the function.

    Raises:
        ValueError: If an edit is not possible; everything is as it was.
    """

    def __init__(self, editor: StructureEditor, edits: Sequence[Any], preserve: bool) -> None:
        self._editor, self._edits = editor, edits
        kinds = [kind_of(edit) for edit in edits]
        network, whole = editor.network, editor.edited_network(edits)
        before = [kind.size(network, edit) for kind, edit in zip(kinds, edits, strict=True)]
        editor.warn_of_mixing(whole, edits, preserve)
        slots = [*editor.optimizer.live_slots(), *editor.live.holders.slots()]
        planned = plan(Request(whole, edits, slots, preserve, editor.new_slots, editor.limits(), network.graph))
        editor.live.holders.check(planned)
        resizings = [edit for edit in edits if isinstance(edit, Resize)] if whole is not network else []
        graph = network.graph.edited(*resizings)[0] if resizings else network.graph
        self._network, self._whole, self._plan, self._graph = network, whole, planned, network.graph
        self._commit, self._added = Commit(whole, planned), planned.added_parameters(editor.weights)
        if whole is not network:
            network.graph = graph
        editor.parameters += self._added
        self.stale = self._commit.stale
        after = [kind.size(network, edit) for kind, edit in zip(kinds, edits, strict=True)]
        self.sizes = list(zip(before, after, strict=True))

    def take_back(self) -> None:
        """Make everything what it was."""
        self._commit.take_back()
        self._network.graph = self._graph
        self._editor.parameters -= self._added

    def settle(self) -> None:
        """Tell compiled functions and other structural models."""
        self._commit.settle()
        self._tell()

    def check_undo(self) -> None:
        """Raise unless nothing was trained since, or only units were edited."""
        if self._network is not self._editor.network:
            return  # layers came or went in a later part, which is undone first
        if not self._is_as_left() and not all(isinstance(edit, Resize) for edit in self._edits):
            kinds = sorted({type(edit).__name__ for edit in self._edits if not isinstance(edit, Resize)})
            raise ValueError(
                f"Cannot undo an edit of kind {', '.join(kinds)} after the weights have changed: expected weights as the edit "
                "left them. Edit the layers back by hand, or load weights of before."
            )

    def undo(self) -> None:
        """Take it back exactly if nothing has changed since; else let units come and go back, with what they had."""
        if self._is_as_left():
            self._commit.undo()
            self._network.graph = self._graph
            self._editor.parameters -= self._added
            self._tell()
        else:
            self._go_back()

    def _is_as_left(self) -> bool:
        values = current().read_all([write.variable for write in self._plan.writes])
        return all(np.array_equal(value, write.after) for value, write in zip(values, self._plan.writes, strict=True))

    def _go_back(self) -> None:
        edits = [self._reversed(edit) for edit in self._edits]
        step = WeightStep(self._editor, edits, preserve=False)
        step.settle()
        before = {id(write.variable): write.before for write in self._plan.writes}
        for edit in edits:
            for port in self._ports(edit):
                weight = internals.own_variables(self._whole.layers[port.layer])[port.variable]
                place = (slice(None),) * port.axis + (self._places(port, edit),)
                for slot in (
                    slot for slot in self._slots() if slot.reference is weight and id(slot.variable) in before
                ):
                    value = np.array(current().read(slot.variable))
                    value[place] = before[id(slot.variable)][place]
                    current().write(slot.variable, value)

    def _slots(self) -> list[Any]:
        return [*self._editor.optimizer.live_slots(), *self._editor.live.holders.slots()]

    def _reversed(self, edit: Resize) -> Resize:
        """The edit that brings back the units that were removed, with the weights that they had, and removes those that came."""
        children: dict[int, int] = {}
        for place, ancestor in enumerate(edit.source):
            children.setdefault(ancestor, place)
        source = tuple(children.get(unit, NEW) for unit in range(self._graph.units[edit.axis].width))
        back = Resize(edit.axis, source)
        values = {}
        for port in self._ports(back):
            held = next(w.before for w in self._plan.writes if w.variable is self._variable(port))
            values[f"{port.key}/{port.axis}"] = np.take(held, np.flatnonzero(self._places(port, back)), axis=port.axis)
        return Resize(edit.axis, source, Values(values))

    def _variable(self, port: Port) -> Any:
        return internals.own_variables(self._whole.layers[port.layer])[port.variable]

    def _ports(self, edit: Resize) -> list[Port]:
        """Axes of variables along which units of the edit come back."""
        written = {id(write.variable) for write in self._plan.writes}
        ports = (port for port in self._graph.ports(edit.axis) if id(self._variable(port)) in written)
        return [port for port in ports if self._places(port, edit).any()]

    def _places(self, port: Port, edit: Resize) -> np.ndarray:
        """Which positions along an axis of a variable belong to units that come back."""
        units = self._graph.unit_along(port, edit.axis)
        return (units >= 0) & (np.asarray(edit.source) == NEW)[np.maximum(units, 0)]

    def _tell(self) -> None:
        written = {id(write.variable) for write in self._plan.writes}
        for other in self._editor.others(written):
            other.live.outdate(reconfigured=self._plan.stale)
        current().after_edit(self._editor.model, self._network.layers.values())


class CallStep(Step):
    """One edit of the graph of calls.

    Args:
        editor: Edits the model.
        edit: The edit.
        kind: How it is carried out.

    Raises:
        ValueError: If it is not possible; everything is as it was.
    """

    stale = True

    def __init__(self, editor: StructureEditor, edit: Any, kind: Any) -> None:
        self._editor, self._network, self._initial = editor, editor.network, dict(editor.initial_widths)
        self._change = CallChange(editor.model, kind, edit)
        editor.live.replace(self._change.network)
        self.sizes = [(kind.size(self._network, edit), kind.size(self._change.network, edit))]

    def take_back(self) -> None:
        """Make everything what it was."""
        self._change.take_back()
        self._editor.live.replace(self._network)
        self._editor.initial_widths = self._initial

    def settle(self) -> None:
        """Tell compiled functions, the optimizer and other structural models."""
        self._change.graph.seal()
        self._tell(self._network, self._change.network)

    def check_undo(self) -> None:
        """Raise if layers of the edit were connected to other models since."""
        self._change.graph.check_sealed()

    def undo(self) -> None:
        """Call the layers as before; their weights, and the optimizer's state of them, are what they are now."""
        self.take_back()
        self._tell(self._change.network, self._network)

    def _tell(self, before: Any, after: Any) -> None:
        editor, held = self._editor, set(map(id, before.variables()))
        editor.reconnections += 1
        current().retire((), (), before.variables())
        editor.optimizer.follow()
        current().after_edit(editor.model, after.layers.values())
        for other in editor.others(held):
            other.live.outdate(reconnected=True)
