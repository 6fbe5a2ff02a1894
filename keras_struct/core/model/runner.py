"""How a strategy is run on a model: when it is asked, what it gets to see, and what is said of it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np

from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.probe_check import checked_probe
from keras_struct.core.model.targets import TargetFinder, finder_of
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.probes.buffer import InputBuffer
from keras_struct.policies.policy import Policy, check_state
from keras_struct.policies.strategy import Strategy, checked_proposal, failed


class StrategyRunner:
    """Runs the strategy of a model: measures, lets it propose, and has its edits carried out.

    Attributes:
        strategy: The strategy, or `None`.
        targets: Finds what it works on; `None` without a strategy.
        policy_state: What it remembers, once it has begun.
        unchanged_evaluations: How often in a row it changed nothing.

    Args:
        editor: Edits the model.
    """

    def __init__(self, editor: StructureEditor) -> None:
        self.editor, self.observation, self.progress = editor, editor.observation, editor.progress
        self.strategy: Any = None
        self.targets: Any = None
        self.policy_state: Mapping[str, Any] | None = None
        self.unchanged_evaluations = 0
        self._asked = 0
        self._halted = self._proposed_before = self._idle_said = False

    def measured(self, axis: str) -> Any:
        """Measure one axis, also in the middle of a running `fit`."""
        self.editor.sync()
        return self.observation.measure([axis], self.editor.limits(), self.editor.initial_widths)[axis]

    def use_strategy(self, strategy: Any, probe: Any = None, targets: Any = None) -> None:
        """Take a strategy, and what it is to measure on: arrays, a number of recent inputs, or what it needs.

        Raises:
            ValueError: If it has nothing to act on, or the probe does not suffice for it.
            TypeError: If it is no strategy.
        """
        _check_strategy(strategy)
        finder = None if strategy is None else finder_of(strategy)
        self.strategy, self.policy_state, self.unchanged_evaluations = strategy, None, 0
        self._proposed_before = self._idle_said = False
        self.observation.reset(keeps_targets=strategy is not None and strategy.needs_gradients)
        self.targets = None if finder is None else self._begin_targets(finder)
        self._take_probe(probe, targets)
        if self.observation.keeps_targets:
            self.observation.check_loss()

    def restore(self, state: dict[str, Any] | None, unchanged_evaluations: int) -> None:
        """Go on with a state from elsewhere, at the step that was reached."""
        self.policy_state, self.unchanged_evaluations = state, unchanged_evaluations
        self._asked = self.progress.step

    def _begin_targets(self, finder: type[TargetFinder]) -> TargetFinder:
        self.editor.live.follow_layers()
        found = finder(self.editor, self.strategy)
        self.strategy.check(found.counts(), found.locked())
        found.begin()
        return found

    def _take_probe(self, probe: Any, probe_targets: Any) -> None:
        """Take what to measure on."""
        seen, strategy, targets = self.observation, self.strategy, self.targets
        if isinstance(probe, int):
            seen.buffer = InputBuffer(probe)
            if targets is not None and strategy.needs_inputs:
                seen.check_buffer(targets.acting())
        elif probe is not None:
            seen.fixed_inputs, seen.fixed_targets = checked_probe(self.editor.model, probe, probe_targets)
            if targets is not None:
                targets.check_probe(keras.tree.flatten(seen.fixed_inputs)[0].shape[0], self.strategy_limits)
        elif targets is not None and strategy.needs_inputs:
            samples = strategy.samples
            if samples is None:
                samples = seen.probe.samples_needed(targets.acting(), self.strategy_limits())
            seen.buffer = InputBuffer(samples)
        elif strategy is not None and not seen.keeps_targets and seen.takes_any_size:
            seen.buffer = InputBuffer(1)  # what operations are counted for

    def structural_step(self, logs: Mapping[str, Any] | None = None) -> list[StructureEvent]:
        """Let the strategy measure and edit once. Returns the events."""
        self.observation.remembers_batch = False
        step = self.progress.step
        since, self._asked = min(self._asked, step - 1), step
        if self.strategy is None or self._halted or not self.strategy.due(step, since):
            return []
        if self._loss_is_broken(logs):
            return []
        self.editor.sync()
        self.targets.update()
        edits = self._proposed(since)
        events = self.editor.apply(edits, preserve=self.strategy.grows, reason=type(self.strategy).__name__)
        self.unchanged_evaluations = 0 if events else self.unchanged_evaluations + 1
        if events and (found := self._measure({event.axis for event in events})):
            self.policy_state = self._tried(self.strategy.settle, found, self.policy_state) or self.policy_state
        return events

    def _proposed(self, since: int) -> list[Any]:
        """Edits that the strategy wants now."""
        measurements = self._measure()
        if measurements is None:
            return []
        self._start(measurements)
        if self.policy_state is None:
            return []
        answer = self._tried(self.strategy.propose, self.progress.step, measurements, self.policy_state, since)
        if answer is None:
            return []
        edits, state = checked_proposal(self.strategy, answer, first=not self._proposed_before)
        self._proposed_before, self.policy_state = True, state
        return edits

    def _start(self, measurements: Mapping[str, Any]) -> None:
        """Let the strategy begin, and say what it has to say of what it begins with."""
        if self.policy_state is not None:
            return
        state = self._tried(self.strategy.init, measurements)
        if state is None:
            return
        check_state(self.strategy, state, "to start from")
        self.policy_state = state
        if texts := self.strategy.cautions(measurements, state):
            self.observation.warn("caution", _listed(type(self.strategy).__name__, texts))

    def _tried(self, function: Any, *args: Any) -> Any:
        """Call a part of the strategy; `None`, with one warning, if something cannot be measured."""
        try:
            return function(*args)
        except (MeasurementError, np.linalg.LinAlgError) as error:
            self.observation.warn("measuring failed", failed(self.strategy, error))
            return None

    def begin(self) -> None:
        """Measure the baseline, if inputs are there, before the first gradient step."""
        if self.strategy is not None and self.policy_state is None:
            self.targets.update()
            if (found := self._measure()) is not None:
                self._start(found)

    def end_epoch(self) -> None:
        """Warn, once, of axes on which the strategy cannot act as they are."""
        if self.strategy is None or self.policy_state is None or self._halted or self._idle_said:
            return
        self.editor.sync()
        if (found := self._measure()) is None:
            return
        if texts := self._tried(self.strategy.idle, found, self.policy_state):
            self._idle_said = True
            self.observation.warn("idle", f"{_listed(type(self.strategy).__name__, texts)} This is said once.")

    def _measure(self, only: Collection[str] | None = None) -> Mapping[str, Any] | None:
        seen = self.observation
        if (self.strategy.needs_inputs and not seen.full) or (seen.keeps_targets and seen.gradient_batch is None):
            return None
        return self.targets.measure(only, self.strategy_limits)

    def strategy_limits(self) -> dict[str, int]:
        """Largest width of each axis under the strategy."""
        limits = {**self.strategy.limits(self.editor.initial_widths), **self.editor.limits()}
        seen = self.observation
        if seen.buffer is None or not self.strategy.needs_inputs:
            return limits
        acting = {axis for axis in self.targets.acting() if axis in limits}
        return {**limits, **{axis: min(limits[axis], seen.probe.widest(axis, seen.buffer.samples)) for axis in acting}}

    def _loss_is_broken(self, logs: Mapping[str, Any] | None) -> bool:
        loss = (logs or {}).get("loss")
        if loss is None or np.isfinite(float(loss)):
            return False
        self._halted = True
        warnings.warn(
            f"The loss is {float(loss)} at step {self.progress.step}: training goes on, but the structure stays as it is from "
            "now on. Lower the learning rate, or check the data for NaN.",
            stacklevel=2,
        )
        return True


def _listed(strategy: str, texts: Mapping[str, str]) -> str:
    """What is said of axes; what is the same of several only once."""
    together: dict[str, list[str]] = {}
    for axis, text in texts.items():
        together.setdefault(text, []).append(f"'{axis}'")
    return " ".join(f"{strategy}, axis {', '.join(axes)}: {text}." for text, axes in together.items())


def _check_strategy(strategy: Any) -> None:
    if strategy is None:
        return
    if isinstance(strategy, Strategy):
        missing = [name for name in ("due", "propose") if getattr(type(strategy), name) is getattr(Strategy, name)]
        if missing:
            raise TypeError(
                f"Strategy {type(strategy).__name__} lacks {' and '.join(missing)}: `due(step, since)` says whether to look now, "
                "`propose(step, measurements, state, since)` returns edits and the new state."
            )
        return
    hint = f"{strategy.__name__}()" if isinstance(strategy, type) else "keras_struct.strategies.NorthSelect()"
    two = (
        " To grow and prune, put two together: GrowAndPrune(grow, prune)." if isinstance(strategy, list | tuple) else ""
    )
    own = " One of your own is a subclass of keras_struct.strategies.Strategy." if isinstance(strategy, Policy) else ""
    raise TypeError(f"`strategy` must be a strategy, such as {hint}. Received: {strategy!r}.{two}{own}")
