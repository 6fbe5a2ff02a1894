"""Gradients of the loss on one training batch, around every axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import prod, sqrt
from typing import Any

import keras
import numpy as np

from keras_struct.measure.measurements.gradients import GradientNorms, UnitGradients
from keras_struct.measure.probes.gates import UnitGates
from keras_struct.measure.probes.gradient_pass import SKETCHES, GradientPass, unflattened
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.probes.virtual import Reader, VirtualUnits
from keras_struct.measure.statistics.threads import threads_for

LEAST_NORM = 2.96
"""Norm below which a vector of 32 normal numbers is once in 65536 times."""
ROUNDING = 1e-5
"""Relative error of a sum of many products in float32."""
COLUMNS = 256
"""How many virtual units are differentiated at a time."""


class GradientSweep:
    """Gradients on one batch, in inference mode: a `BatchGradients`.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        loss: Takes inputs, targets, outputs and sample weights; returns the mean loss.
        batch: Inputs, targets and sample weights (or `None`) of a batch.
        axes: Names of the axes; those around which gradients cannot be computed are left out, and refused when requested.
    """

    def __init__(self, probe: Any, loss: Callable, batch: tuple[Any, Any, Any], axes: Sequence[str]) -> None:
        self.probe, self.loss, self._made = probe, loss, GradientPass(probe, loss, batch, axes)
        self._auxiliary: dict[tuple[str, bool], np.ndarray] = {}

    @cached_property
    def _gates(self) -> UnitGates:
        return UnitGates(self.probe, self.loss, self._made.inputs, self._made.wanted)

    def readers(self, axis: str) -> list[Reader]:
        """Calls that read the units of an axis.

        Raises:
            AxisRefused: If gradients around it cannot be computed.
        """
        return self._made.readers(axis)

    def norms(self, axis: str) -> GradientNorms:
        """Euclidean norms of the gradient of each unit's incoming and outgoing weights, `(M,)` each."""
        readers, graph = self.readers(axis), self.probe.network.graph
        found, width = self._made.summaries[axis], graph.units[axis].width
        incoming, outgoing = np.zeros(width), np.zeros(width)
        _gather(incoming, graph.unit_along(self.probe.made_first(axis), axis), _numbers(found.incoming))
        for reader, squares in zip(readers, found.outgoing, strict=True):
            _gather(outgoing, graph.unit_along(reader.port, axis), _numbers(squares))
        return GradientNorms(np.sqrt(incoming), np.sqrt(outgoing))

    def bound(self, axis: str) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 65536 times at most.

        For normal Ω, the product of the first left singular vector with BΩ has the norm σ₁‖ω‖, so `σ₁ ≤ ‖BΩ‖ / ‖ω‖`. With
        no more rows or columns than Ω would have, it is the value itself but for rounding.
        """
        self.readers(axis)  # refuses the axis, if need be
        with threads_for(SKETCHES):
            largest = float(np.linalg.eigvalsh(_numbers(self._made.summaries[axis].sketch))[-1])
        return sqrt(max(largest, 0.0)) * (1 + ROUNDING) / (LEAST_NORM if self._made.narrow[axis] is None else 1.0)

    def auxiliary(self, axis: str, linear: bool = True) -> np.ndarray:
        """The auxiliary gradient, `(fan_in, fan_out)` float64; see `AxisGradients.auxiliary`."""
        if (axis, linear) not in self._auxiliary:
            shapes = [reader.shape for reader in self.readers(axis)]
            fan_in = self._made.fan_in(axis)
            total, rows = sum(prod(shape) for shape in shapes), prod(fan_in)
            if rows < total:
                blocks = [self._rows(axis, b.T.reshape(*fan_in, -1), linear) for b in _basis(rows)]
                self._auxiliary[axis, linear] = np.concatenate(blocks, axis=0)
            else:
                parts = (self.virtual(axis, None, unflattened(b, shapes), linear=linear).fan_in for b in _basis(total))
                blocks = [part.reshape(rows, -1).astype(np.float64) for part in parts]
                self._auxiliary[axis, linear] = np.concatenate(blocks, axis=1)
        return self._auxiliary[axis, linear]

    def _rows(self, axis: str, directions: np.ndarray, linear: bool) -> np.ndarray:
        """Combinations of rows of the auxiliary gradient."""
        units, around = VirtualUnits(self.probe, axis, self.readers(axis), linear), self._made.tensors[axis]
        found = self.probe.compute(
            ("transposed", axis, linear),
            lambda x, entering, directions, *cotangents: units.transposed(entering, cotangents, directions),
            self._made.inputs,
            around.inputs,
            keras.ops.convert_to_tensor(directions),
            *around.cotangents,
        )
        parts = [_numbers(part) for part in found]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def virtual(
        self,
        axis: str,
        fan_in: np.ndarray | None,
        fan_out: Sequence[np.ndarray],
        bias: np.ndarray | None = None,
        linear: bool = False,
    ) -> UnitGradients:
        """Gradients of the loss by the incoming and outgoing weights of units that do not exist."""
        units, around = VirtualUnits(self.probe, axis, self.readers(axis), linear), self._made.tensors[axis]
        fan_in = np.zeros((*self._made.fan_in(axis), len(fan_out[0])), "float32") if fan_in is None else fan_in
        bias = np.zeros(1, "float32") if bias is None else bias
        found = self.probe.compute(
            ("virtual", axis, linear),
            lambda x, *rest: units.gradients(*rest),
            self._made.inputs,
            around.inputs,
            *around.cotangents,
            *(keras.ops.convert_to_tensor(np.asarray(a, "float32")) for a in (fan_in, bias, *fan_out)),
        )
        first, *rest = (keras.ops.convert_to_numpy(part) for part in found)
        return UnitGradients(first, rest)

    def losses(self, axis: str, fan_in: np.ndarray, fan_out: Sequence[np.ndarray]) -> np.ndarray:
        """Loss of the batch with each of K units added by itself; shape `(K,)`, float64."""
        flat, found = keras.tree.flatten(self._made.wanted), []
        for k in range(fan_in.shape[-1]):
            arrays = [np.asarray(a, "float32") for a in (fan_in[..., k : k + 1], *(out[k : k + 1] for out in fan_out))]
            key = ("losses", axis, len(self._made.wanted))
            value = self.probe.compute(
                key, lambda x, *rest: self._loss_with(axis, x, *rest), self._made.inputs, *flat, *arrays
            )
            found.append(float(keras.ops.convert_to_numpy(value)))
        return np.array(found)

    def _loss_with(self, axis: str, inputs: Any, *rest: Any) -> Any:
        targets, weights = self._made.targets_and_weights(rest)
        graph, readers = self.probe.network.graph, self.readers(axis)
        fan_in, *fan_out = rest[len(rest) - len(readers) - 1 :]
        first = self.probe.first_call(axis)
        entering = run(self.probe.network, inputs, {first.inputs[0]})[first.inputs[0]]
        bias = keras.ops.zeros((1,), fan_in.dtype)
        added = VirtualUnits(self.probe, axis, readers).contributions(entering, fan_in, bias, fan_out)
        extra: dict[Any, Any] = {}
        for reader, part in zip(readers, added, strict=True):
            extra[reader.call] = extra[reader.call] + part if reader.call in extra else part
        see = lambda call, sums: sums + keras.ops.cast(extra[call], sums.dtype)  # noqa: E731
        found = run(self.probe.network, inputs, set(graph.output_numbers), see=see, seen=extra)
        return self.loss(inputs, targets, self.probe.packed([found[n] for n in graph.output_numbers]), weights)

    def gate_derivatives(self, axis: str) -> np.ndarray:
        """Derivative of each sample's loss by a factor on what is read of each unit; `(samples, M)` float64."""
        return self._gates.derivatives(axis)

    def losses_without(self, axis: str) -> np.ndarray:
        """Loss of the batch with each unit, by itself, silent; `(M,)` float64."""
        return self._gates.losses_without(axis)


def _numbers(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor).astype(np.float64)


def _basis(size: int) -> Iterator[np.ndarray]:
    """Rows of the identity matrix, some at a time."""
    for start in range(0, size, COLUMNS):
        rows = np.zeros((min(COLUMNS, size - start), size), np.float32)
        rows[np.arange(len(rows)), start + np.arange(len(rows))] = 1.0
        yield rows


def _gather(totals: np.ndarray, units: np.ndarray, values: np.ndarray) -> None:
    np.add.at(totals, units[units >= 0], values[units >= 0])
