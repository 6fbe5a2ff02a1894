"""Searches for recurrent cells as trials of KerasTuner."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

from keras_struct.data.text import TextBatches
from keras_struct.nas.genotypes import RecurrentGenotype
from keras_struct.nas.language_applications import darts_language_model, darts_language_supernet
from keras_struct.nas.language_callbacks import AveragedWeights, FreshStates, RateByLength
from keras_struct.nas.text_batches import PairedText
from keras_struct.nas.tuners import DartsSpace, write_record
from keras_struct.search.one_shot import FOUND

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class DartsLanguageHyperModel(DartsSpace):
    """Recurrent cells of the DARTS space, searched by DARTS-PRIME or one of its parts, then trained again as a language model.

    `tuner.search(text.train, validation_data=text.valid, ...)`, with the objective `keras_tuner.Objective("val_loss", "min")`:
    the architecture is trained on the text for validation, too, as published. Hyperparameters: `search/seed`,
    `search/ratio`, `search/strength` and `search/architecture_rate`, as `DartsHyperModel`.

    Args:
        vocabulary: Number of words.
        units: Of the supernet.
        nodes: Of the cell.
        length: Steps of a piece of text.
        vary: Whether lengths vary around it.
        schedule: As `DartsHyperModel`; so are the next two.
        penalty: See there.
        activation: See there.
        genotype_from: `"final"`: what the weights mean at the end; `"best"`: after the epoch with the smallest loss on the data
            for validation.
        train_epochs: Epochs that the language model that was found is trained for.
        train_units: Of it; twice those of the supernet by default.
        learning_rate: Of SGD, for pieces of text of `length`; what suits 300 units is far too much for 30.
        dropout: Arguments of both networks, such as `{"dropout": 0.1, "input_dropout": 0.1}`.

    References:
        Maile et al., *DARTS-PRIME*, 2021 (thesis chapter 5).
    """

    strength = 1.0
    architecture_rate = 3e-3

    def __init__(
        self,
        vocabulary: int,
        units: int = 300,
        nodes: int = 8,
        length: int = 35,
        vary: bool = True,
        schedule: Literal["fimt", "constant"] | None = "fimt",
        penalty: Literal["proximity", "admm"] | None = "proximity",
        activation: Literal["softmax", "crb"] = "softmax",
        genotype_from: Literal["final", "best"] = "final",
        train_epochs: int = 50,
        train_units: int | None = None,
        learning_rate: float = 20.0,
        dropout: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(schedule, penalty)
        self.vocabulary, self.units, self.nodes = vocabulary, units, nodes
        self.length, self.vary = length, vary
        self.activation, self.genotype_from, self.train_epochs = activation, genotype_from, train_epochs
        self.train_units = 2 * units if train_units is None else train_units
        self.learning_rate, self.dropout = learning_rate, dict(dropout or {})

    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""
        names = ("vocabulary", "units", "nodes", "length", "schedule", "penalty", "activation")
        return {name: getattr(self, name) for name in names}

    def prepared(self, x, y, validation_data, seed):
        """Return the text to train on and that for validation, by default the last tenth of it."""
        words = np.asarray(x)
        if words.ndim != 1:
            raise ValueError(f"Expected the numbers of the words of a text, one axis. Received shape {words.shape}.")
        if validation_data is None:
            words, validation_data = words[: len(words) * 9 // 10], words[len(words) * 9 // 10 :]
        elif isinstance(validation_data, tuple):
            validation_data = validation_data[0]
        return words, None, np.asarray(validation_data)

    def supernet(self, hp):
        """Return the supernet, for batches of any size; `find` makes that of its own batches."""
        return self._supernet(None)

    def _supernet(self, batch_size):
        return darts_language_supernet(
            self.vocabulary, self.units, self.nodes, self.activation, batch_size=batch_size, **self.dropout
        )

    def derived(self, hp):
        """Return the language model of the genotype, compiled."""
        genotype = RecurrentGenotype.parse(hp.values[f"{FOUND}genotype"])
        network = darts_language_model(
            genotype, self.vocabulary, self.train_units, hp.values.get(f"{FOUND}batch_size"), **self.dropout
        )
        network.compile(keras.optimizers.SGD(self.learning_rate, global_clipnorm=0.25), LOSS, metrics=["accuracy"])
        return network

    def find(self, hp, model, x, y, validation_data=None, batch_size=64, backup=None, **options):
        """Search."""
        seed = int(hp.get("search/seed"))
        keras.utils.set_random_seed(seed % 2**31)
        search = self.search(hp, self._supernet(batch_size), LOSS, keras.optimizers.SGD(self.learning_rate))
        search.fit(
            PairedText(x, validation_data, batch_size, self.length, self.vary, seed),
            validation_data=TextBatches(validation_data, batch_size, self.length),
            backup=backup,
            **options,
        )
        write_record(search, backup)
        return {"genotype": str(search.genotype(self.genotype_from)), "batch_size": batch_size}

    def train(self, hp, found, searched, x, y, validation_data=None, batch_size=64, callbacks=(), **options):
        """Train the language model that was found."""
        batches = TextBatches(x, batch_size, self.length, self.vary, int(hp.get("search/seed")))
        history = found.fit(
            batches,
            epochs=self.train_epochs,
            validation_data=TextBatches(validation_data, batch_size, self.length),
            shuffle=False,
            callbacks=[RateByLength(batches), FreshStates(), AveragedWeights(), *callbacks],
            **options,
        )
        losses = history.history["val_loss"]
        epoch = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
        return {name: float(values[epoch]) for name, values in history.history.items()}
