"""Neurons that fire together wire together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

import numpy as np

from keras_struct.core.structure.arrays import Bools, Floats
from keras_struct.core.structure.targets import EditTarget
from keras_struct.policies.strategy import steps_between
from keras_struct.sparse.coactivation import Coactivation
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.measurements import ConnectionMeasurement
from keras_struct.sparse.strategy import Rewiring

BINS = 50
"""Into how many parts [0, 1] is divided to remember how shares are distributed."""


class ActiveConnections(EditTarget):
    """Connections of masked layers of which it is known when their ends are active, as what a strategy works on."""


class Edges(EditTarget):
    """Edges between neurons of one layer, of which it is known when they are active, as what a strategy works on."""


class HebbianState(TypedDict):
    """What strategies of this kind have seen.

    Attributes:
        history: A row `[step, layer, added, removed]` for each layer at each evaluation.
        shares: For each layer, at the first and the last evaluation, how the shares of pairs that are active and that are silent
            together were distributed.
    """

    history: list[list[int | str]]
    shares: dict[str, dict[str, dict[str, list[int]]]]


@dataclass(frozen=True)
class Hebbian(Rewiring[HebbianState]):
    """Base of strategies that look at which neurons are active, and which are silent, together.

    Args:
        epsilon: ε: two neurons act together if they do in more than a share of 1 - ε of the samples.
        every: Gradient steps between two evaluations; 469 are an epoch of MNIST with batches of 128.
        warmup: Gradient steps before looks begin; the first one is at step `warmup + every`.
        samples: How many recent inputs are looked at, where `compile` is given no `probe`.
        value: Weight of a connection that is added: `"stored"`, the one that the layer has for it (what it was, with
            `dormant="kept"`, what it has become, with `dormant="training"`, else zero); `"zero"`; `"fresh"`, drawn from the
            uniform distribution of Glorot and Bengio.
        seed: For fresh weights.
    """

    epsilon: float = 0.25
    every: int = 469
    warmup: int = 938
    samples: int = 10_000
    value: Literal["stored", "zero", "fresh"] = "stored"
    seed: int = 0

    needs_inputs = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.epsilon < 1:
            raise ValueError(
                f"`epsilon` must be between 0 and 1, such as 0.25: pairs act together in more than a share of 1 - epsilon of the "
                f"samples. Received: epsilon={self.epsilon!r}"
            )
        if self.every < 1 or self.warmup < 0 or self.samples < 1:
            raise ValueError(
                "Expected every >= 1, warmup >= 0 and samples >= 1. Received: "
                f"every={self.every}, warmup={self.warmup}, samples={self.samples}"
            )
        if self.value not in ("stored", "zero", "fresh"):
            raise ValueError(f"`value` must be 'stored', 'zero' or 'fresh'. Received: value={self.value!r}")

    def init(self, measurements: Mapping[str, ConnectionMeasurement]) -> HebbianState:
        """State to start from: nothing has been seen."""
        return {"history": [], "shares": {}}

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether it is time for an evaluation."""
        return any(s > self.warmup and (s - self.warmup) % self.every == 0 for s in steps_between(step, since))

    def propose(
        self,
        step: int,
        measurements: Mapping[str, ConnectionMeasurement],
        state: HebbianState,
        since: int | None = None,
    ) -> tuple[list[Rewire], HebbianState]:
        """Return the edits to make now, and the history; see `Rewiring.propose`."""
        rng, edits = np.random.default_rng((self.seed, step)), list[Rewire]()
        history, shares = list(state["history"]), dict(state["shares"])
        for name, measured in measurements.items():
            seen = self.look(measured)
            added, removed = self.changes(measured, seen)
            history.append([step, name, int(added.sum()), int(removed.sum())])
            now = _distribution(seen, measured.possible)
            shares[name] = {"first": shares.get(name, {}).get("first", now), "last": now}
            if added.any() or removed.any():
                edits.append(Rewire(name, (measured.mask & ~removed) | added, self._values(measured, rng)))
        return edits, {"history": history, "shares": shares}

    def look(self, measured: ConnectionMeasurement) -> Coactivation:
        """Return the `Coactivation` of a layer's connections."""
        return measured.activity()

    @abstractmethod
    def changes(self, measured: ConnectionMeasurement, seen: Coactivation) -> tuple[Bools, Bools]:
        """Return which connections to add and which to remove, in the shape of the kernel.

        Args:
            measured: `ConnectionMeasurement` of a layer.
            seen: Its `Coactivation`.
        """

    def _values(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats | None:
        shape = measured.mask.shape
        if self.value == "fresh":
            field = int(np.prod(shape[:-2]))
            limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
            return rng.uniform(-limit, limit, shape)
        return np.zeros(shape) if self.value == "zero" else None


@dataclass(frozen=True)
class FreeEvolve(Hebbian):
    """Add edges between neurons of a `FreeNet` that fire together, remove those between neurons that are silent together.

    Aug = (NCAM > 1 - ε) ∧ ¬G below the diagonal, Prune = (NCIM > 1 - ε) ∧ G, and the new graph is G without Prune, with Aug. The
    shares are those of the probe's samples, or of recent training inputs.

    Args:
        epsilon: ε: pairs act together if they do in more than a share of 1 - ε of the samples.
        every: Gradient steps between two evaluations; 469 are an epoch of MNIST with batches of 128.
        warmup: Gradient steps before looks begin; the first one is at step `warmup + every`.
        samples: How many recent inputs are looked at, where `compile` is given no `probe`.
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
        >>> strategy = FreeEvolve(epsilon=0.25, every=469, warmup=938)
    """

    works_on: ClassVar[type[EditTarget]] = Edges

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there are edges to edit.

        Raises:
            ValueError: If the model has no FreeNet, or one of `layers` is none.
        """
        if not targets:
            raise ValueError(
                "FreeEvolve edits edges of FreeNet layers, and the model has none. Put a FreeNet(neurons) into it, or use "
                "Synaptogenesis for masked Dense and Conv2D layers."
            )
        if unknown := [name for name in self.layers or () if name not in targets]:
            raise ValueError(f"FreeEvolve cannot edit layers {unknown}: FreeNets are {sorted(targets)}.")

    def changes(self, measured: ConnectionMeasurement, seen: Coactivation) -> tuple[Bools, Bools]:
        """Return which edges to add and which to remove."""
        return free_evolve(measured.mask, seen.together, seen.silent, self.epsilon, measured.possible)


@dataclass(frozen=True)
class Synaptogenesis(Hebbian):
    """Add connections between units that fire together to any masked layer, as `FreeEvolve` adds edges.

    In a `MaskedDense` layer, a connection leads from one entry of its input to one of its units; in a `MaskedConv2D`, from an
    entry of the patch that a filter sees at a position, and each position of each sample counts. In a `FreeNet` connections lead
    from any neuron to any later one: embed a dense network with `FreeNet.from_model`, and units of layers that are not
    neighbours are wired together.

    Args:
        epsilon: ε: a connection is added where both ends are active in more than a share of 1 - ε of the samples.
        every: Gradient steps between two evaluations.
        warmup: Gradient steps before looks begin; the first one is at step `warmup + every`.
        samples: How many recent inputs are looked at, where `compile` is given no `probe`.
        value: Weight of a connection that is added; see `Hebbian`.
        seed: For fresh weights.
        threshold: Above which value an end is active whose activation has no clear zero, such as the inputs of the model. Without
            it, layers with such an end are left out.
        prune: Whether connections go whose ends are both silent in more than a share of 1 - ε of the samples, as well.
        max_density: Share of its possible connections that a layer has at the most; those that are together most often come
            first.
        layers: Names of the layers to work on; by default all masked ones of which it is known when their ends are active.

    Raises:
        ValueError: If a number is out of range, `value` unknown, or a layer has no mask or an end of which it is not known when
            it is active.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, sections 3.2 and 3.3. Maile, Luga, Wilson,
        *Structural Learning in Artificial Neural Networks: A Neural Operator Perspective*, TMLR 2022 (synaptogenesis).

    Examples:
        >>> strategy = Synaptogenesis(epsilon=0.3, every=100, warmup=200, max_density=0.5)
    """

    threshold: float | None = None
    prune: bool = False
    max_density: float = 1.0

    works_on: ClassVar[type[EditTarget]] = ActiveConnections

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_density <= 1:
            raise ValueError(f"`max_density` must be above 0 and at most 1. Received: max_density={self.max_density}")

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there are connections to edit.

        Raises:
            ValueError: If there is no masked layer, one of `layers` is not masked, or it is not known when its ends are active.
        """
        if reasons := [locked[name] for name in self.layers or () if name in locked]:
            raise ValueError(f"Synaptogenesis cannot edit what it was asked to. {reasons[0]}")
        if not targets and locked:
            raise ValueError(f"Synaptogenesis has no layer to edit. {next(iter(locked.values()))}")
        super().check(targets, locked)

    def look(self, measured: ConnectionMeasurement) -> Coactivation:
        """Return the `Coactivation` of a layer's connections."""
        return measured.activity(self.threshold)

    def changes(self, measured: ConnectionMeasurement, seen: Coactivation) -> tuple[Bools, Bools]:
        """Return which connections to add and which to remove."""
        added, removed = free_evolve(measured.mask, seen.together, seen.silent, self.epsilon, measured.possible)
        if not self.prune or not (added | measured.mask & ~removed).any():  # a layer keeps some
            removed = np.zeros_like(removed)
        room = int(self.max_density * measured.size) - int((measured.mask & ~removed).sum())
        if added.sum() > room:
            order = np.argsort(np.where(added, -seen.together, np.inf), axis=None, kind="stable")
            added = np.zeros_like(added)
            added.flat[order[: max(0, room)]] = True
        return added, removed


def free_evolve(
    edges: Bools, together: Floats, silent: Floats, epsilon: float, possible: Bools | None = None
) -> tuple[Bools, Bools]:
    """Return which edges to add, and which to remove (Table 1 and Algorithm 2).

    Args:
        edges: The graph, `(neurons, neurons)`, `True` at (later, earlier); or connections in the shape of a kernel.
        together: NCAM.
        silent: NCIM.
        epsilon: ε.
        possible: Which edges there could be; by default those from earlier to later neurons.

    Returns:
        Two matrices of booleans; no edge is in both.
    """
    if possible is None:
        possible = np.tril(np.ones_like(edges, bool), -1)
    return (together > 1 - epsilon) & ~edges & possible, (silent > 1 - epsilon) & edges


def _distribution(seen: Coactivation, possible: Bools) -> dict[str, list[int]]:
    """How many pairs have which share of samples together."""
    parts = {"active": seen.together, "silent": seen.silent}
    return {name: np.histogram(part[possible], BINS, (0, 1))[0].tolist() for name, part in parts.items()}


def converged(state: HebbianState) -> bool:
    """Whether the last evaluation changed nothing in any layer."""
    history = state.get("history", [])
    last = [entry for entry in history if entry[0] == history[-1][0]]
    return bool(last) and not any(added or removed for _, _, added, removed in last)
