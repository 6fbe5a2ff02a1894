"""What a search was like: α, genotypes and the schedule over time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_struct.nas.architecture import ArchitectureWeights

_FILE = "record.json"


class SearchRecord:
    """α, chosen operations and the schedule of a search over time.

    Attributes:
        weights: Activated weights of each layer, at the start and after each epoch.
        genes: What they mean.
        entropy: Mean entropy of the weights of an edge, likewise, in nats.
        skips: How many of the chosen operations are skip connections, likewise: a search has collapsed where most are.
        schedule: For each step of the weights what the schedule looked at; see `ArchitectureSchedule`.
        architecture_steps: For each step of the weights, how many of the architecture there had been.
        validation: Loss on the data for validation after each epoch, if there are any.
    """

    def __init__(self, layers: Mapping[str, ArchitectureWeights], shown: Sequence[str] | None) -> None:
        self.layers, self._shown = layers, tuple(shown or ())
        self._scheduled = shown is not None
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.weights: list[dict[str, np.ndarray]] = []
        self.genes: list[dict[str, list[tuple[str, int]]]] = []
        self.entropy: list[float] = []
        self.skips: list[int] = []
        self.schedule: dict[str, list[float]] = {name: [] for name in self._shown}
        self.architecture_steps: list[int] = []
        self.validation: list[float] = []

    def add(self) -> None:
        """Record what the weights are now."""
        values = {name: layer.values() for name, layer in self.layers.items()}
        self.weights.append(values)
        self.genes.append({name: list(layer.genes()) for name, layer in self.layers.items()})
        self.entropy.append(float(np.mean([mean_entropy(value) for value in values.values()])))
        self.skips.append(sum(name == "skip_connect" for genes in self.genes[-1].values() for name, _ in genes))

    @property
    def decided(self) -> float:
        """How far the weights have come from uniform (0) to one operation an edge (1): 1 minus entropy over that at the start."""
        if not self.entropy or self.entropy[0] <= 0:
            return 0.0
        return 1 - self.entropy[-1] / self.entropy[0]

    def cut(self, epochs: int, steps: int) -> None:
        """Forget what came after so many epochs of so many steps."""
        self.weights, self.genes = self.weights[: epochs + 1], self.genes[: epochs + 1]
        self.entropy, self.skips = self.entropy[: epochs + 1], self.skips[: epochs + 1]
        self.validation = self.validation[:epochs]
        self.schedule = {name: values[: epochs * steps] for name, values in self.schedule.items()}
        self.architecture_steps = self.architecture_steps[: epochs * steps]

    def add_step(self, logs: Mapping[str, float]) -> None:
        """Record what the schedule looked at in a step."""
        if self._scheduled:
            for name in self._shown:
                self.schedule[name].append(float(logs[name]))
            self.architecture_steps.append(int(logs["alpha_steps"]))

    def to_json(self) -> str:
        """Return the record as JSON."""
        names = ("genes", "entropy", "skips", "schedule", "architecture_steps", "validation")
        found = {n: getattr(self, n) for n in names}
        weights = [{name: value.tolist() for name, value in each.items()} for each in self.weights]
        return json.dumps({**found, "weights": weights})

    def read_json(self, text: str) -> None:
        """Take over what `to_json` wrote."""
        found = json.loads(text)
        weights = [{name: np.array(value) for name, value in each.items()} for each in found.pop("weights")]
        genes = [{n: [tuple(g) for g in genes] for n, genes in each.items()} for each in found.pop("genes")]
        self.weights, self.genes = weights, genes
        for name, value in found.items():
            setattr(self, name, value)

    def callback(self, folder: str | os.PathLike | None = None) -> Any:
        """Return a Keras callback that records, in a folder too, where an interrupted search finds it again."""
        return _Recording(self, None if folder is None else Path(folder))


class _Recording(keras.callbacks.Callback):
    def __init__(self, record: SearchRecord, folder: Path | None) -> None:
        super().__init__()
        self.record, self.folder, self._first = record, folder, True

    def on_epoch_begin(self, epoch, logs=None):
        """At the start of a search or of the rest of one, take over or begin the record."""
        if not self._first:
            return
        self._first = False
        if self.folder is not None and epoch and (self.folder / _FILE).exists():
            self.record.read_json((self.folder / _FILE).read_text())
            self.record.cut(epoch, self.params.get("steps") or 0)
        if not self.record.weights:
            self.record.add()

    def on_train_batch_end(self, batch, logs=None):
        """Record what the schedule looked at."""
        self.record.add_step(logs or {})

    def on_epoch_end(self, epoch, logs=None):
        """Record the weights, and show what they are like."""
        self.record.add()
        if logs is not None and "val_loss" in logs:
            self.record.validation.append(float(logs["val_loss"]))
        if logs is not None:
            logs["entropy"], logs["skips"] = self.record.entropy[-1], float(self.record.skips[-1])
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / f"new-{_FILE}"
            temporary.write_text(self.record.to_json())
            os.replace(temporary, self.folder / _FILE)


def mean_entropy(weights: np.ndarray) -> float:
    """Return the mean entropy of the rows of weights, each scaled to sum to 1, in nats; rows of zeros are left out.

    >>> round(mean_entropy(np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]])), 4)
    0.3466
    """
    sums = weights.sum(axis=1, keepdims=True)
    shares = weights[sums[:, 0] > 0] / sums[sums[:, 0] > 0]
    if not len(shares):
        return 0.0
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logs).sum(axis=1).mean())
