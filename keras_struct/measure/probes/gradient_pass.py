"""One forward and backward pass over a batch: what it tells about every axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.structure.rules import Port
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.probes.responses import linear_response
from keras_struct.measure.probes.virtual import Reader, VirtualUnits, readers_of

SKETCHES = 32
"""Random combinations of columns that bound a matrix's largest singular value."""


@dataclass(frozen=True)
class AxisSummary:
    """Small tensors that a pass leaves of one axis.

    Attributes:
        incoming: Squared gradient norms of the kernel of its first layer, for each entry along the axis of its units.
        outgoing: The same of the kernel of each reader, along the axis by which it reads them.
        sketch: Gram matrix of combinations of the columns, or rows, of the auxiliary gradient.
    """

    incoming: Any
    outgoing: tuple[Any, ...]
    sketch: Any


@dataclass(frozen=True)
class AxisTensors:
    """Large tensors that a pass leaves of one axis.

    Attributes:
        inputs: What enters its first layer.
        cotangents: Gradients of the loss before the activation of each reader.
    """

    inputs: Any
    cotangents: tuple[Any, ...]


class GradientPass:
    """One forward and backward pass over a batch, in inference mode, made when the first gradient is requested.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        loss: Takes inputs, targets, outputs and sample weights; returns the mean loss.
        batch: Inputs, targets and sample weights (or `None`) of a batch.
        axes: Names of the axes; those around which gradients cannot be computed are left out, and refused when requested.
    """

    def __init__(self, probe: Any, loss: Callable, batch: tuple[Any, Any, Any], axes: Sequence[str]) -> None:
        self.probe, self.loss, self._asked = probe, loss, tuple(axes)
        inputs, targets, weights = batch
        self.inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        wanted = (targets,) if weights is None else (targets, weights)
        self.wanted = keras.tree.map_structure(keras.ops.convert_to_tensor, wanted)

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

    def fan_in(self, axis: str) -> tuple[int, ...]:
        """Shape of the incoming weights of a unit in the first layer that makes it."""
        return self.probe.maker(axis).fan_in

    @cached_property
    def narrow(self) -> dict[str, Literal["rows", "columns"] | None]:
        """Which side of the auxiliary gradient of each axis is so short that a sketch would be no smaller."""
        return {axis: self._narrow(axis) for axis in self.axes}

    def _narrow(self, axis: str) -> Literal["rows", "columns"] | None:
        if sum(prod(reader.shape) for reader in self.readers(axis)) <= SKETCHES:
            return "columns"
        return "rows" if prod(self.fan_in(axis)) <= SKETCHES else None

    @cached_property
    def summaries(self) -> dict[str, AxisSummary]:
        """Squared gradient norms and sketches of each axis."""
        sketches = [sketch for axis in self.axes for sketch in self._sketches(axis)]
        found = self._compute("summaries", self._summaries_of, *sketches)
        return {axis: AxisSummary(*parts) for axis, parts in found.items()}

    @cached_property
    def tensors(self) -> dict[str, AxisTensors]:
        """Tensors around each axis."""
        found = self._compute("tensors", self._tensors_of)
        return {axis: AxisTensors(*parts) for axis, parts in found.items()}

    def _compute(self, what: str, function: Callable, *rest: Any) -> dict[str, tuple[Any, ...]]:
        key = ("gradients", what, self.axes, len(self.wanted), tuple(self.narrow.values()))
        return self.probe.compute(key, function, self.inputs, *keras.tree.flatten(self.wanted), *rest)

    def _sketches(self, axis: str) -> list[Any]:
        """Outgoing weights, one array for each reader, random ones (normal) if need be; or incoming ones."""
        readers, narrow, fan_in = self.readers(axis), self.narrow[axis], self.fan_in(axis)
        if narrow == "rows":
            return [keras.ops.convert_to_tensor(np.eye(prod(fan_in), dtype="float32").reshape(*fan_in, -1))]
        if narrow == "columns":
            shapes = [reader.shape for reader in readers]
            parts = unflattened(np.eye(sum(map(prod, shapes)), dtype="float32"), shapes)
            return [keras.ops.convert_to_tensor(part) for part in parts]
        return [_sketch(i, reader.shape) for i, reader in enumerate(readers)]

    def _differentiated(self, inputs: Any, *flat: Any) -> tuple[dict[Any, Any], dict[int, Any]]:
        """Gradients of the loss before the activation of each call around an axis, and the tensors that enter it."""
        targets, weights = self.targets_and_weights(flat)
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

    def targets_and_weights(self, flat: Sequence[Any]) -> tuple[Any, Any]:
        """Targets, and sample weights or `None`, from the tensors that a compiled function takes."""
        count = len(keras.tree.flatten(self.wanted))
        packed = keras.tree.pack_sequence_as(self.wanted, list(flat[:count]))
        return packed if len(packed) == 2 else (packed[0], None)

    def _tensors_of(self, inputs: Any, *flat: Any) -> dict[str, tuple[Any, ...]]:
        """By the axis, the fields of its `AxisTensors`: compiled functions return nothing but structures of tensors."""
        gradients, tensors = self._differentiated(inputs, *flat)
        result = {}
        for axis in self.axes:
            cotangents = tuple(gradients[reader.call] for reader in self.readers(axis))
            result[axis] = (tensors[self.probe.first_call(axis).inputs[0]], cotangents)
        return result

    def _summaries_of(self, inputs: Any, *flat: Any) -> dict[str, tuple[Any, ...]]:
        """By the axis, the fields of its `AxisSummary`."""
        gradients, tensors = self._differentiated(inputs, *flat)
        sketches = iter(flat[len(keras.tree.flatten(self.wanted)) :])
        result = {}
        for axis in self.axes:
            first, readers = self.probe.first_call(axis), self.readers(axis)
            entering, cotangents = tensors[first.inputs[0]], [gradients[reader.call] for reader in readers]
            outgoing = tuple(
                self._kernel_squares(reader.port, tensors[reader.call.inputs[0]], cotangent)
                for reader, cotangent in zip(readers, cotangents, strict=True)
            )
            incoming = self._kernel_squares(self.probe.made_first(axis), entering, gradients[first])
            needed = 1 if self.narrow[axis] == "rows" else len(readers)
            sketch = self._combined(axis, entering, cotangents, [next(sketches) for _ in range(needed)])
            result[axis] = (incoming, outgoing, keras.ops.transpose(sketch) @ sketch)
        return result

    def _combined(self, axis: str, entering: Any, cotangents: Sequence[Any], sketches: Sequence[Any]) -> Any:
        """Combinations of the rows or columns of the auxiliary gradient, side by side."""
        units = VirtualUnits(self.probe, axis, self.readers(axis), linear=True)
        if self.narrow[axis] == "rows":
            (directions,) = sketches
            count = keras.ops.shape(directions)[-1]
            found = units.transposed(entering, cotangents, directions)
            rows = keras.ops.concatenate([keras.ops.reshape(part, (count, -1)) for part in found], axis=1)
            return keras.ops.transpose(rows)
        found = units.fan_in_gradients(entering, cotangents, sketches)
        return keras.ops.reshape(found, (-1, keras.ops.shape(found)[-1]))

    def _kernel_squares(self, port: Port, inputs: Any, cotangent: Any) -> Any:
        """Squared norm of the gradient of a layer's kernel, for each entry along one of its axes."""
        held = self.probe.network.layers[port.layer]
        kernel = keras.ops.stop_gradient(self.probe.variable(port))
        (found,) = current().vjp(
            lambda k: linear_response(held, inputs, k), [kernel], keras.ops.cast(cotangent, kernel.dtype)
        )
        return keras.ops.sum(keras.ops.square(found), axis=[i for i in range(len(found.shape)) if i != port.axis])


@lru_cache(maxsize=64)
def _sketch(number: int, shape: tuple[int, ...]) -> Any:
    drawn = np.random.default_rng(number).standard_normal((SKETCHES, *shape))
    return keras.ops.convert_to_tensor(drawn.astype("float32"))


def unflattened(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Cut rows `(K, fan_out)` into outgoing weights `(K, *shape)` for each reader."""
    parts = np.split(rows, np.cumsum([prod(shape) for shape in shapes])[:-1], axis=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]
