"""Searches by gradient descent as trials of KerasTuner: one trial is a whole search."""

from __future__ import annotations

import json
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import keras_tuner as kt
import numpy as np

from keras_struct.applications import EquivariantCNN, darts_network, darts_supernet
from keras_struct.export import to_plain
from keras_struct.search import (
    Admm,
    ConstantSchedule,
    Darts,
    EquiNASD,
    FimtSchedule,
    Genotype,
    Proximity,
    RecurrentGenotype,
)
from keras_struct.search.batches import divided
from keras_struct.structure.genotypes import parsed
from keras_struct.tuners.base import NASTuner, ResumableOracle

LOSS = "sparse_categorical_crossentropy"
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


class DartsHyperModel(OneShotHyperModel):
    """Cells of the DARTS space, searched by DARTS-PRIME or one of its parts, then trained anew.

    Hyperparameters: `search/seed`, `search/ratio`, `search/strength` and `search/architecture_rate`. All but the seed are fixed
    unless a tuner is given ranges for them with `hyperparameters`.

    Args:
        input_shape: Height, width and channels of the images.
        num_classes: Number of classes.
        init_channels: Of the supernet.
        layers: Cells of the supernet.
        nodes: Of a cell.
        schedule: `"fimt"`, `"constant"`, or `None` for a step of the architecture in every step.
        penalty: `"proximity"`, `"admm"` or `None`.
        activation: As `darts_supernet`.
        train_epochs: Epochs that the network that was found is trained for; with 0 the supernet is scored, which does not rank
            cells.
        train_channels: Of its first cells; twice those of the supernet by default.
        train_layers: Cells of it; as many as the supernet has by default.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis chapter 5).
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        init_channels: int = 8,
        layers: int = 5,
        nodes: int = 4,
        schedule: Literal["fimt", "constant"] | None = "fimt",
        penalty: Literal["proximity", "admm"] | None = "proximity",
        activation: Literal["softmax", "crb", "gumbel"] = "softmax",
        train_epochs: int = 50,
        train_channels: int | None = None,
        train_layers: int | None = None,
    ) -> None:
        super().__init__()
        if schedule not in ("fimt", "constant", None) or penalty not in ("proximity", "admm", None):
            raise ValueError(
                "Expected schedule 'fimt', 'constant' or None and penalty 'proximity', 'admm' or None. Received: "
                f"schedule={schedule!r}, penalty={penalty!r}"
            )
        self.input_shape, self.num_classes = input_shape, num_classes
        self.init_channels, self.layers, self.nodes = init_channels, layers, nodes
        self.schedule, self.penalty, self.activation = schedule, penalty, activation
        self.train_epochs = train_epochs
        self.train_channels = 2 * init_channels if train_channels is None else train_channels
        self.train_layers = layers if train_layers is None else train_layers

    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""
        names = ("input_shape", "num_classes", "init_channels", "layers", "nodes", "schedule", "penalty", "activation")
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in names}

    def declare_hyperparameters(self, hp):
        """Name the hyperparameters."""
        super().declare_hyperparameters(hp)
        hp.Fixed("search/ratio", 10.0)
        hp.Fixed("search/strength", 0.1)
        hp.Fixed("search/architecture_rate", 3e-4)

    def supernet(self, hp):
        """Return the supernet."""
        return darts_supernet(
            self.input_shape, self.num_classes, self.init_channels, self.layers, self.nodes, self.activation
        )

    def derived(self, hp):
        """Return the network of the genotype, compiled."""
        genotype = Genotype.parse(hp.values[f"{FOUND}genotype"])
        network = darts_network(genotype, self.input_shape, self.num_classes, self.train_channels, self.train_layers)
        network.compile(keras.optimizers.SGD(0.025, 0.9, global_clipnorm=5.0), LOSS, metrics=["accuracy"])
        return network

    def find(self, hp, model, x, y, validation_data=None, **options):
        """Search."""
        ratio = float(hp.get("search/ratio"))
        schedules: dict[Any, Any] = {"fimt": FimtSchedule(ratio), "constant": ConstantSchedule(max(1, round(ratio)))}
        penalties: dict[Any, Any] = {"proximity": Proximity, "admm": Admm}
        penalty = None if self.penalty is None else penalties[self.penalty](float(hp.get("search/strength")))
        adam = keras.optimizers.Adam(float(hp.get("search/architecture_rate")), 0.5, 0.999)
        seed = int(hp.get("search/seed"))
        search = Darts(model, LOSS, None, adam, schedule=schedules.get(self.schedule), penalty=penalty, seed=seed)
        search.fit(x, y, **options)
        if (backup := options.get("backup")) is not None:
            (Path(backup).parent / RECORD).write_text(search.record.to_json())
        return {"genotype": str(search.genotype())}

    def train(self, hp, found, searched, x, y, **options):
        """Train the network that was found."""
        if self.train_epochs:
            history = found.fit(x, y, epochs=self.train_epochs, **options)
            return _best(history)
        warnings.warn(
            "With train_epochs=0 trials are scored by the accuracy of their supernets, which does not rank the cells found.",
            stacklevel=2,
        )
        scores = searched.evaluate(*options["validation_data"], verbose=0, return_dict=True)
        return _saved(found, {f"val_{name}": float(value) for name, value in scores.items()}, options["callbacks"])


class EquiDHyperModel(OneShotHyperModel):
    """Mixtures of symmetries of an equivariant network, searched by EquiNAS_D. What is found has been trained by the search.

    Args:
        input_shape: Height, width and channels of the images.
        num_classes: Number of classes.
        groups: What each layer chooses from.
        learning_rate: Of both optimizers.
        **network: Further arguments of `applications.EquivariantCNN`.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.4).
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        groups: Sequence[str] = ("C1", "C2", "C4", "D1", "D2", "D4"),
        learning_rate: float = 0.01,
        **network: Any,
    ) -> None:
        super().__init__()
        self.input_shape, self.num_classes, self.groups = input_shape, num_classes, tuple(groups)
        self.learning_rate, self.network = learning_rate, network

    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""
        return {
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "groups": list(self.groups),
            "network": {name: repr(value) for name, value in sorted(self.network.items())},
        }

    def supernet(self, hp):
        """Return the network of mixtures."""
        return EquivariantCNN(self.input_shape, self.num_classes, [list(self.groups)] * 8, **self.network)

    def derived(self, hp):
        """Return the collapsed network: stock convolutions of the merged kernels."""
        network = to_plain(self.supernet(hp))
        network.compile(keras.optimizers.Adam(self.learning_rate), LOSS, metrics=["accuracy"])
        return network

    def find(self, hp, model, x, y, validation_data=None, **options):
        """Search."""
        psi, z = keras.optimizers.Adam(self.learning_rate), keras.optimizers.Adam(self.learning_rate)
        search = EquiNASD(model, LOSS, psi, z, metrics=["accuracy"], seed=int(hp.get("search/seed")))
        search.fit(x, y, **options)
        return {"mixtures": json.dumps(search.mixture())}

    def train(self, hp, found, searched, x, y, **options):
        """Collapse the network, which is trained already, and score it."""
        collapsed = to_plain(searched)
        found.set_weights(collapsed.get_weights())
        scores = found.evaluate(*options["validation_data"], verbose=0, return_dict=True)
        return _saved(found, {f"val_{name}": float(value) for name, value in scores.items()}, options["callbacks"])


