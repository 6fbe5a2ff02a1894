"""Searches by gradient descent as trials of KerasTuner: one trial is a whole search."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np

from keras_struct.search.batches import divided
from keras_struct.search.tuning import NASTuner, ResumableOracle

RECORD = "record.json"
FOUND = "found/"
"""Names of what a search found begin so: values of a trial that are no hyperparameters."""


class OneShotHyperModel(kt.HyperModel):
    """A space of architectures that is searched by gradient descent, in one trial.

    Works with any tuner: `build` gives the network to search in, `fit` searches, then trains what was found, and from then on
    `build` with the hyperparameters of that trial gives the network that was found.
    """

    resumes = True

    @abstractmethod
    def supernet(self, hp: Any) -> Any:
        """Return the network to search in."""

    @abstractmethod
    def derived(self, hp: Any) -> Any:
        """Return the network that was found, compiled."""

    @abstractmethod
    def find(self, hp: Any, model: Any, x: Any, y: Any, **options: Any) -> dict[str, Any]:
        """Search; return what was found, as values of a trial can hold it."""

    @abstractmethod
    def train(self, hp: Any, found: Any, searched: Any, x: Any, y: Any, **options: Any) -> dict[str, float]:
        """Train what was found; return its scores."""

    @abstractmethod
    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""

    def build(self, hp):
        """Return the network to search in, or the one that was found in a trial of these hyperparameters."""
        self.declare_hyperparameters(hp)
        if any(name.startswith(FOUND) for name in hp.values):
            return self.derived(hp)
        keras.utils.set_random_seed(int(hp.get("search/seed")) % 2**31)
        return self.supernet(hp)

    def declare_hyperparameters(self, hp):
        """Name the hyperparameters, each fixed unless the tuner was given another range for it."""
        hp.Int("search/seed", 0, 2**31 - 1)

    def fit(
        self,
        hp,
        model,
        x,
        y=None,
        epochs=50,
        batch_size=64,
        validation_data=None,
        callbacks=(),
        backup=None,
        verbose=0,
        **options,
    ):
        """Search, then train what was found.

        Args:
            hp: Hyperparameters of the trial; what was found is put into `hp.values`.
            model: What `build` gave.
            x: Inputs.
            y: Labels.
            epochs: Of the search.
            batch_size: Of search and training.
            validation_data: Inputs and labels for the score; by default a tenth of `x` and `y`, which is not trained on.
            callbacks: The user's go to the search, KerasTuner's to the training.
            backup: A folder; a trial that was killed goes on from there.
            verbose: As `keras.Model.fit`.
            **options: Further arguments of the search's `fit`.

        Returns:
            Scores.
        """
        x, y, validation_data = self.prepared(x, y, validation_data, int(hp.get("search/seed")))
        tuners = [callback for callback in callbacks if type(callback).__module__.startswith("keras_tuner")]
        own = [callback for callback in callbacks if callback not in tuners]
        shared = {"batch_size": batch_size, "verbose": verbose, "validation_data": validation_data}
        found = self.find(hp, model, x, y, epochs=epochs, callbacks=own, backup=backup, **shared, **options)
        hp.values.update({f"{FOUND}{name}": value for name, value in found.items()})
        network = self.derived(hp)
        return self.train(hp, network, model, x, y, callbacks=tuners, **shared)

    def prepared(self, x: Any, y: Any, validation_data: Any, seed: int) -> tuple[Any, Any, Any]:
        """Return inputs and labels to search and train with, and those for the score."""
        x, y = np.asarray(x), np.asarray(y)
        if validation_data is None:
            inside, outside = divided(len(x), 0.1, 1, seed)
            validation_data, x, y = (x[outside], y[outside]), x[inside], y[inside]
        return x, y, validation_data


def saved_scores(network: Any, scores: dict[str, float], callbacks: Sequence[Any]) -> dict[str, float]:
    """Return scores, and let KerasTuner's callbacks keep the weights of a network that `fit` was not called of."""
    for callback in callbacks:
        callback.set_model(network)
        callback.on_epoch_end(0, scores)
    return scores


class SeedOracle(ResumableOracle):
    """Repeats a search with other seeds; all other hyperparameters keep their defaults.

    Args:
        objective: As `keras_tuner.Oracle`.
        max_trials: How many searches.
        seed: Of the first one; the others follow.
        **kwargs: As `keras_tuner.Oracle`.
    """

    def __init__(self, objective="val_accuracy", max_trials=4, seed=0, **kwargs):
        super().__init__(objective, max_trials, **kwargs)
        self.first_seed = int(seed)

    def populate_space(self, trial_id):
        """Return the values of the next search."""
        values = {hp.name: hp.default for hp in self.hyperparameters.space}
        return {"status": "RUNNING", "values": {**values, "search/seed": self.first_seed + int(trial_id)}}

    def _compute_values_hash(self, values):
        return super()._compute_values_hash({k: v for k, v in values.items() if not k.startswith(FOUND)})


class OneShotTuner(NASTuner):
    """Runs searches by gradient descent, one a trial.

    Args:
        hypermodel: A `DartsHyperModel` or `EquiDHyperModel`.
        objective: As `keras_tuner.Tuner`.
        max_trials: How many searches.
        seed: Of the first one.
        oracle: Another oracle than `SeedOracle`.
        **kwargs: As `keras_tuner.Tuner`.
    """

    oracle_class: type[SeedOracle] = SeedOracle

    def __init__(self, hypermodel, objective="val_accuracy", max_trials=4, seed=0, oracle=None, **kwargs):
        chosen = self.oracle_class(objective, max_trials, seed) if oracle is None else oracle
        super().__init__(chosen, hypermodel, **kwargs)

    def get_search_history(self, trial_id: str) -> dict[str, Any]:
        """Return what the search of a trial found, by name, and how: what `SearchRecord.to_json` holds."""
        values = self.oracle.get_trial(trial_id).hyperparameters.values
        found: dict[str, Any] = {n.removeprefix(FOUND): value for n, value in values.items() if n.startswith(FOUND)}
        path = Path(self.get_trial_dir(trial_id)) / RECORD
        return {**found, **(json.loads(path.read_text()) if path.exists() else {})}
