"""Structural edits of one model: planned, carried out at once, and logged."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from math import nan
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current, holders, keras_internals
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.model.observation import Observation
from keras_struct.core.model.optimizer_link import OptimizerLink
from keras_struct.core.model.progress import TrainingProgress
from keras_struct.core.model.steps import CallStep, Step, WeightStep
from keras_struct.core.structure.capabilities import LimitsFilters, LimitsUnits
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.events import StructureEvent, StructureLog
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.surgery.call_edits import CallEditKind
from keras_struct.core.surgery.edit_kinds import EditKind, NewSlots, kind_of
from keras_struct.core.surgery.trace import Network

CHANGE_SAMPLES = 32
"""On how many inputs the change of the outputs is measured."""

_all: weakref.WeakSet[StructureEditor] = weakref.WeakSet()


class StructureEditor:
    """Plans and carries out structural edits on one Keras model.

    Attributes:
        live: The network of the model.
        optimizer: Its optimizer.
        log: Every edit so far, oldest first.
        initial_widths: Widths of all axes before the first edit.
        new_slots: What optimizer slots hold for new units, `"initial"` or `"mean"`.
        parameters: Number of weights of the model.
        weights: `id`s of its weights.
        retraces: How often an edit made compiled steps be traced again.
        version: A number that changes with every edit.
        reconnections: How often layers have come or gone.

    Args:
        live: The network of the model.
        observation: Has inputs on which the change of the outputs is measured.
        progress: How far the model has been trained.
    """

    def __init__(self, live: LiveNetwork, observation: Observation, progress: TrainingProgress) -> None:
        self.live, self.observation, self.progress = live, observation, progress
        self.optimizer = OptimizerLink(live, self._variables_replaced)
        self.log = StructureLog()
        self.initial_widths = dict(live.graph.axes)
        self.new_slots: NewSlots = "initial"
        self.retraces = self.version = self.reconnections = 0
        self._silent = False
        self._steps: list[Step] = []
        self._count_again()
        live.read_again += [self._count_again, self.forget_steps]
        _all.add(self)

    @property
    def model(self) -> Any:
        """The model."""
        return self.live.model

    @property
    def network(self) -> Network:
        """The model as a graph of units."""
        return self.live.network

    @property
    def graph(self) -> StructureGraph:
        """The structure as it is."""
        return self.live.network.graph

    def limits(self) -> dict[str, int]:
        """Largest width of each axis, from the layers that produce it."""
        limits = {path: layer.max_filters for path, layer in self.network.having(LimitsFilters).items()}
        limits |= {path: layer.max_units for path, layer in self.network.having(LimitsUnits).items()}
        found: dict[str, int] = {}
        for name, axis in self.graph.units.items():
            for limit in (limits.get(layer) for layer, _ in axis.producers):
                if limit is not None:
                    found[name] = min(limit, found.get(name, limit))
        return found

    def apply(self, edits: Sequence[Any], preserve: bool = True, reason: str = "requested") -> list[StructureEvent]:
        """Plan and carry out edits, all or nothing, and log them.

        Edits of different axes and layers that stand beside each other are carried out at once. One that changes which layers
        are called comes after those in front of it and before those behind it.

        Raises:
            TypeError: If something is no edit.
            ValueError: If an edit is not possible; model and optimizer are as they were.
        """
        kinds = [kind_of(edit) for edit in edits]
        if not edits:
            return []
        self.live.follow_layers()
        self.live.compare()
        self.sync()
        sample = None if self._silent else self.observation.sample(CHANGE_SAMPLES)
        outputs = None if sample is None else self._outputs(sample)
        start = time.perf_counter()
        steps = self._carry_out(edits, kinds, preserve)
        stale = any(step.stale for step in steps)
        seconds = time.perf_counter() - start
        facts = {
            "step": self.progress.step,
            "parameters": self.parameters,
            "seconds": seconds / len(edits),
            "change": nan if outputs is None else _relative_change(outputs, self._outputs(sample)),
            "retraced": stale,
        }
        sizes = [size for step in steps for size in step.sizes]
        events = [self._event(edit, size, reason, facts) for edit, size in zip(edits, sizes, strict=True)]
        if not self._silent:
            self.log.extend(events)
        return events

    @contextmanager
    def silently(self) -> Iterator[None]:
        """Edit without logging it or measuring what it does to the outputs: the weights are those of elsewhere soon."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def sync(self) -> None:
        """Bring the values that a running `fit` holds back into the variables."""
        current().before_edit(self.model)
        self.live.holders.before_edit()

    def undo(self) -> list[StructureEvent]:
        """Take back what was edited last, all edits that were carried out at once, and log that.

        Raises:
            ValueError: If nothing can be undone; everything is as it was.
        """
        self.live.compare()
        self.sync()
        if not self._steps:
            raise ValueError(
                "There is no edit to undo: only what was edited last can be taken back, once, and not after compile, or after "
                "weights of another structure were loaded."
            )
        for step in self._steps:
            step.check_undo()
        start, steps, self._steps = time.perf_counter(), self._steps, []
        for step in reversed(steps):
            step.undo()
        if any(step.stale for step in steps):
            self._replaced()
        self.version += 1
        last, seconds = self.log[-sum(len(step.sizes) for step in steps) :], time.perf_counter() - start
        undone = [
            replace(
                e,
                step=self.progress.step,
                before=e.after,
                after=e.before,
                reason=f"undo: {e.reason}",
                source=(),
                change=nan,
            )
            for e in reversed(last)
        ]
        events = [replace(e, parameters=self.parameters, seconds=seconds / len(undone)) for e in undone]
        self.log.extend(events)
        return events

    def begin(self, new_slots: NewSlots) -> None:
        """Begin with an optimizer that the model was compiled with.

        Args:
            new_slots: What its slots hold for new units.

        Raises:
            ValueError: If its state cannot follow the structure.
        """
        self.new_slots = new_slots
        self.forget_steps()
        self.optimizer.follow()

    def forget_steps(self) -> None:
        """Let nothing that was edited so far be undone."""
        self._steps = []

    def _carry_out(self, edits: Sequence[Any], kinds: Sequence[EditKind[Any]], preserve: bool) -> list[Step]:
        """Carry out edits in their order, those of weights beside each other at once."""
        steps: list[Step] = []
        pairs = list(zip(edits, kinds, strict=True))
        try:
            for of_calls, group in groupby(pairs, lambda pair: isinstance(pair[1], CallEditKind)):
                if of_calls:
                    steps += (CallStep(self, edit, kind) for edit, kind in group)
                else:
                    steps.append(WeightStep(self, [edit for edit, _ in group], preserve))
        except BaseException:
            for step in reversed(steps):
                step.take_back()
            raise
        for step in steps:
            step.settle()
        if any(step.stale for step in steps):
            self._replaced()
        self.version += 1
        self._steps = [] if self._silent else steps
        return steps

    def _replaced(self) -> None:
        self._variables_replaced()
        self.retraces += 1

    def others(self, variables: Collection[int]) -> list[StructureEditor]:
        """Editors of other structural models that hold some of the variables with these `id`s."""
        return [other for other in _all if other is not self and other.live.holders.share(set(variables))]

    def edited_network(self, edits: Sequence[Any]) -> Network:
        """The network with the layers around it, where they follow the edits."""
        if all(kind_of(edit).follows_surroundings for edit in edits):
            return self.live.whole()
        self.live.forget_surroundings()
        return self.network

    def _event(self, edit: Any, size: tuple[int, int], reason: str, facts: Mapping[str, Any]) -> StructureEvent:
        kind, (before, after) = kind_of(edit), size
        name, detail = kind.name(edit), kind.detail(edit)
        reason = f"{reason}: {detail}" if detail else reason
        source = kind.source(edit)
        return StructureEvent(
            axis=name, before=before, after=after, reason=reason, source=source, edit=type(edit).__name__, **facts
        )

    def warn_of_mixing(self, whole: Network, edits: Sequence[Any], preserve: bool) -> None:
        """Warn of layers around the model that mix units, so that what they compute changes."""
        if not preserve or whole is self.network:
            return
        for axis in (e.axis for e in edits if isinstance(e, Resize) and e.axis in whole.graph.axes):
            reason = whole.graph.units[axis].mixes
            if reason is not None and self.graph.units[axis].mixes is None:
                self.observation.warn(
                    f"mixed around: {axis}",
                    f"A layer outside of '{self.model.name}' reads axis '{axis}' and changes what it computes when units come or "
                    f"go: {reason}. Train it on, or edit the network through a StructuralModel that holds it, too.",
                )

    def _variables_replaced(self) -> None:
        """Let all who compiled something with the variables compile it again."""
        if (optimizer := self.optimizer.optimizer) is not None:
            keras_internals.rekey_optimizer(optimizer)
        keras_internals.forget_compiled_functions(self.model)
        self.observation.forget_compiled()
        self.live.holders.variables_replaced()

    def _count_again(self) -> None:
        self.parameters = self.model.count_params()
        self.weights = frozenset(map(id, self.model.weights))
        self.initial_widths = {
            axis: self.initial_widths.get(axis, width) for axis, width in self.live.graph.axes.items()
        }
        self.version += 1

    def _outputs(self, sample: Any) -> list[np.ndarray]:
        outputs = self.observation.probe.outputs(sample)
        return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]


def _follow_surroundings(model: Any) -> None:
    """Before a model is trained or run: its layers may be around a structural model."""
    ids = {id(variable) for variable in model.variables} if model.built else set()
    for editor in list(_all) if ids else ():
        if editor.model is not model and editor.live.holders.share(ids):
            editor.optimizer.follow_surroundings()


holders.before_functions.append(_follow_surroundings)


def _relative_change(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    pairs = list(zip(before, after, strict=True))
    largest = max(float(np.abs(b).max(initial=0.0)) for b, _ in pairs)
    return max(float(np.abs(a - b).max(initial=0.0)) for b, a in pairs) / max(largest, 1e-30)
