"""What one forward and backward pass over a training batch tells about every axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import pi, prod, sqrt
from typing import Any

import keras
import numpy as np

from keras_struct.backend import current
from keras_struct.probes.interpreter import run
from keras_struct.probes.responses import linear_response
from keras_struct.probes.virtual import Reader, VirtualUnits, readers_of

SKETCHES = 16
"""Random combinations of columns that bound a matrix's largest singular value, wrongly once in 2 ** 16 times."""
COLUMNS = 256
"""How many virtual units are differentiated at a time."""


class GradientSweep:
    """One forward and backward pass over a batch, in inference mode, made when the first gradient is asked for.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        loss: Takes inputs, targets, outputs and sample weights; returns the mean loss.
        batch: Inputs, targets and sample weights (or `None`) of a batch.
        axes: Names of the axes.
    """

    def __init__(self, probe: Any, loss: Callable, batch: tuple[Any, Any, Any], axes: Sequence[str]) -> None:
        self.probe, self.loss, self.axes = probe, loss, tuple(axes)
        inputs, targets, weights = batch
        self.inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        wanted = (targets,) if weights is None else (targets, weights)
        self.wanted = keras.tree.map_structure(keras.ops.convert_to_tensor, wanted)
        self._auxiliary: dict[tuple[str, bool], np.ndarray] = {}

    @cached_property
    def readers(self) -> dict[str, list[Reader]]:
        """Calls that read the units of each axis."""
        return {axis: readers_of(self.probe, axis) for axis in self.axes}

    @cached_property
    def base(self) -> dict[str, Any]:
        """Tensors around each axis: inputs of its first layer, gradients at its readers, squared norms, sketches."""
        sketches = [sketch for axis in self.axes for sketch in self._sketches(axis)]
        key = ("gradients", self.axes, len(self.wanted))
        return self.probe.compute(key, self._base, self.inputs, *keras.tree.flatten(self.wanted), *sketches)

    def _sketches(self, axis: str) -> list[Any]:
        """Random outgoing weights (normal), one array for each reader."""
        rng = np.random.default_rng(0)
        drawn = [rng.standard_normal((SKETCHES, *reader.shape)).astype("float32") for reader in self.readers[axis]]
        return [keras.ops.convert_to_tensor(part) for part in drawn]

    def _base(self, inputs: Any, *flat: Any) -> dict[str, Any]:
        targets, weights = self._unflattened(list(flat))
        graph = self.probe.network.graph
        firsts = {axis: self.probe.first_call(axis) for axis in self.axes}
        reading = {axis: [reader.call for reader in self.readers[axis]] for axis in self.axes}
        seen = {call: str(i) for i, call in enumerate({*firsts.values(), *(c for r in reading.values() for c in r)})}
        entering = {call.inputs[0] for call in seen}

        def loss(watch: Callable, inputs: Any) -> tuple[Any, Any]:
            wanted = {*graph.output_numbers, *entering}
            see = lambda call, sums: watch(seen[call], sums)  # noqa: E731
            found = run(self.probe.network, inputs, wanted, see=see, seen=seen)
            value = self.loss(inputs, targets, self.probe.packed([found[n] for n in graph.output_numbers]), weights)
            return value, {n: found[n] for n in entering}

        gradients, tensors = current().gradients(loss, inputs)
        result: dict[str, Any] = {}
        sketches = iter(flat[len(flat) - sum(map(len, self.readers.values())) :])
        for axis, first in firsts.items():
            result[f"{axis}/entering"] = tensors[first.inputs[0]]
            own = self._kernel_squares(first.layer, tensors[first.inputs[0]], gradients[seen[first]], -1)
            result[f"{axis}/in"] = own
            for i, reader in enumerate(self.readers[axis]):
                arriving = gradients[seen[reader.call]]
                result[f"{axis}/arriving/{i}"] = arriving
                result[f"{axis}/out/{i}"] = self._kernel_squares(
                    reader.call.layer, tensors[reader.call.inputs[0]], arriving, reader.port.axis
                )
            units = VirtualUnits(self.probe, axis, self.readers[axis], linear=True)
            entering_here = tensors[first.inputs[0]]
            outgoing = [next(sketches) for _ in self.readers[axis]]
            arriving_here = [result[f"{axis}/arriving/{i}"] for i in range(len(outgoing))]
            found = units.fan_in_gradients(entering_here, arriving_here, outgoing)
            result[f"{axis}/sketch"] = keras.ops.sum(keras.ops.square(keras.ops.reshape(found, (-1, SKETCHES))), axis=0)
        return result

    def _unflattened(self, flat: list[Any]) -> tuple[Any, Any]:
        count = len(keras.tree.flatten(self.wanted))
        packed = keras.tree.pack_sequence_as(self.wanted, flat[:count])
        return packed if len(packed) == 2 else (packed[0], None)

    def _kernel_squares(self, layer: str, inputs: Any, arriving: Any, axis: int) -> Any:
        """Squared norm of the gradient of a layer's kernel, for each entry along one of its axes."""
        held = self.probe.network.layers[layer]
        kernel = keras.ops.stop_gradient(held.kernel)
        (found,) = current().vjp(
            lambda k: linear_response(held, inputs, k), [kernel], keras.ops.cast(arriving, kernel.dtype)
        )
        others = [i for i in range(len(found.shape)) if i != axis % len(found.shape)]
        return keras.ops.sum(keras.ops.square(found), axis=others)

    def norms(self, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean norms of the gradient of each unit's incoming and outgoing weights, `(M,)` each."""
        graph, width = self.probe.network.graph, self.probe.network.graph.units[axis].width
        port = next(p for p, rule in graph.ports(axis).items() if rule.role == "produce")
        incoming = np.zeros(width)
        _gather(incoming, graph.unit_along(port, axis), self._number(f"{axis}/in"))
        outgoing = np.zeros(width)
        for i, reader in enumerate(self.readers[axis]):
            _gather(outgoing, graph.unit_along(reader.port, axis), self._number(f"{axis}/out/{i}"))
        return np.sqrt(incoming), np.sqrt(outgoing)

    def bound(self, axis: str) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 2 ** 16 times at most."""
        return 2 * sqrt(2 / pi) * sqrt(float(self._number(f"{axis}/sketch").max()))

    def auxiliary(self, axis: str, linear: bool = True) -> np.ndarray:
        """The auxiliary gradient, `(fan_in, fan_out)` float64; see `AxisGradients.auxiliary`."""
        if (axis, linear) not in self._auxiliary:
            shapes = [reader.shape for reader in self.readers[axis]]
            total = sum(prod(shape) for shape in shapes)
            blocks = []
            for start in range(0, total, COLUMNS):
                basis = np.zeros((min(COLUMNS, total - start), total), np.float32)
                basis[np.arange(len(basis)), start + np.arange(len(basis))] = 1.0
                incoming, _ = self.virtual(axis, None, unflattened(basis, shapes), linear=linear)
                blocks.append(incoming.reshape(-1, len(basis)).astype(np.float64))
            self._auxiliary[axis, linear] = np.concatenate(blocks, axis=1)
        return self._auxiliary[axis, linear]

    def virtual(
        self,
        axis: str,
        fan_in: np.ndarray | None,
        fan_out: Sequence[np.ndarray],
        bias: np.ndarray | None = None,
        linear: bool = False,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of the loss by the incoming and outgoing weights of units that do not exist."""
        units = VirtualUnits(self.probe, axis, self.readers[axis], linear)
        count = len(fan_out[0])
        kernel = self.probe.network.layers[self.probe.first_call(axis).layer].kernel
        fan_in = np.zeros((*kernel.shape[:-1], count), "float32") if fan_in is None else fan_in
        bias = np.zeros(count, "float32") if bias is None else bias
        arrays = [keras.ops.convert_to_tensor(np.asarray(a, "float32")) for a in (fan_in, bias, *fan_out)]
        arriving = [self.base[f"{axis}/arriving/{i}"] for i in range(len(fan_out))]
        found = self.probe.compute(
            ("virtual", axis, linear),
            lambda x, *rest: units.gradients(*rest),
            self.inputs,
            self.base[f"{axis}/entering"],
            *arriving,
            *arrays,
        )
        first, *rest = (keras.ops.convert_to_numpy(part) for part in found)
        return first, rest

    def losses(self, axis: str, fan_in: np.ndarray, fan_out: Sequence[np.ndarray]) -> np.ndarray:
        """Loss of the batch with each of K units added by itself; shape `(K,)`, float64."""
        flat, found = keras.tree.flatten(self.wanted), []
        for k in range(fan_in.shape[-1]):
            arrays = [np.asarray(a, "float32") for a in (fan_in[..., k : k + 1], *(out[k : k + 1] for out in fan_out))]
            key = ("losses", axis, len(self.wanted))
            value = self.probe.compute(
                key, lambda x, *rest: self._loss_with(axis, x, *rest), self.inputs, *flat, *arrays
            )
            found.append(float(keras.ops.convert_to_numpy(value)))
        return np.array(found)

    def _loss_with(self, axis: str, inputs: Any, *rest: Any) -> Any:
        targets, weights = self._unflattened(list(rest))
        graph, readers = self.probe.network.graph, self.readers[axis]
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

    def _number(self, key: str) -> np.ndarray:
        return keras.ops.convert_to_numpy(self.base[key]).astype(np.float64)


class AxisGradients:
    """Gradients of the loss around one axis, on the last training batch and in inference mode.

    Args:
        sweep: Returns the `GradientSweep`.
        axis: Name of the axis.

    Raises:
        ValueError: When asked, if the loss, the batch or a layer around the axis does not allow it.
    """

    def __init__(self, sweep: Callable[[], GradientSweep], axis: str) -> None:
        self._sweep, self._axis = sweep, axis

    def norms(self) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean norms of the gradient of each unit's incoming (first layer) and outgoing weights, `(M,)` each."""
        return self._sweep().norms(self._axis)

    def bound(self) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 65536 times at most."""
        return self._sweep().bound(self._axis)

    def auxiliary(self, linear: bool = True) -> np.ndarray:
        """The auxiliary (bridging) gradient, shape `(fan_in, fan_out)`, float64.

        Args:
            linear: Leave out normalisation and activation of the units, as the equations do; otherwise these enter with
                their derivative at 0, so that it is the gradient that the units will have.

        Entry `(i, j)` is the derivative, by incoming weight `i`, of the loss with a linear unit whose only outgoing weight
        is a 1 at place `j`: the gradient of a zero layer that bridges the axis. Exact at borders, through pooling,
        strides and dilation, as it is differentiated and not composed.
        """
        return self._sweep().auxiliary(self._axis, linear)

    def virtual(
        self,
        fan_in: np.ndarray | None,
        fan_out: Sequence[np.ndarray],
        bias: np.ndarray | None = None,
        linear: bool = False,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of the loss by the weights of K units that do not exist, to first order in what they add.

        Args:
            fan_in: Incoming weights `(..., K)`; `None` for zeros.
            fan_out: Outgoing weights `(K, positions, ...)` for each layer that reads the axis, as in `FanOut.weights`.
            bias: Their biases, `(K,)`; zeros by default.
            linear: Leave out normalisation and activation.

        Returns:
            The gradients, of the shapes of `fan_in` and `fan_out`.
        """
        return self._sweep().virtual(self._axis, fan_in, fan_out, bias, linear)

    def losses(self, fan_in: np.ndarray, fan_out: Sequence[np.ndarray]) -> np.ndarray:
        """Loss of the batch with each of K units, given as for `virtual`, added by itself; shape `(K,)`, float64."""
        return self._sweep().losses(self._axis, fan_in, fan_out)


def unflattened(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Cut rows `(K, fan_out)` into outgoing weights `(K, *shape)` for each reader."""
    parts = np.split(rows, np.cumsum([prod(shape) for shape in shapes])[:-1], axis=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _gather(totals: np.ndarray, units: np.ndarray, values: np.ndarray) -> None:
    np.add.at(totals, units[units >= 0], values[units >= 0])
