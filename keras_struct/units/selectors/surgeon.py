"""Remove units and let the others make up for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from keras_struct.core.structure.arrays import Floats
from keras_struct.core.structure.edits import Resize, Values, prune
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.threads import threads_for
from keras_struct.policies.selector import Selector, check_count
from keras_struct.units.selectors.redundancy import damped


@final
@dataclass(frozen=True)
class OptimalBrainSurgeon(Selector):
    """Units whose removal disturbs the layers behind least, whose outgoing weights the others take over.

    The squared error of the sums in the layers that read the units, XW, has the Hessian G = HᵀH/n for each column of W, with
    the post-activations H. Without unit q, the best of all outgoing weights for the others are W - G⁻¹e_q w_q / [G⁻¹]_qq, at
    the cost of |w_q|² / [G⁻¹]_qq. Units go one after the other, and G⁻¹ follows each.

    Args:
        compensate: Whether the others take over; otherwise units are only chosen in this way.

    References:
        Hassibi, Stork, Wolff, *Optimal Brain Surgeon and General Network Pruning*, 1993; Dong, Chen, Pan, *Learning to Prune
        Deep Neural Networks via Layer-wise Optimal Brain Surgeon*, NeurIPS 2017.

    Differs from the latter, which removes single weights. Exact where a dense layer, or a convolution of size 1, reads the
    units; behind larger convolutions, pooling or `Flatten` G is taken to be the same at all positions. Biases stay.
    """

    compensate: bool = True

    needs_inputs: ClassVar[bool] = True

    def scores(self, measured: AxisMeasurement) -> Floats:
        """Return the cost of each unit by itself."""
        with threads_for(measured.units):
            inverse = np.linalg.inv(damped(measured.gram()))
        return sum(fan.norms**2 for fan in measured.fan_out()) / np.diagonal(inverse)

    def __call__(self, measured: AxisMeasurement, count: int) -> list[int]:
        """Return the units in the order in which they go."""
        return self._operate(measured, count)[0]

    def propose(self, measured: AxisMeasurement, count: int) -> Resize:
        """Return the edit that removes `count` units and changes the outgoing weights of the others."""
        gone, weights = self._operate(measured, count)
        edit = prune(measured.axis, measured.units, gone)
        if not self.compensate:
            return edit
        shift = {}
        for fan, new in zip(measured.fan_out(), weights, strict=True):
            kept = list(edit.source)
            shift[fan.key] = fan.expand(
                (new - fan.weights.reshape(len(new), -1))[kept].reshape(-1, *fan.weights.shape[1:])
            )
        return Resize(edit.axis, edit.source, edit.values, Values(shift))

    def _operate(self, measured: AxisMeasurement, count: int) -> tuple[list[int], list[Floats]]:
        check_count(measured, count)
        with threads_for(measured.units):
            inverse = np.linalg.inv(damped(measured.gram()))
        fans = measured.fan_out()
        weights: list[Floats] = [fan.weights.reshape(measured.units, -1).astype(np.float64) for fan in fans]
        gone: list[int] = []
        for _ in range(count):
            costs = sum((part**2).sum(axis=1) for part in weights) / np.diagonal(inverse).clip(
                np.finfo(np.float64).tiny
            )
            costs[gone] = np.inf
            unit = int(np.argmin(costs))
            gone.append(unit)
            column, pivot = inverse[:, unit].copy(), inverse[unit, unit]
            for part in weights:
                part -= np.outer(column / pivot, part[unit])
                part[gone] = 0.0
            inverse -= np.outer(column, column) / pivot
        return gone, weights