def _best(history: Any) -> dict[str, float]:
    """Scores of the epoch of the best validation accuracy."""
    epoch = int(np.argmax(history.history["val_accuracy"]))
    return {name: float(values[epoch]) for name, values in history.history.items()}


def _saved(network: Any, scores: dict[str, float], callbacks: Sequence[Any]) -> dict[str, float]:
    """Let KerasTuner's callbacks keep the weights of a network that `fit` was not called of."""
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


class DartsPrimeOracle(SeedOracle):
    """Repeats a DARTS-PRIME search with other seeds, as in the paper: four, each evaluated once.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2).
    """


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


class DartsPrimeTuner(OneShotTuner):
    """Searches cells: `tuner.search(x, y, epochs=50)`, then `tuner.get_best_genotypes()`.

    Args:
        hypermodel: A `DartsHyperModel` or `DartsLanguageHyperModel`.
        objective: As `keras_tuner.Tuner`; of language models `keras_tuner.Objective("val_loss", "min")`.
        max_trials: How many searches, each with another seed.
        seed: Of the first one.
        oracle: Another oracle than `DartsPrimeOracle`.
        **kwargs: As `keras_tuner.Tuner`.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis chapter 5).
    """

    oracle_class = DartsPrimeOracle

    def get_best_genotypes(self, num_genotypes: int = 1) -> list[Genotype | RecurrentGenotype]:
        """Return the genotypes of the best trials, best first."""
        trials = self.oracle.get_best_trials(num_genotypes)
        values = [trial.hyperparameters.values.get(f"{FOUND}genotype") for trial in trials]
        return [parsed(value) for value in values if value is not None]


class EquiNASDTuner(OneShotTuner):
    """Searches mixtures of symmetries: `tuner.search(x, y, epochs=100)`, then `tuner.get_best_models()`, stock networks.

    Args:
        hypermodel: An `EquiDHyperModel`.
        objective: As `keras_tuner.Tuner`.
        max_trials: How many searches, each with another seed.
        seed: Of the first one.
        oracle: Another oracle than `SeedOracle`.
        **kwargs: As `keras_tuner.Tuner`.
    """
