"""EquiNAS_D as trials of KerasTuner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import keras

from keras_struct.core.export.plain import to_plain
from keras_struct.search.one_shot import OneShotHyperModel, OneShotTuner, saved_scores
from keras_struct.symmetry.applications import EquivariantCNN
from keras_struct.symmetry.equinas_d import EquiNASD

LOSS = "sparse_categorical_crossentropy"


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
        return saved_scores(
            found, {f"val_{name}": float(value) for name, value in scores.items()}, options["callbacks"]
        )


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
