"""How the strategies of a model are run: when they are asked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.probe_check import checked_probe
from keras_struct.core.model.strategy_at_work import StrategyAtWork
from keras_struct.core.structure.events import StructureEvent
from keras_struct.measure.probes.buffer import InputBuffer
from keras_struct.policies.policy import Policy
from keras_struct.policies.strategy import Strategy
from keras_struct.policies.together import Together


class StrategyRunner:
    """Runs the strategy of a model: measures, lets it propose, and has its edits carried out.

    Attributes:
        strategy: The strategy, or `None`.
        parts: The strategies that it consists of, at work; none without a strategy.
        unchanged_evaluations: How often in a row it changed nothing.

    Args:
        editor: Edits the model.
    """

    def __init__(self, editor: StructureEditor) -> None:
        self.editor, self.observation, self.progress = editor, editor.observation, editor.progress
        self.strategy: Any = None
        self.parts: list[StrategyAtWork] = []
        self.unchanged_evaluations = 0
        self._asked = 0
        self._halted = False

    @property
    def targets(self) -> Any:
        """Finds what the strategy works on; `None` without one."""
        return self.parts[0].targets if self.parts else None

    @property
    def policy_state(self) -> Mapping[str, Any] | None:
        """What the strategy remembers, once it has begun; that of several by their number."""
        if isinstance(self.strategy, Together):
            states = {str(number): part.state for number, part in enumerate(self.parts)}
            return None if all(state is None for state in states.values()) else states
        return self.parts[0].state if self.parts else None

    def measured(self, axis: str) -> Any:
        """Measure one axis, also in the middle of a running `fit`."""
        self.editor.sync()
        return self.observation.measure([axis], self.editor.limits(), self.editor.initial_widths)[axis]

    def metrics(self) -> dict[str, int]:
        """Numbers that are shown beside the metrics of training."""
        return {name: number for part in self.parts for name, number in part.targets.metrics().items()}

    def use_strategy(self, strategy: Any, probe: Any = None, targets: Any = None) -> None:
        """Take a strategy, and what it is to measure on: arrays, a number of recent inputs, or what it needs.

        Raises:
            ValueError: If it has nothing to act on, or the probe does not suffice for it.
            TypeError: If it is no strategy.
        """
        _check_strategy(strategy)
        self.strategy, self.unchanged_evaluations = strategy, 0
        self.observation.reset(keeps_targets=strategy is not None and strategy.needs_gradients)
        held = strategy.strategies if isinstance(strategy, Together) else () if strategy is None else (strategy,)
        self.parts = [StrategyAtWork(self.editor, each) for each in held]
        self._take_probe(probe, targets)
        if self.observation.keeps_targets:
            self.observation.check_loss()

    def restore(self, state: dict[str, Any] | None, unchanged_evaluations: int) -> None:
        """Go on with a state from elsewhere, at the step that was reached."""
        if isinstance(self.strategy, Together):
            for number, part in enumerate(self.parts):
                part.state = (state or {}).get(str(number))
        elif self.parts:
            self.parts[0].state = state
        self.unchanged_evaluations = unchanged_evaluations
        self._asked = self.progress.step

    def _take_probe(self, probe: Any, probe_targets: Any) -> None:
        """Take what to measure on."""
        seen, looking = self.observation, [part for part in self.parts if part.strategy.needs_inputs]
        if isinstance(probe, int):
            seen.buffer = InputBuffer(probe)
            for part in looking:
                seen.check_buffer(part.targets.acting())
        elif probe is not None:
            seen.fixed_inputs, seen.fixed_targets = checked_probe(self.editor.model, probe, probe_targets)
            for part in self.parts:
                part.targets.check_probe(keras.tree.flatten(seen.fixed_inputs)[0].shape[0], part.limits)
        elif looking:
            seen.buffer = InputBuffer(max(part.samples_needed() for part in looking))
        elif self.parts and not seen.keeps_targets and seen.takes_any_size:
            seen.buffer = InputBuffer(1)  # what operations are counted for

    def structural_step(self, logs: Mapping[str, Any] | None = None) -> list[StructureEvent]:
        """Let the strategies that are due measure and edit once, one after the other. Returns the events."""
        self.observation.remembers_batch = False
        step = self.progress.step
        since, self._asked = min(self._asked, step - 1), step
        due = [] if self._halted else [part for part in self.parts if part.strategy.due(step, since)]
        if not due or self._loss_is_broken(logs):
            return []
        events = [event for part in due for event in part.act(since)]
        self.unchanged_evaluations = 0 if events else self.unchanged_evaluations + 1
        return events

    def begin(self) -> None:
        """Measure the baseline, if inputs are there, before the first gradient step."""
        for part in self.parts:
            part.begin()

    def end_epoch(self) -> None:
        """Warn, once, of axes on which the strategy cannot act as they are."""
        for part in [] if self._halted else self.parts:
            part.end_epoch()

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
