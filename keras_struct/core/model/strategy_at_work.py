"""One strategy at work on a model: what it gets to see, and what is said of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.targets import TargetFinder, finder_of
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.policies.policy import check_state
from keras_struct.policies.strategy import checked_proposal, failed


class StrategyAtWork:
    """A strategy, what it works on in a model, and what it remembers.

    Attributes:
        strategy: The strategy.
        targets: Finds what it works on.
        state: What it remembers, once it has begun.

    Args:
        editor: Edits the model.
        strategy: The strategy.

    Raises:
        ValueError: If it has nothing to act on.
    """

    def __init__(self, editor: StructureEditor, strategy: Any) -> None:
        self.editor, self.observation, self.progress = editor, editor.observation, editor.progress
        self.strategy = strategy
        self.state: Mapping[str, Any] | None = None
        self._proposed_before = self._idle_said = False
        self._reconnections = editor.reconnections
        finder = finder_of(strategy)
        editor.live.follow_layers()
        self.targets: TargetFinder = finder(editor, strategy)
        strategy.check(self.targets.counts(), self.targets.locked())
        self.targets.begin()

    def limits(self) -> dict[str, int]:
        """Largest width of each axis under the strategy."""
        limits = {**self.strategy.limits(self.editor.initial_widths), **self.editor.limits()}
        seen = self.observation
        if seen.buffer is None or not self.strategy.needs_inputs:
            return limits
        acting = {axis for axis in self.targets.acting() if axis in limits}
        return {**limits, **{axis: min(limits[axis], seen.probe.widest(axis, seen.buffer.samples)) for axis in acting}}

    def samples_needed(self) -> int:
        """How many inputs must be kept for it."""
        if self.strategy.samples is not None:
            return int(self.strategy.samples)
        return self.observation.probe.samples_needed(self.targets.acting(), self.limits())

    def act(self, since: int) -> list[StructureEvent]:
        """Let the strategy measure and edit once. Returns the events."""
        self.editor.sync()
        self.targets.update()
        edits = self._proposed(since)
        events = self.editor.apply(edits, preserve=self.strategy.grows, reason=type(self.strategy).__name__)
        if events and (found := self._measure({event.axis for event in events})):
            self.state = self._tried(self.strategy.settle, found, self.state) or self.state
        return events

    def begin(self) -> None:
        """Measure the baseline, if inputs are there, before the first gradient step."""
        if self.state is None:
            self.targets.update()
            if (found := self._measure()) is not None:
                self._start(found)

    def end_epoch(self) -> None:
        """Warn, once, of axes on which the strategy cannot act as they are."""
        if self.state is None or self._idle_said:
            return
        self.editor.sync()
        if (found := self._measure()) is None:
            return
        if texts := self._tried(self.strategy.idle, found, self.state):
            self._idle_said = True
            self.observation.warn("idle", f"{_listed(type(self.strategy).__name__, texts)} This is said once.")

    def _proposed(self, since: int) -> list[Any]:
        """Edits that the strategy wants now."""
        measurements = self._measure()
        if measurements is None:
            return []
        self._start(measurements)
        if self.state is None:
            return []
        self._follow_layers(measurements)
        answer = self._tried(self.strategy.propose, self.progress.step, measurements, self.state, since)
        if answer is None:
            return []
        edits, state = checked_proposal(self.strategy, answer, first=not self._proposed_before)
        self._proposed_before, self.state = True, state
        return edits

    def _start(self, measurements: Mapping[str, Any]) -> None:
        """Let the strategy begin, and say what it has to say of what it begins with."""
        if self.state is not None:
            return
        state = self._tried(self.strategy.init, measurements)
        if state is None:
            return
        check_state(self.strategy, state, "to start from")
        self.state = state
        if texts := self.strategy.cautions(measurements, state):
            self.observation.warn("caution", _listed(type(self.strategy).__name__, texts))

    def _follow_layers(self, measurements: Mapping[str, Any]) -> None:
        """Let the strategy begin with what has come since, and forget what has gone."""
        if self._reconnections == (now := self.editor.reconnections):
            return
        self._reconnections = now
        if (fresh := self._tried(self.strategy.init, measurements)) is not None:
            self.state = _renewed(self.state, fresh, set(measurements))

    def _tried(self, function: Any, *args: Any) -> Any:
        """Call a part of the strategy; `None`, with one warning, if something cannot be measured."""
        try:
            return function(*args)
        except (MeasurementError, np.linalg.LinAlgError) as error:
            self.observation.warn("measuring failed", failed(self.strategy, error))
            return None

    def _measure(self, only: Collection[str] | None = None) -> Mapping[str, Any] | None:
        seen = self.observation
        needs_batch = self.strategy.needs_gradients and seen.gradient_batch is None
        if (self.strategy.needs_inputs and not seen.full) or needs_batch:
            return None
        return self.targets.measure(only, self.limits)


def _renewed(state: Any, fresh: Any, names: set[str]) -> Any:
    """A state with what a fresh one has for names that it does not know, and without names that there are no more."""
    if not isinstance(state, Mapping) or not isinstance(fresh, Mapping):
        return state
    if names & set(fresh):  # by the names of what is edited
        return {name: state.get(name, value) for name, value in fresh.items()}
    return {name: _renewed(value, fresh.get(name), names) for name, value in state.items()}


def _listed(strategy: str, texts: Mapping[str, str]) -> str:
    """What is said of axes; what is the same of several only once."""
    together: dict[str, list[str]] = {}
    for axis, text in texts.items():
        together.setdefault(text, []).append(f"'{axis}'")
    return " ".join(f"{strategy}, axis {', '.join(axes)}: {text}." for text, axes in together.items())
