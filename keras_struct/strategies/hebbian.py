"""Neurons that fire together wire together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from keras_struct.strategies.rewiring import Rewiring, steps_between
from keras_struct.structure.rewiring import Rewire


@dataclass(frozen=True)
class FreeEvolve(Rewiring):
    """Add edges between neurons of a `FreeNet` that fire together, remove those between neurons that are silent together.

    Aug = (NCAM > 1 - ε) ∧ ¬G below the diagonal, Prune = (NCIM > 1 - ε) ∧ G, G' = (G without Prune) and Aug, on the inputs of
    recent training batches.

    Args:
        epsilon: ε: pairs act together if they do in more than a share of 1 - ε of the samples.
        every: Gradient steps between two looks; 469 are an epoch of MNIST with batches of 128.
        warmup: Gradient steps before the first look.
        samples: How many recent inputs are looked at.
        value: Weight of an edge that is added: `"stored"`, the one that it had, for layers with `dormant="kept"`; `"zero"`;
            `"fresh"`, drawn from the uniform distribution of Glorot and Bengio.
        seed: For fresh weights.
        layers: Names of the layers to work on; all `FreeNet`s by default.

    Raises:
        ValueError: If a number is out of range, `value` unknown, or a layer is no `FreeNet`.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, Table 1 and Algorithm 2, with what it adds
        restricted to edges from earlier to later neurons, as acyclicity demands.

    Examples:
        >>> strategy = FreeEvolve(epsilon=0.05, every=469, warmup=938)
    """

    epsilon: float = 0.05
    every: int = 469
    warmup: int = 938
    samples: int = 10_000
    value: Literal["stored", "zero", "fresh"] = "stored"
    seed: int = 0

    works_on: ClassVar[str] = "edges"
    needs_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epsilon < 1:
            raise ValueError(
                f"`epsilon` must be between 0 and 1, such as 0.05: pairs act together in more than a share of 1 - epsilon of the "
                f"samples. Received: epsilon={self.epsilon}"
            )
        if self.every < 1 or self.warmup < 0 or self.samples < 1:
            raise ValueError(
                "Expected every >= 1, warmup >= 0 and samples >= 1. Received: "
                f"every={self.every}, warmup={self.warmup}, samples={self.samples}"
            )
        if self.value not in ("stored", "zero", "fresh"):
            raise ValueError(f"`value` must be 'stored', 'zero' or 'fresh'. Received: value={self.value!r}")

    def check(self, sites: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there are edges to edit.

        Raises:
            ValueError: If the model has no FreeNet, or one of `layers` is none.
        """
        if not sites:
            raise ValueError(
                "FreeEvolve edits edges of FreeNet layers, and the model has none. Put a FreeNet(neurons) into it."
            )
        if unknown := [name for name in self.layers or () if name not in sites]:
            raise ValueError(f"FreeEvolve cannot edit layers {unknown}: FreeNets are {sorted(sites)}.")

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether it is time for a look."""
        return any(s > self.warmup and (s - self.warmup) % self.every == 0 for s in steps_between(step, since))

    def propose(
        self, step: int, measurements: Mapping[str, Any], state: dict[str, Any], since: int | None = None
    ) -> tuple[list[Rewire], dict[str, Any]]:
        """Return the edits to make now, and the history; see `Rewiring.propose`."""
        rng, edits, history = np.random.default_rng((self.seed, step)), [], list(state.get("history", []))
        for name, measured in measurements.items():
            seen = measured.activity()
            if seen is None:
                continue
            added, pruned = free_evolve(measured.mask, seen.together, seen.silent, self.epsilon)
            history.append([step, name, int(added.sum()), int(pruned.sum())])
            if added.any() or pruned.any():
                edits.append(Rewire(name, (measured.mask & ~pruned) | added, self._values(measured, rng)))
        return edits, {"history": history}

    def _values(self, measured: Any, rng: np.random.Generator) -> np.ndarray | None:
        shape = measured.mask.shape
        if self.value == "fresh":
            limit = np.sqrt(6 / sum(shape))
            return rng.uniform(-limit, limit, shape)
        return np.zeros(shape) if self.value == "zero" else None


def free_evolve(
    edges: np.ndarray, together: np.ndarray, silent: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which edges to add, and which to remove (Table 1 and Algorithm 2).

    Args:
        edges: The graph, `(neurons, neurons)`, `True` at (later, earlier).
        together: NCAM.
        silent: NCIM.
        epsilon: ε.

    Returns:
        Two matrices of booleans; no edge is in both.
    """
    lower = np.tril(np.ones_like(edges, bool), -1)
    return (together > 1 - epsilon) & ~edges & lower, (silent > 1 - epsilon) & edges


def converged(state: Mapping[str, Any]) -> bool:
    """Whether the last look changed nothing in any layer."""
    history = state.get("history", [])
    last = [entry for entry in history if entry[0] == history[-1][0]]
    return bool(last) and not any(added or pruned for _, _, added, pruned in last)
