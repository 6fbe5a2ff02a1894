"""Units that take a step down the gradient by themselves (NeST)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.initializer import (
    Initializer,
    mean_fan_out_norm,
    outgoing,
    random_fan_in,
    split_rows,
    to_mean_norm,
)


@dataclass(frozen=True)
class Bridge(Initializer):
    """Units that connect the pairs of inputs and outputs whose bridging connection has the largest gradient (NeST).

    For the bridging gradient G = ∂L/∂z_{l+1} h_{l−1}ᵀ and its entries G_mn among the largest `keep` of all, a unit gets
    `w_out[m] += δ` and `w_in[n] += −sgn(G_mn) δ` with `δ = ±√|G_mn|` and a random sign, so that on average `w_out w_in`
    points along −G. Units differ in their signs. Both sides are then scaled to the norm of the existing units. The function
    changes: to first order the loss falls on average.

    Convolutions get, of random candidates, those that lower the loss most, each added by itself.

    Args:
        keep: Share of the entries of G that are bridged, the largest ones.
        scale: Norm of the incoming and of the outgoing weights, in units of the mean norms of the existing ones.
        candidates: How many candidates to draw beside the units to add, for convolutions.

    Raises:
        ValueError: If `keep` is not in (0, 1].

    References:
        Dai, Yin, Jha, *NeST: A Neural Network Synthesis Tool Based on a Grow-and-Prune Paradigm*, IEEE Transactions on
        Computers 2019; thesis section 6.2.2.

    Differs from the code of Maile et al., which keeps the entries above the quantile 0.4, and leaves out the sign of G.
    """

    keep: float = 0.4
    scale: float = 1.0
    candidates: int = 100

    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"`keep` is a share, above 0 and at most 1. Received: keep={self.keep}")

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Return incoming and outgoing weights."""
        choose = self._chosen if measured.kind == "conv" else self._bridging
        incoming, rows = choose(measured, count, rng)
        first = measured.fan_in[0]
        return {first.key: first.expand(incoming)} | outgoing(measured, rows, self.scale)

    def _bridging(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        gradient = measured.gradients.auxiliary()
        kept = np.abs(gradient) >= np.quantile(np.abs(gradient), 1 - self.keep)
        roots = np.where(kept, np.sqrt(np.abs(gradient)), 0.0)
        deltas = roots * rng.choice([-1.0, 1.0], size=(count, *gradient.shape))
        weights = measured.fan_in[0].weights
        incoming = -(deltas * np.sign(gradient)).sum(axis=2).T.reshape(*weights.shape[:-1], count)
        return self.scale * to_mean_norm(incoming, weights), deltas.sum(axis=1)

    def _chosen(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        number = self.candidates + count
        incoming = self.scale * random_fan_in(measured.fan_in[0].weights, number, rng)
        shapes = [fan.weights.shape[1:] for fan in measured.fan_out()]
        rows = rng.standard_normal((number, sum(int(np.prod(shape)) for shape in shapes)))
        rows *= self.scale * mean_fan_out_norm(measured) / np.linalg.norm(rows, axis=1, keepdims=True)
        losses = measured.gradients.losses(incoming, split_rows(rows, shapes))
        best = np.argsort(losses, kind="stable")[:count]
        return incoming[..., best], rows[best]
