"""What of a structure and of training is saved, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from keras_struct.core.backend import keras_internals
from keras_struct.core.model.aspects import StructureAspect, aspects
from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.runner import StrategyRunner
from keras_struct.core.structure.events import StructureLog


class StructureCheckpoint:
    """Saves the structure of a model and the state of its strategy, and restores both.

    Attributes:
        follows_outer: Whether a model around this one brings its structure in line when weights are loaded.

    Args:
        editor: Edits the model.
        runner: Runs its strategy.
    """

    def __init__(self, editor: StructureEditor, runner: StrategyRunner) -> None:
        self._editor, self._runner, self._progress = editor, runner, editor.progress
        self.follows_outer = False

    def state(self) -> dict[str, Any]:
        """Return what must survive saving, as JSON can hold it."""
        editor, runner = self._editor, self._runner
        return {
            "step": self._progress.step,
            **self.structure(),
            "initial_widths": editor.initial_widths,
            "policy_state": runner.policy_state,
            "log": editor.log.records(),
            "retraces": editor.retraces,
            "unchanged_evaluations": runner.unchanged_evaluations,
        }

    def structure(self) -> dict[str, Any]:
        """Return what the structure consists of, as JSON can hold it."""
        return {aspect.name: aspect.read(self._editor.live) for aspect in aspects()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; the structure must be right already."""
        editor = self._editor
        self._progress.step = int(state["step"])
        self._runner.restore(state["policy_state"], int(state.get("unchanged_evaluations", 0)))
        editor.initial_widths, editor.retraces = dict(state["initial_widths"]), int(state["retraces"])
        editor.log = StructureLog.from_records(state["log"])
        editor.version += 1

    def resume(self, epoch: int, batches: int) -> None:
        """Go on in the middle of an epoch: the train function leaves out what was trained on before."""
        model, progress = self._editor.model, self._progress
        progress.epoch, progress.skip = epoch, ceil(batches / model.steps_per_execution)
        keras_internals.start_at_epoch(model, epoch)

    def match(self, state: Mapping[str, Any]) -> None:
        """Give the model the structure that weights from elsewhere have; their values are set by the caller.

        Args:
            state: What `state` returned for them.
        """
        for aspect in aspects():
            wanted = _by_own_names(state.get(aspect.name, {}), aspect.read(self._editor.live))
            self._make(aspect, wanted)

    def match_weights(self, arrays: Sequence[Any]) -> None:
        """Give the model the structure of a list of weights in the order of `model.weights`."""
        weights = self._editor.model.weights
        if len(arrays) != len(weights):
            return
        held = {id(weight): array for weight, array in zip(weights, arrays, strict=True)}
        for aspect in reversed(aspects()):  # what layers are comes before how wide they are
            self._make(aspect, aspect.in_weights(self._editor.live, held))

    def _make(self, aspect: StructureAspect, wanted: Mapping[str, Any]) -> None:
        with self._editor.silently():
            for edits in aspect.edits(self._editor.live, wanted):
                self._editor.apply(edits, preserve=False)


def _by_own_names(found: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file says of layers, by their names here: Keras names layers again in each model, and keeps their order."""
    if set(found) == set(own) or len(found) != len(own):
        return found
    return dict(zip(own, found.values(), strict=True))
