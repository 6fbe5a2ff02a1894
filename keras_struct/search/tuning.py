"""What tuners of searches share: they resume from any moment, wait patiently, and keep the state of each trial."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import keras_tuner as kt

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0


@runtime_checkable
class HasSignature(Protocol):
    """A hypermodel that says which search it is, so that a project is not resumed by another."""

    def signature(self) -> Any:
        """Return it, as JSON can hold it."""


@runtime_checkable
class Resumable(Protocol):
    """A hypermodel that may resume a trial.

    Attributes:
        resumes: Whether its `fit` takes `backup`, a folder to resume from.
    """

    resumes: bool


class ResumableOracle(kt.Oracle):
    """An oracle whose state on disk is whole at any moment.

    KerasTuner writes it in place, and in distributed mode before a finished trial has left the list of running ones.
    """

    def save(self):
        """Write the state beside, then put it in place."""
        path = Path(self._get_oracle_fname())
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        _write_state(self, temporary)
        os.replace(temporary, path)

    def reload(self):
        """Read the state, trials in the order of their numbers."""
        super().reload()
        self.trials: dict[str, Any] = dict(sorted(self.trials.items()))

    def end_trial(self, trial):
        """Take the results of a trial."""
        super().end_trial(trial)
        self.save()


def _write_state(oracle: kt.Oracle, path: Path) -> None:
    path.write_text(json.dumps(oracle.get_state()))


class NASTuner(kt.Tuner):
    """Base of tuners whose trials are searches.

    Other than `keras_tuner.Tuner`, it can be resumed under any name and in its first trial, does not build a network before it is
    needed, waits longer and longer for a busy oracle, needs no TensorBoard, and gives each trial a folder to resume from.

    Args:
        oracle: Says what each trial tries.
        hypermodel: Builds and trains.
        **kwargs: As `keras_tuner.Tuner`.

    Raises:
        ValueError: If the project folder belongs to another search.
    """

    def __init__(self, oracle, hypermodel=None, **kwargs):
        self._waits = 0
        super().__init__(oracle, hypermodel, **kwargs)
        if not self._is_worker():
            self.save()

    def _get_tuner_fname(self):
        return str(Path(self.project_dir) / "tuner.json")

    def get_state(self):
        """Return what the project belongs to."""
        return {"search": type(self).__name__, "oracle": type(self._own_oracle()).__name__, "space": self._signature()}

    def set_state(self, state):
        """Compare what the project belongs to."""
        own = self.get_state()
        if state and state != own:
            raise ValueError(
                f"The folder '{self.project_dir}' belongs to another search, {state}; this one is {own}. Give another "
                "`project_name`, or overwrite=True to delete what is there."
            )

    def _own_oracle(self) -> Any:
        return getattr(self.oracle, "_oracle", self.oracle)

    def _signature(self) -> Any:
        return self.hypermodel.signature() if isinstance(self.hypermodel, HasSignature) else None

    def save(self):
        """Write the state of oracle and tuner, each whole."""
        if not self._is_worker():
            self.oracle.save()
            path = Path(self._get_tuner_fname())
            temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self.get_state()))
            os.replace(temporary, path)

    def _populate_initial_space(self):
        """Ask for hyperparameters without building anything."""
        if self.hypermodel is not None:
            space = self.oracle.get_space()
            self.hypermodel.declare_hyperparameters(space)
            self.oracle.update_space(space)

    def _configure_tensorboard_dir(self, callbacks, trial, execution=0):
        if any(type(callback).__name__ == "TensorBoard" for callback in callbacks):
            super()._configure_tensorboard_dir(callbacks, trial, execution)

    def pre_create_trial(self):
        """Wait before the oracle is asked again."""
        if self._waits:
            time.sleep(min(_FIRST_WAIT * 1.5 ** (self._waits - 1), _LONGEST_WAIT))
        self._waits += 1

    def on_trial_begin(self, trial):
        """Start a trial."""
        self._waits = 0
        super().on_trial_begin(trial)

    def run_trial(self, trial, *args, **kwargs):
        """Run a trial, which can be resumed from its own folder."""
        if isinstance(self.hypermodel, Resumable) and self.hypermodel.resumes:
            kwargs.setdefault("backup", str(Path(self.get_trial_dir(trial.trial_id)) / "backup"))
        return super().run_trial(trial, *args, **kwargs)
