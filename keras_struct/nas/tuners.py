"""DARTS-PRIME as trials of KerasTuner: cells for images, and what spaces of cells share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from keras_struct.nas.applications import darts_network, darts_supernet
from keras_struct.nas.darts import Darts
from keras_struct.nas.genotypes import Genotype, RecurrentGenotype, parsed
from keras_struct.nas.penalties import Admm, Proximity
from keras_struct.search.one_shot import FOUND, RECORD, OneShotHyperModel, OneShotTuner, SeedOracle, saved_scores
from keras_struct.search.schedules import ConstantSchedule, FimtSchedule

LOSS = "sparse_categorical_crossentropy"


class DartsSpace(OneShotHyperModel):
    """Base of the spaces of cells that DARTS-PRIME, or one of its parts, searches.

    Hyperparameters: `search/seed`, `search/ratio`, `search/strength` and `search/architecture_rate`. All but the seed are fixed
    unless a tuner is given ranges for them with `hyperparameters`.

    Args:
        schedule: `"fimt"`, `"constant"`, or `None` for a step of the architecture in every step.
        penalty: `"proximity"`, `"admm"` or `None`.

    Raises:
        ValueError: If schedule or penalty are none of these.

    Attributes:
        strength: Default of the strength of the penalty.
        architecture_rate: Default of the learning rate of the architecture.
    """

    strength: ClassVar[float] = 0.1
    architecture_rate: ClassVar[float] = 3e-4

    def __init__(self, schedule: Any, penalty: Any) -> None:
        super().__init__()
        if schedule not in ("fimt", "constant", None) or penalty not in ("proximity", "admm", None):
            raise ValueError(
                "Expected schedule 'fimt', 'constant' or None and penalty 'proximity', 'admm' or None. Received: "
                f"schedule={schedule!r}, penalty={penalty!r}"
            )
        self.schedule, self.penalty = schedule, penalty

    def declare_hyperparameters(self, hp):
        """Name the hyperparameters."""
        super().declare_hyperparameters(hp)
        hp.Fixed("search/ratio", 10.0)
        hp.Fixed("search/strength", self.strength)
        hp.Fixed("search/architecture_rate", self.architecture_rate)

    def search(
        self, hp: Any, model: Any, loss: Any, optimizer: Any, betas: tuple[float, float] = (0.9, 0.999)
    ) -> Darts:
        """Return the search of a trial, before it has begun.

        Args:
            hp: Hyperparameters of the trial.
            model: The supernet.
            loss: Of weights and architecture.
            optimizer: Of the weights, or `None` for the one that was published.
            betas: Of Adam, the optimizer of the architecture.
        """
        ratio, seed = float(hp.get("search/ratio")), int(hp.get("search/seed"))
        schedules: dict[Any, Any] = {"fimt": FimtSchedule(ratio), "constant": ConstantSchedule(max(1, round(ratio)))}
        penalties: dict[Any, Any] = {"proximity": Proximity, "admm": Admm}
        penalty = None if self.penalty is None else penalties[self.penalty](float(hp.get("search/strength")))
        adam = keras.optimizers.Adam(float(hp.get("search/architecture_rate")), *betas)
        return Darts(model, loss, optimizer, adam, schedule=schedules.get(self.schedule), penalty=penalty, seed=seed)


def write_record(search: Darts, backup: Any) -> None:
    """Write how a search went beside its backup, if it has one."""
    if backup is not None:
        (Path(backup).parent / RECORD).write_text(search.record.to_json())


class DartsHyperModel(DartsSpace):
    """Cells of the DARTS space, searched by DARTS-PRIME or one of its parts, then trained again.

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
        super().__init__(schedule, penalty)
        self.input_shape, self.num_classes = input_shape, num_classes
        self.init_channels, self.layers, self.nodes = init_channels, layers, nodes
        self.activation, self.train_epochs = activation, train_epochs
        self.train_channels = 2 * init_channels if train_channels is None else train_channels
        self.train_layers = layers if train_layers is None else train_layers

    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""
        names = ("input_shape", "num_classes", "init_channels", "layers", "nodes", "schedule", "penalty", "activation")
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in names}

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

    def find(self, hp, model, x, y, validation_data=None, backup=None, **options):
        """Search."""
        search = self.search(hp, model, LOSS, None, (0.5, 0.999))
        search.fit(x, y, backup=backup, **options)
        write_record(search, backup)
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
        return saved_scores(
            found, {f"val_{name}": float(value) for name, value in scores.items()}, options["callbacks"]
        )


def _best(history: Any) -> dict[str, float]:
    """Scores of the epoch of the best validation accuracy."""
    epoch = int(np.argmax(history.history["val_accuracy"]))
    return {name: float(values[epoch]) for name, values in history.history.items()}


class DartsPrimeOracle(SeedOracle):
    """Repeats a DARTS-PRIME search with other seeds, as in the paper: four, each evaluated once.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2).
    """


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
