"""What one forward and backward pass over a training batch tells about every axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from math import prod, sqrt
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.backend import current
from keras_struct.probes.gates import UnitGates
from keras_struct.probes.interpreter import run
from keras_struct.probes.responses import linear_response
from keras_struct.probes.virtual import Reader, VirtualUnits, readers_of
from keras_struct.statistics.threads import threads_for
from keras_struct.structure.refusal import AxisRefused
from keras_struct.structure.rules import Port

SKETCHES = 32
"""Random combinations of columns that bound a matrix's largest singular value."""
LEAST_NORM = 2.96
"""Norm below which a vector of 32 normal numbers is once in 65536 times."""
ROUNDING = 1e-5
"""Relative error of a sum of many products in float32."""
COLUMNS = 256
"""How many virtual units are differentiated at a time."""


class GradientSweep:
    """One forward and backward pass over a batch, in inference mode, made when the first gradient is asked for.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        loss: Takes inputs, targets, outputs and sample weights; returns the mean loss.
        batch: Inputs, targets and sample weights (or `None`) of a batch.
        axes: Names of the axes; those around which gradients cannot be computed are left out, and refused when asked for.
    """

    def __init__(self, probe: Any, loss: Callable, batch: tuple[Any, Any, Any], axes: Sequence[str]) -> None:
        self.probe, self.loss, self._asked = probe, loss, tuple(axes)
        inputs, targets, weights = batch
        self.inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        wanted = (targets,) if weights is None else (targets, weights)
        self.wanted = keras.tree.map_structure(keras.ops.convert_to_tensor, wanted)
        self._auxiliary: dict[tuple[str, bool], np.ndarray] = {}

    @cached_property
    def gates(self) -> UnitGates:
        """What factors on units do to the loss."""
        return UnitGates(self.probe, self.loss, self.inputs, self.wanted)

    @cached_property
    def _around_axes(self) -> tuple[dict[str, list[Reader]], dict[str, str]]:
        """Calls that read the units of each axis, and why it is not possible for others."""
        readers, refused = {}, {}
        for axis in self._asked:
            try:
                self.probe.maker(axis)
                readers[axis] = readers_of(self.probe, axis)
            except AxisRefused as error:
                refused[axis] = str(error)
        return readers, refused

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes around which gradients can be computed."""
        return tuple(self._around_axes[0])

    def readers(self, axis: str) -> list[Reader]:
        """Calls that read the units of an axis.

        Raises:
            AxisRefused: If gradients around it cannot be computed.
        """
        readers, refused = self._around_axes
        if axis in refused:
            raise AxisRefused(refused[axis])
        return readers[axis]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Squared gradient norms and sketches of each axis."""
        return self._pass(tensors=False)

    @cached_property
    def around(self) -> dict[str, Any]:
        """Tensors around each axis, large ones: inputs of its first layer, and gradients at its readers."""
        return self._pass(tensors=True)

    def _pass(self, tensors: bool) -> dict[str, Any]:
        sketches = [] if tensors else [sketch for axis in self.axes for sketch in self._sketches(axis)]
        key = ("gradients", self.axes, len(self.wanted), tensors, tuple(self.narrow.values()))
        look = self._around if tensors else self._summary
        return self.probe.compute(key, look, self.inputs, *keras.tree.flatten(self.wanted), *sketches)

    @cached_property
    def narrow(self) -> dict[str, Literal["rows", "columns"] | None]:
        """Which side of the auxiliary gradient of each axis is so short that a sketch would be no smaller."""
        return {axis: self._narrow(axis) for axis in self.axes}

    def _narrow(self, axis: str) -> Literal["rows", "columns"] | None:
        if sum(prod(reader.shape) for reader in self.readers(axis)) <= SKETCHES:
            return "columns"
        return "rows" if prod(self._fan_in(axis)) <= SKETCHES else None

    def _fan_in(self, axis: str) -> tuple[int, ...]:
        """Shape of the incoming weights of a unit in the first layer that makes it."""
        return self.probe.maker(axis).fan_in

    def _sketches(self, axis: str) -> list[Any]:
        """Outgoing weights, one array for each reader, random ones (normal) if need be; or incoming ones."""
        readers, narrow, fan_in = self.readers(axis), self.narrow[axis], self._fan_in(axis)
        if narrow == "rows":
            return [keras.ops.convert_to_tensor(np.eye(prod(fan_in), dtype="float32").reshape(*fan_in, -1))]
        if narrow == "columns":
            shapes = [reader.shape for reader in readers]
            parts = unflattened(np.eye(sum(map(prod, shapes)), dtype="float32"), shapes)
            return [keras.ops.convert_to_tensor(part) for part in parts]
        return [_sketch(i, reader.shape) for i, reader in enumerate(readers)]

    def _differentiated(self, inputs: Any, *flat: Any) -> tuple[dict[Any, Any], dict[int, Any]]:
        """Gradients of the loss before the activation of each call around an axis, and the tensors that enter it."""
        targets, weights = self._unflattened(list(flat))
        graph, calls = self.probe.network.graph, self._calls()
        entering = {call.inputs[0] for call in calls}

        def loss(watch: Callable, inputs: Any) -> tuple[Any, Any]:
            wanted = {*graph.output_numbers, *entering}
            see = lambda call, sums: watch(calls.index(call), sums)  # noqa: E731
            found = run(self.probe.network, inputs, wanted, see=see, seen=calls)
            value = self.loss(inputs, targets, self.probe.packed([found[n] for n in graph.output_numbers]), weights)
            return value, {n: found[n] for n in entering}

        gradients, tensors = current().gradients(loss, inputs)
        return {call: gradients[i] for i, call in enumerate(calls)}, tensors

    def _calls(self) -> list[Any]:
        """Calls that make or read units of an axis, each once."""
        firsts = [self.probe.first_call(axis) for axis in self.axes]
        return list(dict.fromkeys([*firsts, *(reader.call for axis in self.axes for reader in self.readers(axis))]))

    def _around(self, inputs: Any, *flat: Any) -> dict[str, Any]:
        gradients, tensors = self._differentiated(inputs, *flat)
        result: dict[str, Any] = {}
        for axis in self.axes:
            result[f"{axis}/entering"] = tensors[self.probe.first_call(axis).inputs[0]]
            for i, reader in enumerate(self.readers(axis)):
                result[f"{axis}/arriving/{i}"] = gradients[reader.call]
        return result

    def _summary(self, inputs: Any, *flat: Any) -> dict[str, Any]:
        gradients, tensors = self._differentiated(inputs, *flat)
        sketches = iter(flat[len(keras.tree.flatten(self.wanted)) :])
        result: dict[str, Any] = {}
        for axis in self.axes:
            first, readers = self.probe.first_call(axis), self.readers(axis)
            entering = tensors[first.inputs[0]]
            result[f"{axis}/in"] = self._kernel_squares(self.probe.made_first(axis), entering, gradients[first])
            for i, reader in enumerate(readers):
                read, arriving = tensors[reader.call.inputs[0]], gradients[reader.call]
                result[f"{axis}/out/{i}"] = self._kernel_squares(reader.port, read, arriving)
            units = VirtualUnits(self.probe, axis, readers, linear=True)
            arriving = [gradients[reader.call] for reader in readers]
            if self.narrow[axis] == "rows":
                directions = next(sketches)
                count = keras.ops.shape(directions)[-1]
                found = units.transposed(entering, arriving, directions)
                found = keras.ops.concatenate([keras.ops.reshape(part, (count, -1)) for part in found], axis=1)
                sketch = keras.ops.transpose(found)
            else:
                found = units.fan_in_gradients(entering, arriving, [next(sketches) for _ in readers])
                sketch = keras.ops.reshape(found, (-1, keras.ops.shape(found)[-1]))
            result[f"{axis}/sketch"] = keras.ops.transpose(sketch) @ sketch
        return result

    def _unflattened(self, flat: list[Any]) -> tuple[Any, Any]:
        count = len(keras.tree.flatten(self.wanted))
        packed = keras.tree.pack_sequence_as(self.wanted, flat[:count])
        return packed if len(packed) == 2 else (packed[0], None)

    def _kernel_squares(self, port: Port, inputs: Any, arriving: Any) -> Any:
        """Squared norm of the gradient of a layer's kernel, for each entry along one of its axes."""
        held = self.probe.network.layers[port.layer]
        kernel = keras.ops.stop_gradient(self.probe.variable(port))
        (found,) = current().vjp(
            lambda k: linear_response(held, inputs, k), [kernel], keras.ops.cast(arriving, kernel.dtype)
        )
        return keras.ops.sum(keras.ops.square(found), axis=[i for i in range(len(found.shape)) if i != port.axis])

    def norms(self, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean norms of the gradient of each unit's incoming and outgoing weights, `(M,)` each."""
        readers = self.readers(axis)
        graph, width = self.probe.network.graph, self.probe.network.graph.units[axis].width
        port = self.probe.made_first(axis)
        incoming = np.zeros(width)
        _gather(incoming, graph.unit_along(port, axis), self._number(f"{axis}/in"))
        outgoing = np.zeros(width)
        for i, reader in enumerate(readers):
            _gather(outgoing, graph.unit_along(reader.port, axis), self._number(f"{axis}/out/{i}"))
        return np.sqrt(incoming), np.sqrt(outgoing)

    def bound(self, axis: str) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 65536 times at most.

        For normal Ω, the product of the first left singular vector with BΩ has the norm σ₁‖ω‖, so `σ₁ ≤ ‖BΩ‖ / ‖ω‖`. With
        no more rows or columns than Ω would have, it is the value itself but for rounding.
        """
        self.readers(axis)  # refuses the axis, if need be
        with threads_for(SKETCHES):
            largest = float(np.linalg.eigvalsh(self._number(f"{axis}/sketch"))[-1])
        return sqrt(max(largest, 0.0)) * (1 + ROUNDING) / (LEAST_NORM if self.narrow[axis] is None else 1.0)

    def auxiliary(self, axis: str, linear: bool = True) -> np.ndarray:
        """The auxiliary gradient, `(fan_in, fan_out)` float64; see `AxisGradients.auxiliary`."""
        if (axis, linear) not in self._auxiliary:
            shapes = [reader.shape for reader in self.readers(axis)]
            fan_in = self._fan_in(axis)
            total, rows = sum(prod(shape) for shape in shapes), prod(fan_in)
            if rows < total:
                blocks = [self._rows(axis, b.T.reshape(*fan_in, -1), linear) for b in _basis(rows)]
                self._auxiliary[axis, linear] = np.concatenate(blocks, axis=0)
            else:
                parts = (self.virtual(axis, None, unflattened(b, shapes), linear=linear)[0] for b in _basis(total))
                blocks = [part.reshape(rows, -1).astype(np.float64) for part in parts]
                self._auxiliary[axis, linear] = np.concatenate(blocks, axis=1)
        return self._auxiliary[axis, linear]

    def _rows(self, axis: str, directions: np.ndarray, linear: bool) -> np.ndarray:
        """Combinations of rows of the auxiliary gradient."""
        units = VirtualUnits(self.probe, axis, self.readers(axis), linear)
        arriving = [self.around[f"{axis}/arriving/{i}"] for i in range(len(self.readers(axis)))]
        found = self.probe.compute(
            ("transposed", axis, linear),
            lambda x, entering, directions, *arriving: units.transposed(entering, arriving, directions),
            self.inputs,
            self.around[f"{axis}/entering"],
            keras.ops.convert_to_tensor(directions),
            *arriving,
        )
        parts = [keras.ops.convert_to_numpy(part).astype(np.float64) for part in found]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def virtual(
        self,
        axis: str,
        fan_in: np.ndarray | None,
        fan_out: Sequence[np.ndarray],
        bias: np.ndarray | None = None,
        linear: bool = False,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of the loss by the incoming and outgoing weights of units that do not exist."""
        units = VirtualUnits(self.probe, axis, self.readers(axis), linear)
        count = len(fan_out[0])
        fan_in = np.zeros((*self._fan_in(axis), count), "float32") if fan_in is None else fan_in
        bias = np.zeros(1, "float32") if bias is None else bias
        arrays = [keras.ops.convert_to_tensor(np.asarray(a, "float32")) for a in (fan_in, bias, *fan_out)]
        arriving = [self.around[f"{axis}/arriving/{i}"] for i in range(len(fan_out))]
        found = self.probe.compute(
            ("virtual", axis, linear),
            lambda x, *rest: units.gradients(*rest),
            self.inputs,
            self.around[f"{axis}/entering"],
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

    def _number(self, key: str) -> np.ndarray:
        return keras.ops.convert_to_numpy(self.summary[key]).astype(np.float64)


@lru_cache(maxsize=64)
def _sketch(number: int, shape: tuple[int, ...]) -> Any:
    drawn = np.random.default_rng(number).standard_normal((SKETCHES, *shape))
    return keras.ops.convert_to_tensor(drawn.astype("float32"))


def _basis(size: int) -> Iterator[np.ndarray]:
    """Rows of the identity matrix, some at a time."""
    for start in range(0, size, COLUMNS):
        rows = np.zeros((min(COLUMNS, size - start), size), np.float32)
        rows[np.arange(len(rows)), start + np.arange(len(rows))] = 1.0
        yield rows


def unflattened(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Cut rows `(K, fan_out)` into outgoing weights `(K, *shape)` for each reader."""
    parts = np.split(rows, np.cumsum([prod(shape) for shape in shapes])[:-1], axis=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _gather(totals: np.ndarray, units: np.ndarray, values: np.ndarray) -> None:
    np.add.at(totals, units[units >= 0], values[units >= 0])
