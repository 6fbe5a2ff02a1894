"""What one forward pass over the probe's inputs tells about every axis."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.backend import current
from keras_struct.probes.interpreter import run
from keras_struct.surgery.reading import channel_axis


class Sweep:
    """One forward pass over the probe's inputs, made when the first measurement is asked for.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        inputs: Inputs to measure on.
        axes: Names of the axes.
    """

    def __init__(self, probe: Any, inputs: Any, axes: tuple[str, ...]) -> None:
        self.probe, self.inputs, self.axes = probe, inputs, axes
        self._grams: dict[str, tuple[np.ndarray, int]] | None = None
        self._rows: dict[str, np.ndarray] = {}

    def measures(self, axis: str) -> dict[str, Any]:
        """The lazy parts of a measurement."""
        return {
            "gram": lambda: self.grams()[axis][0],
            "samples": lambda: self.grams()[axis][1],
            "candidates": lambda kernels: self.candidates(axis, kernels),
        }

    def grams(self) -> dict[str, tuple[np.ndarray, int]]:
        """Gram matrix and number of rows of every axis, from one forward pass."""
        if self._grams is None:
            found = self.probe.compute(("grams", self.axes), self._grams_of, self.inputs)
            self._grams = {}
            for axis, (rows, gram) in found.items():
                rows = keras.ops.convert_to_numpy(rows)
                if gram is None:
                    matrix = rows.astype(np.float64)
                    gram, rows = matrix.T @ matrix / len(matrix), len(matrix)
                columns, gram = self.probe.columns(axis), keras.ops.convert_to_numpy(gram)
                self._grams[axis] = (gram if columns is None else gram[np.ix_(columns, columns)], int(rows))
        return self._grams

    def _grams_of(self, inputs: Any) -> dict[str, tuple[Any, Any]]:
        numbers = {axis: self.probe.post_activation(axis) for axis in self.axes}
        tensors = run(self.probe.network, inputs, set(numbers.values()))
        return {axis: self._gram(axis, tensors[number]) for axis, number in numbers.items()}

    def _gram(self, axis: str, activations: Any) -> tuple[Any, Any]:
        rows = self._as_rows(axis, activations)
        if not current().DOUBLE:
            return rows, None
        rows = keras.ops.cast(rows, "float64")
        count = keras.ops.shape(rows)[0]
        return count, keras.ops.transpose(rows) @ rows / keras.ops.cast(count, "float64")

    def _as_rows(self, axis: str, activations: Any) -> Any:
        """Samples and positions along the first axis, units along the second."""
        layer = self.probe.network.layers[self.probe.first_call(axis).layer]
        rank = len(activations.shape)
        place = channel_axis(layer, rank - 1) + 1
        if place != rank - 1:
            activations = keras.ops.moveaxis(activations, place, -1)
        return activations if rank == 2 else keras.ops.reshape(activations, (-1, keras.ops.shape(activations)[-1]))

    def candidates(self, axis: str, kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products of candidate units with the existing ones, and their mean squares."""
        self.probe.prepare(axis)
        columns = self.probe.columns(axis)
        if kernels.ndim > self.probe.kernel_rank(axis):
            kernels = kernels[..., 0, :]
        found = self.probe.compute(
            ("candidates", axis),
            lambda x, k: self._candidates(axis, x, k),
            self.inputs,
            keras.ops.convert_to_tensor(kernels),
        )
        first, second = (keras.ops.convert_to_numpy(part).astype(np.float64) for part in found)
        if not current().DOUBLE:
            first, second = first.T @ second / len(second), (second**2).mean(axis=0)
        return (first if columns is None else first[columns]), second

    def _candidates(self, axis: str, inputs: Any, kernels: Any) -> tuple[Any, Any]:
        first = self.probe.first_call(axis)
        wanted = {first.inputs[0], self.probe.post_activation(axis)}
        tensors = run(self.probe.network, inputs, wanted)
        layer = self.probe.network.layers[first.layer]
        fresh = _respond(layer, tensors[first.inputs[0]], kernels)
        for call in self.probe.chain(axis):
            fresh = self.probe.follow(call, fresh)
        units = self._as_rows(axis, tensors[self.probe.post_activation(axis)])
        fresh = self._as_rows(axis, fresh)
        if not current().DOUBLE:
            return units, fresh
        units, fresh = keras.ops.cast(units, "float64"), keras.ops.cast(fresh, "float64")
        count = keras.ops.cast(keras.ops.shape(units)[0], "float64")
        return keras.ops.transpose(units) @ fresh / count, keras.ops.mean(fresh**2, axis=0)


def _respond(layer: Any, inputs: Any, kernels: Any) -> Any:
    """Post-activations of candidate units of a layer, without bias."""
    inputs = keras.ops.cast(inputs, kernels.dtype)
    if hasattr(layer, "convolution_op"):
        outputs = layer.convolution_op(inputs, kernels)
    elif isinstance(layer, keras.layers.Dense):
        outputs = keras.ops.matmul(inputs, kernels)
    else:
        raise ValueError(
            f"Cannot compute candidate units of layer '{layer.name}' ({type(layer).__name__}): expected a Dense or Conv "
            "layer. Use an initializer without candidates, such as RandomFanIn()."
        )
    return outputs if layer.activation is None else layer.activation(outputs)
