"""EquiNAS_E as trials of KerasTuner."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner as kt

from keras_struct.search.evolution import EvolutionOracle, EvolutionTuner
from keras_struct.symmetry.applications import EquivariantCNN
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.mutations import Mutation, relaxations

LOSS = "sparse_categorical_crossentropy"


class EquiNASOracle(EvolutionOracle):
    """An evolution that relaxes symmetries; values `group/0`, `group/1`, ... name the group of each convolution.

    Args:
        layers: How many convolutions.
        group: Of all of them in the first network.
        groups: Names of the groups that may occur; all subgroups by default.
        mutation: As `search.EquiNASE`.
        children: How many relaxed children each parent has, drawn at random; all by default.
        **kwargs: As `EvolutionOracle`.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.4).
    """

    def __init__(self, layers=8, group="D4", groups=None, mutation: Mutation = "full", children=None, **kwargs):
        super().__init__(**kwargs)
        self.layers, self.group, self.groups, self.mutation = layers, group, groups, mutation
        self.brood = children

    def first(self):
        """Return full symmetry."""
        return {f"group/{i}": self.group for i in range(self.layers)}

    def children(self, values, rng):
        """Return the relaxations of one layer."""
        now = tuple(values[f"group/{i}"] for i in range(self.layers))
        found = relaxations(now, self.mutation, self.groups)
        if self.brood is not None and len(found) > self.brood:
            found = [found[i] for i in sorted(rng.permutation(len(found))[: self.brood].tolist())]
        return [{f"group/{i}": name for i, name in enumerate(groups)} for groups in found]


class EquiEHyperModel(kt.HyperModel):
    """Equivariant networks whose groups are named by hyperparameters `group/0`, `group/1`, ...

    Args:
        input_shape: Height, width and channels of the images.
        num_classes: Number of classes.
        group: Of all convolutions unless the hyperparameters say otherwise.
        learning_rate: Of gradient descent.
        **network: Further arguments of `applications.EquivariantCNN`.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        group: str = "D4",
        learning_rate: float = 0.1,
        **network: Any,
    ) -> None:
        super().__init__()
        self.input_shape, self.num_classes, self.group = input_shape, num_classes, group
        self.learning_rate, self.network = learning_rate, network

    def signature(self) -> dict[str, Any]:
        """Return what a project folder must agree with."""
        network = {name: repr(value) for name, value in sorted(self.network.items())}
        return {"input_shape": list(self.input_shape), "num_classes": self.num_classes, "network": network}

    def build(self, hp):
        """Return a network of the groups, compiled."""
        groups = [hp.values.get(f"group/{i}", self.group) for i in range(8)]
        model = EquivariantCNN(
            self.input_shape, self.num_classes, groups, frame=self.group, invariance=self.group, **self.network
        )
        model.compile(keras.optimizers.SGD(self.learning_rate), LOSS, metrics=["accuracy"])
        return model

    def morph(self, model: Any, hp: Any) -> None:
        """Relax the layers of a network to the groups of the hyperparameters; the function is kept."""
        layers = [layer.name for layer in model.layers if isinstance(layer, GroupConv2D)]
        for i, name in enumerate(layers):
            wanted = hp.values[f"group/{i}"]
            if model.symmetries[name].name != wanted:
                model.relax(name, wanted)


class EquiNASETuner(EvolutionTuner):
    """Evolves symmetries: `tuner.search(x, y, epochs=25)`, then `tuner.get_pareto_front()`.

    Args:
        hypermodel: An `EquiEHyperModel`.
        oracle: By default an `EquiNASOracle` of the hypermodel's group.
        generations: Of the default oracle.
        parents: Of the default oracle.
        children: Of the default oracle.
        seed: Of the default oracle.
        **kwargs: As `EvolutionTuner`.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023, algorithm 1 (thesis section
        4.4.1).

    Differs from the authors' code, which trains the first network too (`warmup_epochs`).
    """

    def __init__(self, hypermodel, oracle=None, generations=50, parents=5, children=None, seed=0, **kwargs):
        if oracle is None:
            options = {"generations": generations, "parents": parents, "seed": seed}
            oracle = EquiNASOracle(group=hypermodel.group, children=children, **options)
        super().__init__(hypermodel, oracle, **kwargs)
