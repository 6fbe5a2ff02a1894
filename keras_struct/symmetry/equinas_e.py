"""EquiNAS_E: an evolution of networks that lose symmetries while they train."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_struct import symmetry
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.search.pareto import pareto_front
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.mutations import Architecture, Mutation, random_architecture, relaxations
from keras_struct.symmetry.population import Individual, is_written, read_population, write_population


class EquiNASE:
    """Evolves networks from full symmetry on: children relax a layer, inherit all weights, and train a little.

    In each generation every network of the population has children: itself, and one for each way to relax a layer so that no
    layer has more symmetry than the one before. As relaxing keeps the function, a child starts with its parent's accuracy. All
    are trained for the same time with a fresh optimizer; the Pareto front of validation accuracy and number of parameters
    stays, filled up with the most accurate ones.

    One network serves all: it takes each one's symmetries and weights in turn, so that nothing is traced again.

    Args:
        model: The first network, a `StructuralModel` of `GroupConv2D` layers, such as `applications.EquivariantCNN()`. It is
            used to work with.
        loss: As `keras.Model.compile`.
        optimizer: By default plain gradient descent with learning rate 0.1.
        generations: How many.
        epochs: Passes over the training data of each child in each generation, such as 0.5.
        parents: How many networks stay, at the least.
        mutation: `"full"`: any layer to any subgroup, as the text has it; `"reduced"`, as the authors' code.
        groups: Names of the groups that may occur; all that the first network's frame holds by default.
        selection: `"pareto"`, or `"random"`: the ablation Random Select.
        batch_size: Of training.
        seed: Of orders and draws.
        warmup_epochs: Passes over the training data of the first network before it has children. By default none, as the
            algorithm is printed: children of the first generation start from fresh weights, all from the same.

    Attributes:
        population: The networks that stayed.
        history: Records of all networks of each generation; generation 0 is the first network alone.

    Raises:
        ValueError: If the model has no `GroupConv2D`, or a number is not positive.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023, algorithm 1 (thesis section
        4.4.1).

    Differs from the authors' code, which trains the first network before the first generation (`warmup_epochs` as large as
    `epochs`), and returns all children of the last generation instead of selecting.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any = None,
        generations: int = 50,
        epochs: float = 0.5,
        parents: int = 5,
        mutation: Mutation = "full",
        groups: Sequence[str] | None = None,
        selection: Literal["pareto", "random"] = "pareto",
        batch_size: int = 64,
        seed: int = 0,
        warmup_epochs: float = 0.0,
    ) -> None:
        self.layers = [layer.name for layer in model.layers if isinstance(layer, GroupConv2D)]
        if not self.layers:
            raise ValueError(
                "EquiNASE relaxes GroupConv2D layers, and the model has none. Take applications.EquivariantCNN()."
            )
        for name, value in {
            "generations": generations,
            "epochs": epochs,
            "parents": parents,
            "batch_size": batch_size,
        }.items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
        if not warmup_epochs >= 0:
            raise ValueError(f"`warmup_epochs` must not be negative. Received: warmup_epochs={warmup_epochs}")
        if mutation not in ("full", "reduced") or selection not in ("pareto", "random"):
            raise ValueError(
                "Expected mutation 'full' or 'reduced' and selection 'pareto' or 'random'. Received: "
                f"mutation={mutation!r}, selection={selection!r}"
            )
        self.model, self.generations, self.parents = model, generations, parents
        self.epochs, self.warmup_epochs = epochs, warmup_epochs
        self.mutation, self.selection, self.batch_size, self.seed = mutation, selection, batch_size, seed
        self.groups = None if groups is None else [symmetry.groups.get(name).name for name in groups]
        sgd = keras.optimizers.SGD(0.1) if optimizer is None else keras.optimizers.get(optimizer)
        model.compile(sgd, loss, metrics=["accuracy"])
        self._initial_slots = [np.array(keras.ops.convert_to_numpy(v.value)) for v in self._numbers()]
        self.population = [self._taken(Individual(self._architecture()))]
        self.history: list[list[dict[str, Any]]] = []

    # Networks

    def _architecture(self) -> Architecture:
        return tuple(self.model.get_layer(name).group.name for name in self.layers)

    def _taken(self, individual: Individual) -> Individual:
        """Take the weights of the working network for an individual."""
        individual.weights = [current().read(weight) for weight in self.model.weights]
        individual.parameters = int(sum(np.prod(v.shape) for v in self.model.trainable_variables))
        return individual

    def load(self, individual: Individual) -> Any:
        """Return the working network with the symmetries and weights of an individual, and a fresh optimizer."""
        changes = dict(zip(self.layers, individual.groups, strict=True))
        self._regroup(changes)
        for variable, value in zip(self.model.weights, individual.weights, strict=True):
            variable.assign(value)
        self._reset_optimizer()
        return self.model

    def _regroup(self, groups: dict[str, str]) -> None:
        """Give each convolution a group, and each normalisation that of the convolution in front of it."""
        found = dict(groups)
        for name, group in groups.items():
            found.update(dict.fromkeys(self.model.normalizations_behind(name), group))
        parts_of(self.model).checkpoint.match({"groups": found})

    def _numbers(self) -> list[Any]:
        """Variables of the optimizer that belong to no weight."""
        slots = {id(slot.variable) for slot in parts_of(self.model).editor.optimizer.live_slots()}
        return [v for v in self.model.optimizer.variables if id(v) not in slots]

    def _reset_optimizer(self) -> None:
        for slot in parts_of(self.model).editor.optimizer.live_slots():
            slot.variable.assign(np.full(slot.variable.shape, slot.initial))
        for variable, value in zip(self._numbers(), self._initial_slots, strict=True):
            variable.assign(value)

    def child(self, parent: Individual, groups: Architecture, generation: int, place: int) -> Individual:
        """Return a child of a parent, with weights that compute the same."""
        self.load(parent)
        for name, old, new in zip(self.layers, parent.groups, groups, strict=True):
            if old != new:
                self.model.relax(name, new)
        return self._taken(Individual(groups, generation=generation, parent=place))

    # Search

    def fit(
        self,
        x: Any,
        y: Any,
        validation_data: tuple[Any, Any],
        folder: str | os.PathLike | None = None,
        on_generation: Callable[[int, list[Individual]], None] | None = None,
        verbose: int = 1,
    ) -> list[list[dict[str, Any]]]:
        """Search.

        Args:
            x: Training inputs.
            y: Labels.
            validation_data: Inputs and labels that networks are compared on.
            folder: Where the population is kept after each generation; a search that was killed goes on from there when it is
                called again in the same way.
            on_generation: Called after each generation with its number and the new population.
            verbose: 1 for a line a generation.

        Returns:
            The history.
        """
        if folder is not None and is_written(Path(folder)):
            self._restore(Path(folder))
        if not self.history:
            self._train(self.population, x, y, validation_data, 0)
            self._keep(self.population, folder)
        for generation in range(len(self.history), self.generations + 1):
            children = self._children(generation)
            self._train(children, x, y, validation_data, generation)
            self.population = self._select(children, generation)
            self._keep(children, folder)
            best = max(self.population, key=lambda one: one.accuracy or 0.0)
            if verbose:
                print(
                    f"generation {generation}/{self.generations}: {len(children)} networks, {len(self.population)} stay; best "
                    f"{best.accuracy:.4f} with {best.parameters:,} parameters: {' '.join(best.groups)}",
                    flush=True,
                )
            if on_generation is not None:
                on_generation(generation, self.population)
        return self.history

    def _children(self, generation: int) -> list[Individual]:
        """Each parent itself, and all its relaxations, none twice."""
        wanted: dict[Architecture, tuple[int, Individual]] = {}
        for place, parent in enumerate(self.population):
            wanted.setdefault(parent.groups, (place, parent))
        clones = set(wanted)
        for place, parent in enumerate(self.population):
            for groups in relaxations(parent.groups, self.mutation, self.groups):
                if groups not in clones:
                    wanted.setdefault(groups, (place, parent))
        return [self.child(parent, groups, generation, place) for groups, (place, parent) in wanted.items()]

    def _train(
        self, networks: Sequence[Individual], x: Any, y: Any, validation: tuple[Any, Any], generation: int
    ) -> None:
        """Train networks for a generation, generation 0 as long as the first one warms up, and see how accurate they are."""
        epochs = self.epochs if generation else self.warmup_epochs
        steps = ceil(round(epochs * max(1, len(x) // self.batch_size), 6))
        for place, network in enumerate(networks):
            self.load(network)
            rng, order = np.random.default_rng((self.seed, generation, place)), np.empty(0, np.int64)
            while len(order) < steps * self.batch_size:
                order = np.concatenate([order, rng.permutation(len(x))])
            chosen = order[: steps * self.batch_size]
            if steps:
                self.model.fit(x[chosen], y[chosen], batch_size=self.batch_size, shuffle=False, verbose=0)
            scores = self.model.evaluate(*validation, batch_size=500, verbose=0, return_dict=True)
            network.accuracy = float(scores["accuracy"])
            self._taken(network)

    def _select(self, networks: Sequence[Individual], generation: int) -> list[Individual]:
        """The Pareto front, filled up with the most accurate of the others."""
        if self.selection == "random":
            rng = np.random.default_rng((self.seed, generation, 2))
            chosen = set(rng.permutation(len(networks))[: self.parents].tolist())
        else:
            costs = np.array([[1 - (n.accuracy or 0.0), n.parameters] for n in networks])
            chosen = set(np.flatnonzero(pareto_front(costs)).tolist())
            by_accuracy = sorted(range(len(networks)), key=lambda i: -(networks[i].accuracy or 0.0))
            for place in by_accuracy:
                if len(chosen) >= self.parents:
                    break
                chosen.add(place)
        for place, network in enumerate(networks):
            network.selected = place in chosen
        return [network for network in networks if network.selected]

    def best(self) -> Individual:
        """Return the most accurate network of the population."""
        return max(self.population, key=lambda one: one.accuracy or 0.0)

    def random_architectures(self, count: int, seed: int = 0) -> list[Architecture]:
        """Return random architectures, for the ablation Random Static: train each `fresh_network` and keep the best."""
        rng = np.random.default_rng(seed)
        frame = self.model.get_layer(self.layers[0]).frame
        allowed = self.groups or [group.name for group in frame.subgroups()]
        return [random_architecture(len(self.layers), rng, allowed) for _ in range(count)]

    def fresh_network(self, groups: Architecture, optimizer: Any = None, seed: int = 0) -> Any:
        """Return a network of these groups with fresh weights, compiled like the search's and not trained.

        Args:
            groups: Name of the group of each convolution.
            optimizer: By default that of the search, again.
            seed: Of the weights.
        """
        self._regroup(dict(zip(self.layers, groups, strict=True)))
        keras.utils.set_random_seed(seed)
        fresh = type(self.model).from_config(self.model.get_config())
        own = type(self.model.optimizer).from_config(self.model.optimizer.get_config())
        fresh.compile(own if optimizer is None else optimizer, self.model.loss, metrics=["accuracy"])
        return fresh

    # Resuming

    def _keep(self, networks: Sequence[Individual], folder: Any) -> None:
        self.history.append([network.record() for network in networks])
        if folder is not None:
            write_population(Path(folder), self.population, self.history)

    def _restore(self, folder: Path) -> None:
        population, history = read_population(folder)
        counts = {(len(one.groups), len(one.weights)) for one in population}
        if counts != {(len(self.layers), len(self.model.weights))}:
            raise ValueError(
                f"The folder '{folder}' holds a search of another network, with {len(population[0].groups)} convolutions "
                f"and {len(population[0].weights)} weights instead of {len(self.layers)} and {len(self.model.weights)}. "
                "Give another folder, or delete it."
            )
        self.population, self.history = population, history
