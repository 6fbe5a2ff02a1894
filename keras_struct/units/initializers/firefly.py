"""Units chosen by gradient among divided and new ones (Firefly)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from keras_struct.core.structure.arrays import Floats, Ints
from keras_struct.core.structure.edits import Resize, Values
from keras_struct.core.structure.remap import NEW
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.measurements.gradients import UnitGradients
from keras_struct.policies.initializer import Initializer, join_rows, mean_fan_out_norm, random_fan_in, split_rows

POINTS = 3
"""Midpoints at which the derivative of a division is averaged: at 0 it vanishes."""


@dataclass(frozen=True)
class DivideOrAdd(Initializer):
    """The best of two kinds of candidates: existing units divided in two, and new ones (Firefly).

    A unit with incoming weights θ is divided into two with `θ ± εδ` and half the outgoing weights each; a new unit has
    random incoming weights and outgoing weights of size ε. The function changes a little.

    Args:
        keeps: `"gradient_norm"`, as the thesis has it: the candidates with the largest gradient norm over their own
            weights; or `"loss_decrease"`, as the Firefly paper: those whose predicted change of the loss is most negative,
            and none whose change is not, so that fewer units than requested may be added.
        epsilon: Size of δ and of new outgoing weights, in units of the mean norms of the existing units.
        candidates: How many new units to try beside the units to add; by default 1000 for dense and 100 for convolutional
            layers. Every existing unit is tried for division.
        steps: Steps of descent on the directions of the new candidates, with normalised gradients, before they are ranked.
        learning_rate: Size of such a step, in units of the mean norm of existing incoming weights.

    Raises:
        ValueError: If `keeps` is unknown.

    References:
        Wu, Liu, Stone, Liu, *Firefly Neural Architecture Descent: a General Approach for Growing Neural Networks*, NeurIPS
        2020; thesis section 6.2.2.

    Differs from the Firefly paper, which chooses among all layers at once (here the trigger says how many for each), trains
    the directions over an epoch, and also adds layers.
    """

    keeps: Literal["gradient_norm", "loss_decrease"] = "gradient_norm"
    epsilon: float = 1e-4
    candidates: int | None = None
    steps: int = 0
    learning_rate: float = 0.1

    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.keeps not in ("gradient_norm", "loss_decrease"):
            raise ValueError(f"`keeps` must be 'gradient_norm' or 'loss_decrease'. Received: keeps={self.keeps!r}")

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Return the values of `propose`."""
        edit = self.propose(measured, count, rng)
        return {} if edit is None else dict(edit.values)

    def propose(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Resize | None:
        """Return the edit that divides units and adds others, `count` together."""
        divided = _Divided(measured, self.epsilon, rng)
        new = _New(measured, self.epsilon, self._number(measured.kind) + count, rng)
        new.descend(self.steps, self.learning_rate)
        if self.keeps == "gradient_norm":
            scores = -np.concatenate([divided.gradient_norms(), new.gradient_norms()])
        else:
            scores = np.concatenate([divided.predicted_changes(), new.predicted_changes()])
        chosen = np.argsort(scores, kind="stable")[:count]
        if self.keeps == "loss_decrease":
            chosen = chosen[scores[chosen] < 0]
        if not len(chosen):
            return None
        units = measured.units
        return _edit(divided, new, chosen[chosen < units], chosen[chosen >= units] - units)

    def _number(self, kind: str) -> int:
        if self.candidates is not None:
            return self.candidates
        return 100 if kind == "conv" else 1000


class _Divided:
    """Every existing unit, divided in two."""

    def __init__(self, measured: AxisMeasurement, epsilon: float, rng: np.random.Generator) -> None:
        self.measured = measured
        self.weights = measured.fan_in[0].weights.astype(np.float64)
        noise = rng.uniform(-1.0, 1.0, self.weights.shape)
        norms = np.sqrt((noise**2).sum(axis=tuple(range(noise.ndim - 1))))
        self.noise = noise * (epsilon * measured.fan_in[0].norms.mean() / norms)
        self.halves = [fan.weights / 2 for fan in measured.fan_out()]

    def _gradients(self, factor: float) -> UnitGradients:
        """Gradients of one copy of each unit, at `factor` times the noise."""
        return self.measured.gradients.virtual(self.weights + factor * self.noise, self.halves, self.measured.bias())

    def gradient_norms(self) -> Floats:
        """Norm of the gradient of each copy's own weights."""
        return _norms(self._gradients(1.0))

    def predicted_changes(self) -> Floats:
        """Change of the loss by each division, to first order in the change of the outputs."""
        axes = tuple(range(self.noise.ndim - 1))
        slopes = np.zeros(self.noise.shape[-1])
        for point in range(1, POINTS + 1):
            at = (2 * point - 1) / (2 * POINTS)
            difference = self._gradients(at).fan_in.astype(np.float64) - self._gradients(-at).fan_in
            slopes += (difference * self.noise).sum(axis=axes) / POINTS
        return slopes


class _New:
    """New units with random incoming and small outgoing weights."""

    def __init__(self, measured: AxisMeasurement, epsilon: float, count: int, rng: np.random.Generator) -> None:
        self.measured = measured
        self.weights = random_fan_in(measured.fan_in[0].weights, count, rng)
        self.shapes = [fan.weights.shape[1:] for fan in measured.fan_out()]
        self.size = epsilon * mean_fan_out_norm(measured)
        self.rows = self._sized(rng.uniform(-1.0, 1.0, (count, sum(int(np.prod(shape)) for shape in self.shapes))))

    def _sized(self, rows: Floats) -> Floats:
        return rows * (self.size / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30))

    def _gradients(self) -> UnitGradients:
        return self.measured.gradients.virtual(self.weights, split_rows(self.rows, self.shapes))

    def gradient_norms(self) -> Floats:
        """Norm of the gradient of each unit's own weights."""
        return _norms(self._gradients())

    def predicted_changes(self) -> Floats:
        """Change of the loss by each unit, to first order in its outgoing weights."""
        return (join_rows(self._gradients().fan_out).astype(np.float64) * self.rows).sum(axis=1)

    def descend(self, steps: int, learning_rate: float) -> None:
        """Turn outgoing weights against their gradient, and move incoming ones down theirs, at their norms."""
        norm = float(self.measured.fan_in[0].norms.mean())
        for _ in range(steps):
            gradients = self._gradients()
            incoming = gradients.fan_in
            self.rows = self._sized(-join_rows(gradients.fan_out).astype(np.float64))
            axes = tuple(range(incoming.ndim - 1))
            lengths = np.maximum(np.sqrt((incoming.astype(np.float64) ** 2).sum(axis=axes)), 1e-30)
            moved = self.weights - learning_rate * norm * incoming / lengths
            self.weights = moved * (norm / np.maximum(np.sqrt((moved**2).sum(axis=axes)), 1e-30))


def _norms(gradients: UnitGradients) -> Floats:
    incoming = gradients.fan_in.astype(np.float64).reshape(-1, gradients.fan_in.shape[-1])
    return np.sqrt((incoming**2).sum(axis=0) + (join_rows(gradients.fan_out).astype(np.float64) ** 2).sum(axis=1))


def _edit(divided: _Divided, new: _New, copied: Ints, added: Ints) -> Resize:
    """The edit that divides the units `copied` and adds the candidates `added`."""
    measured, units = divided.measured, divided.measured.units
    first = measured.fan_in[0]
    shift = np.zeros((*first.weights.shape[:-1], units + len(copied) + len(added)))
    shift[..., copied] = divided.noise[..., copied]
    shift[..., units : units + len(copied)] = -divided.noise[..., copied]
    values = {}
    if len(added):
        parts = split_rows(new.rows[added], new.shapes)
        values = {first.key: first.expand(new.weights[..., added])}
        values |= {fan.key: fan.expand(part) for fan, part in zip(measured.fan_out(), parts, strict=True)}
    source = (*range(units), *copied.tolist(), *(NEW,) * len(added))
    return Resize(
        measured.axis, source, Values(values), Values({first.key: first.expand(shift)} if len(copied) else {})
    )
