"""What one forward pass over the probe's inputs tells about every axis."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.measure.measurements.axis import AxisMeasurement, UnitActivity
from keras_struct.measure.probes.buffer import Pieces
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.probes.paths import shortcuts
from keras_struct.measure.probes.responses import computing, identity, unit_response
from keras_struct.measure.statistics.candidates import Border
from keras_struct.measure.statistics.orthogonality_gap import gap_of_gram

BLOCK = 512
"""How many rows are summed in float32."""


class Sweep:
    """One forward pass over the probe's inputs, made when the first measurement is requested.

    Args:
        probe: The `StructureProbe` that compiles and runs.
        inputs: Inputs to measure on.
        axes: Names of the axes.
        residual: Whether residual connections stay on.
    """

    def __init__(self, probe: Any, inputs: Any, axes: tuple[str, ...], residual: bool = True) -> None:
        self.probe, self.axes = probe, tuple(axis for axis in axes if probe.emits(axis))
        self.pieces = inputs if isinstance(inputs, Pieces) else Pieces([inputs])
        self._without = frozenset() if residual else shortcuts(probe.network)
        self._grams: dict[str, tuple[np.ndarray, int]] | None = None
        self._rows: dict[str, np.ndarray] = {}

    def added_to(self, measured: AxisMeasurement) -> AxisMeasurement:
        """A measurement with what this pass tells about its axis, computed when it is requested."""
        axis = measured.axis
        return replace(
            measured,
            gram=lambda: self.gram(axis),
            samples=lambda: self._moments(axis)[1],
            candidates=lambda kernels: self.candidates(axis, kernels),
            candidate_gradients=lambda *arrays: self.candidate_gradients(axis, *arrays),
            input_gram=lambda: self.input_gram(axis),
            activity=lambda: self.activity(axis),
            orthogonality_gap=lambda: self.orthogonality_gap(axis),
        )

    @cached_property
    def inputs(self) -> Any:
        """All inputs as one."""
        return self.pieces.joined()

    def gram(self, axis: str) -> np.ndarray:
        """Gram matrix of the post-activations of the units.

        Raises:
            AxisRefused: If the units stay inside their layer.
            ValueError: If activations are NaN or infinite, or there are none.
        """
        found, _ = self._moments(axis)
        if not np.isfinite(found).all():
            raise ValueError(
                f"Cannot measure axis '{axis}': activations of its units are NaN or infinite. Training may have diverged (a "
                "smaller learning rate or clipped gradients help), or the inputs hold NaN."
            )
        return found

    def _moments(self, axis: str) -> tuple[np.ndarray, int]:
        self.probe.first_call(axis)  # refuses units that stay inside their layer
        found = self.grams()[axis]
        if not found[1]:
            raise ValueError(f"Cannot measure axis '{axis}' on no samples: the inputs to measure on are empty.")
        return found

    def grams(self) -> dict[str, tuple[np.ndarray, int]]:
        """Gram matrix and number of rows of every axis, from one forward pass."""
        if self._grams is None:
            found = self._compute(("grams", self.axes), self._grams_of, tuple(self.pieces))
            self._grams = {axis: self._mean(axis, *parts) for axis, parts in found.items()}
        return self._grams

    def _mean(self, axis: str, count: Any, product: Any) -> tuple[np.ndarray, int]:
        """Gram matrix and number of rows."""
        if product is None:
            matrix = keras.ops.convert_to_numpy(count).astype(np.float64)
            count, product = len(matrix), matrix.T @ matrix
        columns, rows = self.probe.columns(axis), int(count)
        gram = keras.ops.convert_to_numpy(product) / max(1, rows)
        return (gram if columns is None else gram[np.ix_(columns, columns)]), rows

    def _grams_of(self, pieces: tuple[Any, ...]) -> dict[str, tuple[Any, Any]]:
        numbers = {axis: self.probe.post_activation(axis) for axis in self.axes}
        tensors = [self._run(inputs, set(numbers.values())) for inputs in pieces]
        found = {axis: [self._as_rows(axis, part[number]) for part in tensors] for axis, number in numbers.items()}
        spatial = {axis: len(tensors[0][number].shape) > 2 for axis, number in numbers.items()}
        return {axis: self._product(keras.ops.concatenate(parts), spatial[axis]) for axis, parts in found.items()}

    def _product(self, rows: Any, spatial: bool) -> tuple[Any, Any]:
        """Number of rows and HᵀH, or the rows themselves where the backend has no float64."""
        if not current().DOUBLE:
            return rows, None
        count = keras.ops.shape(rows)[0]
        if spatial:
            return count, _product_by_blocks(rows, rows, count)
        rows = keras.ops.cast(rows, "float64")
        return count, keras.ops.transpose(rows) @ rows

    def _as_rows(self, axis: str, activations: Any) -> Any:
        """Samples and positions along the first axis, units along the second; in float32 at least.

        Half precision is enough for activations, not for sums of their products.
        """
        rank = len(activations.shape)  # of ragged sequences their entries are rows
        labels = self.probe.network.graph.tensors[self.probe.first_call(axis).outputs[0]]
        place = labels.varies.index(True) + 1
        if place != rank - 1:
            activations = keras.ops.moveaxis(activations, place, -1)
        if keras.backend.standardize_dtype(activations.dtype) not in ("float32", "float64"):
            activations = keras.ops.cast(activations, "float32")
        activations = current().entries(activations)
        return (
            activations
            if len(activations.shape) == 2
            else keras.ops.reshape(activations, (-1, keras.ops.shape(activations)[-1]))
        )

    def candidates(self, axis: str, kernels: np.ndarray) -> Border:
        """Products of candidate units with the existing ones, and their mean squares."""
        columns = self.probe.columns(axis)
        found = self._compute(
            ("candidates", axis),
            lambda x, k: self._candidates(axis, x, k),
            self.inputs,
            keras.ops.convert_to_tensor(kernels),
        )
        first, second = (keras.ops.convert_to_numpy(part).astype(np.float64) for part in found)
        if not current().DOUBLE:
            first, second = first.T @ second / len(second), (second**2).mean(axis=0)
        return Border(first if columns is None else first[columns], second)

    def _candidates(self, axis: str, inputs: Any, kernels: Any) -> tuple[Any, Any]:
        units, entering = self._around(axis, inputs)
        fresh = self._responses(axis, entering, kernels)
        if not current().DOUBLE:
            return units, fresh
        count = keras.ops.shape(units)[0]
        rows = keras.ops.cast(count, "float64")
        return _product_by_blocks(units, fresh, count) / rows, _squares_by_blocks(fresh, count) / rows

    def candidate_gradients(self, axis: str, kernels: np.ndarray, existing: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Derivative, by candidates' incoming weights, of sums of their products with existing units and themselves.

        Args:
            axis: Name of the axis.
            kernels: Incoming weights `(..., K)`.
            existing: Factors of the mean products with the existing units, `(M, K)`.
            own: Factors of the mean squares, `(K,)`.

        Returns:
            Shape `(..., K)`: of `sum(existing * HᵀC / n) + sum(own * diag(CᵀC / n)) / 2` by the kernels.
        """
        if (columns := self.probe.columns(axis)) is not None:
            width = self._around_width(axis)
            spread = np.zeros((width, existing.shape[1]), existing.dtype)
            spread[columns] = existing
            existing = spread
        arrays = [keras.ops.convert_to_tensor(np.asarray(a, kernels.dtype)) for a in (kernels, existing, own)]
        found = self._compute(
            ("candidate gradients", axis), lambda x, *rest: self._pull(axis, x, *rest), self.inputs, *arrays
        )
        return keras.ops.convert_to_numpy(found)

    def _around_width(self, axis: str) -> int:
        labels = self.probe.network.graph.tensors[self.probe.post_activation(axis)]
        return next(e for e, varies in zip(labels.shape, labels.varies, strict=True) if varies)

    def _pull(self, axis: str, inputs: Any, kernels: Any, existing: Any, own: Any) -> Any:
        units, entering = self._around(axis, inputs)
        fresh = self._responses(axis, entering, kernels)
        count = keras.ops.cast(keras.ops.shape(units)[0], fresh.dtype)
        cotangent = (keras.ops.cast(units, fresh.dtype) @ existing + fresh * own) / count
        (found,) = current().vjp(
            lambda k: self._responses(axis, entering, k), [kernels], keras.ops.cast(cotangent, fresh.dtype)
        )
        return found

    def _responses(self, axis: str, entering: Any, kernels: Any) -> Any:
        """Post-activations of candidates as rows; of those with several places the first, as of the units that there are."""
        return self._as_rows(axis, self.probe.evaluate_candidates(axis, entering, kernels))[
            :, : keras.ops.shape(kernels)[-1]
        ]

    def _around(self, axis: str, inputs: Any) -> tuple[Any, Any]:
        """Post-activations of the units of an axis, as rows, and what enters their layer."""
        entering, leaving = self.probe.first_call(axis).inputs[0], self.probe.post_activation(axis)
        tensors = self._run(inputs, {entering, leaving})
        return self._as_rows(axis, tensors[leaving]), tensors[entering]

    def input_gram(self, axis: str) -> np.ndarray:
        """Second moments of what enters a unit."""
        maker = self.probe.maker(axis)
        if maker.blocks > 1:
            raise AxisRefused(
                f"Cannot tell what enters the units of axis '{axis}': each of them has {maker.blocks} sums of inputs in layer "
                f"'{maker.call.layer}'. Use Select() or RandomFanIn(), or leave the axis out of `axes`."
            )
        plain = isinstance(computing(maker.layer), keras.layers.Dense)
        kernel = [] if plain else [keras.ops.convert_to_tensor(identity(maker.fan_in))]
        found = self._compute(("inputs", axis), lambda x, *k: self._input_gram(axis, x, *k), self.inputs, *kernel)
        found = keras.ops.convert_to_numpy(found).astype(np.float64)
        return found if current().DOUBLE else found.T @ found / len(found)

    def _input_gram(self, axis: str, inputs: Any, *kernel: Any) -> Any:
        maker = self.probe.maker(axis)
        entering = self._run(inputs, {maker.call.inputs[0]})[maker.call.inputs[0]]
        for copying in kernel:
            entering = unit_response(maker.layer, entering, copying, maker.port.axis, maker.rank)
        rows = self._as_rows(axis, keras.ops.convert_to_tensor(entering, sparse=False))
        if not current().DOUBLE:
            return rows
        rows = keras.ops.cast(rows, "float64")
        return keras.ops.transpose(rows) @ rows / keras.ops.cast(keras.ops.shape(rows)[0], "float64")

    def activity(self, axis: str) -> UnitActivity:
        """Mean, mean magnitude and share of zeros of the post-activations of each unit."""
        found = self._compute(("activity", axis), lambda x: self._activity(axis, x), self.inputs)
        parts = [keras.ops.convert_to_numpy(part).astype(np.float64) for part in found]
        columns = self.probe.columns(axis)
        return UnitActivity(*(parts if columns is None else [part[columns] for part in parts]))

    def _activity(self, axis: str, inputs: Any) -> list[Any]:
        number = self.probe.post_activation(axis)
        rows = self._as_rows(axis, self._run(inputs, {number})[number])
        parts = (rows, keras.ops.abs(rows), keras.ops.cast(keras.ops.equal(rows, 0), rows.dtype))
        return [keras.ops.mean(part, axis=0) for part in parts]

    def orthogonality_gap(self, axis: str) -> float:
        """The measure of equation 29, in which a sample of a convolution has one entry a channel and position."""
        number = self.probe.post_activation(axis)
        if len(self.probe.network.graph.tensors[number].shape) == 1:
            return gap_of_gram(*self._moments(axis))
        found = self._compute(("samples", axis), lambda x: self._sample_gram(number, x), self.inputs)
        by_sample = keras.ops.convert_to_numpy(found).astype(np.float64)
        return gap_of_gram(by_sample, len(by_sample))

    def _sample_gram(self, number: int, inputs: Any) -> Any:
        tensor = keras.ops.convert_to_tensor(self._run(inputs, {number})[number], ragged=False)
        rows = keras.ops.reshape(tensor, (keras.ops.shape(tensor)[0], -1))
        rows = keras.ops.cast(rows, "float64" if current().DOUBLE else "float32")
        return rows @ keras.ops.transpose(rows)

    def _run(self, inputs: Any, wanted: set[int]) -> dict[int, Any]:
        return run(self.probe.network, inputs, wanted, self._without)

    def _compute(self, key: tuple[Any, ...], function: Any, *args: Any) -> Any:
        return self.probe.compute((*key, bool(self._without)), function, *args)


