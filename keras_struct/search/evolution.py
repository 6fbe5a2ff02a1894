"""Evolution as an oracle of KerasTuner: one trial is one network, trained for one generation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_struct.search.batches import divided
from keras_struct.search.pareto import pareto_front
from keras_struct.search.tuning import NASTuner, ResumableOracle

GENERATION, PARENT = "evolution/generation", "evolution/parent"
COST = "parameters"


class EvolutionOracle(ResumableOracle):
    """Runs a population: in each generation parents go on beside their children, and the best of all stay.

    What stays is the Pareto front of the objective and the number of parameters, filled up to `parents` by the objective.
    Subclasses say what the first network is, and what children a network has. All draws depend on seed and generation only.

    Args:
        objective: As `keras_tuner.Oracle`; one.
        generations: How many; generation 0, the first network alone, does not count.
        parents: How many networks stay, at the least.
        seed: Of the draws.
        **kwargs: As `keras_tuner.Oracle`.

    Raises:
        ValueError: If a number is not positive.

    References:
        Real et al., *Regularized Evolution for Image Classifier Architecture Search*, AAAI 2019; Maile et al., ICLR 2023 (thesis
        algorithm 1).
    """

    def __init__(self, objective="val_accuracy", generations=50, parents=5, seed=0, **kwargs):
        if generations < 0 or parents < 1:
            raise ValueError(
                f"An evolution needs generations >= 0 and parents >= 1. Received: generations={generations}, parents={parents}"
            )
        super().__init__(objective, None, seed=seed + 1, **kwargs)
        self.generations, self.parents, self.first_seed = generations, parents, seed
        self.generation = -1
        self.population: list[str] = []
        self.issued: list[str] = []
        self.queue: list[dict[str, Any]] = []

    @abstractmethod
    def first(self) -> dict[str, Any]:
        """Return the values of the first network."""

    @abstractmethod
    def children(self, values: Mapping[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
        """Return the values of the children of a network."""

    def populate_space(self, trial_id):
        """Return the values of the next network, or wait until all of this generation are trained."""
        if not self.queue and any(self.trials[i].status not in ("COMPLETED", "FAILED") for i in self.issued):
            return {"status": "IDLE"}
        if not self.queue:
            if self.generation >= self.generations:
                return {"status": "STOPPED"}
            self._next_generation()
        values = self.queue.pop(0)
        self.issued.append(trial_id)
        return {"status": "RUNNING", "values": values}

    def _next_generation(self) -> None:
        if self.generation >= 0:
            self.population = self.select([self.trials[i] for i in self.issued])
            if not self.population:
                raise RuntimeError(
                    f"All networks of generation {self.generation} failed. The message of their trials says why: "
                    f"{self.trials[self.issued[-1]].message}"
                )
        self.generation += 1
        self.issued = []
        if self.generation == 0:
            self.queue = [{**self.first(), GENERATION: 0, PARENT: ""}]
            return
        rng = np.random.default_rng((self.first_seed, self.generation))
        wanted: dict[tuple[Any, ...], dict[str, Any]] = {}
        parents = [self.trials[i] for i in self.population]
        families = [[_own(parent)] for parent in parents] + [self.children(_own(parent), rng) for parent in parents]
        for parent, family in zip([*parents, *parents], families, strict=True):
            for values in family:
                kept = {**values, GENERATION: self.generation, PARENT: parent.trial_id}
                wanted.setdefault(tuple(sorted(values.items())), kept)
        self.queue = list(wanted.values())

    def select(self, trials: Sequence[Any]) -> list[str]:
        """Return the trials that stay: the Pareto front, filled up with the best of the others."""
        done = [trial for trial in trials if trial.status == "COMPLETED"]
        if not done:
            return []
        sign = -1.0 if self.objective.direction == "max" else 1.0
        costs = np.array([[sign * trial.score, _cost(trial)] for trial in done])
        chosen = set(np.flatnonzero(pareto_front(costs)).tolist())
        for place in np.argsort(costs[:, 0], kind="stable").tolist():
            if len(chosen) >= self.parents:
                break
            chosen.add(place)
        return [done[place].trial_id for place in sorted(chosen)]

    def in_use(self) -> set[str]:
        """Return the trials whose weights are still needed: the population, this generation, and the best of all."""
        best = [trial.trial_id for trial in self.get_best_trials(self.parents)]
        return {*self.population, *self.issued, *best}

    def get_state(self):
        """Return the state, that of the population included."""
        names = ("generation", "population", "issued", "queue")
        return {**super().get_state(), "evolution": {name: getattr(self, name) for name in names}}

    def set_state(self, state):
        """Take over a state."""
        super().set_state(state)
        for name, value in state["evolution"].items():
            setattr(self, name, value)

    def _duplicate(self, values):
        return False


def _own(trial: Any) -> dict[str, Any]:
    """The values of a trial that say what its network is."""
    return {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("evolution/")}


def _cost(trial: Any) -> float:
    return float(trial.metrics.get_best_value(COST)) if trial.metrics.exists(COST) else 0.0


class EvolutionTuner(NASTuner):
    """Trains the networks of an `EvolutionOracle`: each inherits its parent's weights.

    Args:
        hypermodel: Builds a compiled network from hyperparameters; `morph(model, hp)` turns the network of its parent into it.
        oracle: An `EvolutionOracle`.
        epochs_per_generation: Passes over the training data of each network in each generation, such as 0.5.
        batch_size: Of training.
        warmup_epochs: Those of the first network, generation 0. By default it is not trained before it has children.
        **kwargs: As `keras_tuner.Tuner`.

    Raises:
        ValueError: If a number is not positive, or `warmup_epochs` negative.
    """

    def __init__(self, hypermodel, oracle, epochs_per_generation=0.5, batch_size=64, warmup_epochs=0.0, **kwargs):
        if not epochs_per_generation > 0 or batch_size < 1:
            raise ValueError(
                "`epochs_per_generation` and `batch_size` must be positive. Received: "
                f"{epochs_per_generation} and {batch_size}"
            )
        if not warmup_epochs >= 0:
            raise ValueError(f"`warmup_epochs` must not be negative. Received: warmup_epochs={warmup_epochs}")
        self.epochs_per_generation, self.batch_size = epochs_per_generation, batch_size
        self.warmup_epochs = warmup_epochs
        super().__init__(oracle, hypermodel, **kwargs)

    def search(self, x, y, epochs=None, validation_data=None, verbose=1, **kwargs):
        """Search.

        Args:
            x: Training inputs.
            y: Labels.
            epochs: How many epochs a network has been trained for in the end, with its ancestors, `warmup_epochs` aside; by
                default as many as the oracle's generations are.
            validation_data: Inputs and labels for the score; by default a tenth of `x` and `y`, which is not trained on.
            verbose: As KerasTuner.
            **kwargs: Further arguments of `fit`.

        Raises:
            ValueError: If `epochs` are fewer than those of one generation.
        """
        if epochs is not None:
            if epochs < self.epochs_per_generation:
                raise ValueError(
                    f"`epochs` is the training of a whole lineage, and one generation takes {self.epochs_per_generation} epochs. "
                    f"Received: epochs={epochs}"
                )
            self._own_oracle().generations = round(epochs / self.epochs_per_generation)
        x, y = np.asarray(x), np.asarray(y)
        if validation_data is None:
            inside, outside = divided(len(x), 0.1, 1, self._own_oracle().first_seed)
            validation_data, x, y = (x[outside], y[outside]), x[inside], y[inside]
        super().search(x, y, validation_data=validation_data, verbose=verbose, **kwargs)

    def run_trial(self, trial, x, y, validation_data=None, callbacks=(), **kwargs):
        """Train one network for one generation."""
        values = trial.hyperparameters.values
        parent = values[PARENT]
        if parent:
            model = self.load_model(self.oracle.get_trial(parent))
            self.hypermodel.morph(model, trial.hyperparameters)
        else:
            keras.utils.set_random_seed(self._seed() % 2**31)
            model = self._try_build(trial.hyperparameters)
        epochs = self.epochs_per_generation if parent else self.warmup_epochs
        steps = round(epochs * max(1, len(x) // self.batch_size))
        steps = max(1, steps) if epochs else 0
        rng, order = np.random.default_rng((self._seed(), values[GENERATION], int(trial.trial_id))), np.empty(0, int)
        while len(order) < steps * self.batch_size:
            order = np.concatenate([order, rng.permutation(len(x))])
        chosen = order[: steps * self.batch_size]
        options = {"batch_size": self.batch_size, "shuffle": False, "verbose": 0, **kwargs}
        if steps:
            model.fit(x[chosen], y[chosen], callbacks=list(callbacks), **options)
        scores = model.evaluate(*validation_data, batch_size=500, verbose=0, return_dict=True)
        model.save_weights(self._get_checkpoint_fname(trial.trial_id))
        self._sweep()
        cost = float(sum(int(np.prod(v.shape)) for v in model.trainable_variables))
        return {**{f"val_{name}": float(value) for name, value in scores.items()}, COST: cost}

    def _seed(self) -> int:
        return self._own_oracle().first_seed

    def _sweep(self) -> None:
        """Delete weights that no later network will inherit."""
        if self._is_worker() or self.oracle.ongoing_trials.keys() - {self.tuner_id}:
            return
        kept = self.oracle.in_use() | {trial.trial_id for trial in self.oracle.ongoing_trials.values()}
        for trial_id in set(self.oracle.trials) - kept:
            Path(self._get_checkpoint_fname(trial_id)).unlink(missing_ok=True)

    def get_population(self) -> list[Any]:
        """Return the trials that the last finished generation left."""
        oracle = self._own_oracle()
        done = [oracle.trials[i] for i in oracle.issued]
        over = done and all(trial.status in ("COMPLETED", "FAILED") for trial in done) and not oracle.queue
        return [oracle.trials[i] for i in (oracle.select(done) if over else oracle.population)]

    def get_pareto_front(self) -> list[Any]:
        """Return those of the population that no other is better than in both objective and parameters, best first."""
        found = self.get_population()
        sign = -1.0 if self.oracle.objective.direction == "max" else 1.0
        costs = np.array([[sign * trial.score, _cost(trial)] for trial in found])
        front = [trial for trial, stays in zip(found, pareto_front(costs), strict=True) if stays] if found else []
        return sorted(front, key=lambda trial: sign * trial.score)
