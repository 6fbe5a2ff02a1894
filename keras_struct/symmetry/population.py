"""Networks of an evolution, in memory and in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_struct.symmetry.mutations import Architecture

_STATE, _WEIGHTS = "population.json", "weights.npz"


@dataclass
class Individual:
    """One network of a population.

    Attributes:
        groups: Name of the group of each convolution, from the input on.
        accuracy: On the validation data, right after training; `None` before.
        parameters: Trainable weights.
        generation: When it was made.
        parent: Place of its parent in the generation before; `None` for the first.
        selected: Whether it stayed.
        weights: Its weights.
    """

    groups: Architecture
    accuracy: float | None = None
    parameters: int = 0
    generation: int = 0
    parent: int | None = None
    selected: bool = True
    weights: list[np.ndarray] = field(default_factory=list, repr=False)

    def record(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON can hold it."""
        found = {name: value for name, value in asdict(self).items() if name != "weights"}
        return {**found, "groups": list(self.groups)}


def is_written(folder: Path) -> bool:
    """Whether a folder holds a population."""
    return (folder / _STATE).exists()


def write_population(folder: Path, population: Sequence[Individual], history: Sequence[Any]) -> None:
    """Write a population in place of the one that the folder holds; whenever it is interrupted, one of both is whole.

    Args:
        folder: Where to; made if it does not exist.
        population: The networks.
        history: Records of all networks of each generation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"{i}-{k}": w for i, n in enumerate(population) for k, w in enumerate(n.weights)}
    temporary = folder / f"new-{_WEIGHTS}"
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    name = f"{len(history)}-{_WEIGHTS}"
    os.replace(temporary, folder / name)
    state = {"population": [n.record() for n in population], "history": history, "weights": name}
    (folder / "new.json").write_text(json.dumps(state))
    os.replace(folder / "new.json", folder / _STATE)
    for old in folder.glob(f"*-{_WEIGHTS}"):
        if old.name != name:
            old.unlink()


def read_population(folder: Path) -> tuple[list[Individual], list[list[dict[str, Any]]]]:
    """Return the population that a folder holds, and the history."""
    state = json.loads((folder / _STATE).read_text())
    population = []
    with np.load(folder / state["weights"], allow_pickle=False) as arrays:
        for i, record in enumerate(state["population"]):
            count = sum(name.startswith(f"{i}-") for name in arrays.files)
            weights = [arrays[f"{i}-{k}"] for k in range(count)]
            population.append(Individual(**{**record, "groups": tuple(record["groups"])}, weights=weights))
    return population, state["history"]