def _product_by_blocks(left: Any, right: Any, count: Any) -> Any:
    """LᵀR of many rows: sums of 512 in float32, those in float64.

    Its error is about 1e-8 of the largest eigenvalue of such a product; to convert all activations would take longer than
    to compute them.
    """
    (left, left_rest), (right, right_rest) = (_blocks(rows, count) for rows in (left, right))
    products = keras.ops.matmul(keras.ops.transpose(left, (0, 2, 1)), right)
    rest = keras.ops.transpose(keras.ops.cast(left_rest, "float64")) @ keras.ops.cast(right_rest, "float64")
    return keras.ops.sum(keras.ops.cast(products, "float64"), axis=0) + rest


def _squares_by_blocks(rows: Any, count: Any) -> Any:
    """Sums of the squares of many rows, likewise."""
    parts = [keras.ops.sum(keras.ops.square(part), axis=-2) for part in _blocks(rows, count)]
    return keras.ops.sum(keras.ops.cast(parts[0], "float64"), axis=0) + keras.ops.cast(parts[1], "float64")


def _blocks(rows: Any, count: Any) -> tuple[Any, Any]:
    """Rows in blocks `(blocks, 512, columns)`, and what is left over."""
    whole = count // BLOCK
    return keras.ops.reshape(rows[: whole * BLOCK], (whole, BLOCK, keras.ops.shape(rows)[1])), rows[whole * BLOCK :]
