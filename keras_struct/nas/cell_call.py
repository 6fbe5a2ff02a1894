"""What a DARTS cell computes: its nodes one after another, the operations that read a state together."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.nas import darts_operations as operations_of
from keras_struct.nas.cell_normalization import CellNormalization
from keras_struct.nas.cells import POOLS, STAGES


class CellCall:
    """One call of a cell.

    Args:
        cell: A built `DartsCell`.
        weights: Those of the operations on each edge, `(edges, operations)`; `None` in a discrete cell.
        training: Whether statistics are those of the batch, and paths are dropped.
    """

    def __init__(self, cell: Any, weights: Any, training: bool) -> None:
        self._cell, self._weights, self._training = cell, weights, training
        self._wiring = cell.wiring
        self._normalize = CellNormalization(cell, training)

    def __call__(self, first: Any, second: Any) -> Any:
        """Return the output, given those of the two cells before."""
        cell, count = self._cell, 2 + self._cell.nodes
        states = self._preprocessed(first, second)
        sums: list[list[Any]] = [[] for _ in range(count)]
        for source in range(count):
            if source >= 2:
                states.append(self._node(sums[source], source, states[0]))
            for targets, outputs in self._outputs(states[source], source).items():
                for target, output in zip(targets, outputs, strict=True):
                    sums[target].append(output)
        self._normalize.finish()
        return keras.ops.concatenate([states[state] for state in cell.concat], axis=-1)

    def _preprocessed(self, first: Any, second: Any) -> list[Any]:
        cell = self._cell
        first, second = keras.ops.relu(first), keras.ops.relu(second)
        kernel = cell.preprocess_0 + self._nothing()
        first = operations_of.factorized(first, kernel) if cell.after_reduction else _pointwise(first, kernel)
        second = _pointwise(second, cell.preprocess_1)
        return [self._normalize(first, ("preprocess", 0), 1), self._normalize(second, ("preprocess", 1), 1)]

    def _nothing(self) -> Any:
        """Zero, of which kernels that no path is left of have a gradient, as optimizers expect."""
        return sum(keras.ops.sum(weight) for weight in self._cell.trainable_weights if 0 in weight.shape)

    def _node(self, parts: list[Any], state: int, like: Any) -> Any:
        if not parts:
            zeros = keras.ops.zeros_like(like)
            return zeros[:, ::2, ::2] if self._cell.reduction else zeros
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return self._normalize(total, ("node", state - 2), 1) if self._wiring.normalized_nodes else total

    def _outputs(self, x: Any, source: int) -> dict[tuple[int, ...], list[Any]]:
        """What the operations that read a state add to later ones, for all operations with the same targets together."""
        reading = {name: places for name in self._cell.operations if (places := self._wiring.of(name, source))}
        convolving = any(self._has_weights(name, places) for name, places in reading.items())
        rectified = keras.ops.relu(x) if convolving else None
        found: dict[tuple[int, ...], Any] = {}
        for operation, places in reading.items():
            if self._has_weights(operation, places):
                y = self._convolved(rectified, operation, places)
            else:
                y = self._pooled(x, operation, source, self._stride(places))[:, :, :, None, :]
            y = self._mixed(self._dropped(y, operation, places), operation, places)
            targets = tuple(self._wiring.paths[i].target for i in places)
            found[targets] = y if targets not in found else found[targets] + y
        return {targets: _each(y, len(targets)) for targets, y in found.items()}

    def _stride(self, places: list[int]) -> int:
        return self._wiring.stride(self._wiring.paths[places[0]])

    def _has_weights(self, operation: str, places: list[int]) -> bool:
        return places[0] in self._wiring.weighted(operation)

    def _pooled(self, x: Any, operation: str, source: int, stride: int) -> Any:
        """What an operation without weights of its own makes of a state: the same for all paths."""
        if operation not in POOLS:
            return x
        y = operations_of.pooled(x, operation, stride)
        return self._normalize(y, (operation, source), 1) if self._wiring.normalized_pools else y

    def _convolved(self, x: Any, operation: str, places: list[int]) -> Any:
        """What an operation with weights makes of a state, `(batch, height, width, paths, channels)`."""
        start = self._wiring.weighted(operation).index(places[0])
        part, stride = slice(start, start + len(places)), self._stride(places)
        if operation in STAGES:
            y = self._separable(x, operation, part, places, stride)
        else:
            kernel, function = {
                "skip_connect": ("pointwise", operations_of.factorized),
                "conv_7x1_1x7": ("kernel", lambda x, kernels: operations_of.asymmetric(x, kernels, stride)),
            }[operation]
            y = function(x, getattr(self._cell, f"{operation}_{kernel}")[part])
            y = self._normalize(y, (*self._wiring.keys[places[0]], 0), len(places))
        return keras.ops.reshape(y, (-1, *keras.ops.shape(y)[1:3], len(places), self._cell.channels))

    def _separable(self, x: Any, operation: str, part: slice, places: list[int], stride: int) -> Any:
        key, count = self._wiring.keys[places[0]], len(places)
        depthwise, pointwise = (getattr(self._cell, f"{operation}_{kind}")[part] for kind in ("depthwise", "pointwise"))
        dilation = 2 if operation.startswith("dil") else 1
        y = operations_of.separable(x, depthwise[:, 0], pointwise[:, 0], stride, dilation)
        y = self._normalize(y, (*key, 0), count)
        if STAGES[operation] == 2:
            y = operations_of.separable_each(keras.ops.relu(y), depthwise[:, 1], pointwise[:, 1])
            y = self._normalize(y, (*key, 1), count)
        return y

    def _dropped(self, y: Any, operation: str, places: list[int]) -> Any:
        """Each path of each sample left out or strengthened, but for identities."""
        identity = operation == "skip_connect" and self._stride(places) == 1
        if not self._cell.drop_path or not self._training or identity:
            return y
        ops = keras.ops
        keep = 1 - ops.cast(self._cell.drop_rate, "float32")
        draws = keras.random.uniform((ops.shape(y)[0], 1, 1, len(places), 1), seed=self._cell.seeds)
        return y * ops.cast(ops.floor(draws + keep) / keep, y.dtype)

    def _mixed(self, y: Any, operation: str, places: list[int]) -> Any:
        """Each path by the weight of its operation on its edge, in a cell of a supernet."""
        if self._weights is None:
            return y
        column = self._cell.operations.index(operation)
        share = keras.ops.stack([self._weights[self._wiring.paths[i].edge, column] for i in places])
        return y * keras.ops.cast(share, y.dtype)[:, None]


def _pointwise(x: Any, kernel: Any) -> Any:
    return keras.ops.conv(x, kernel[0][None, None], 1, "same", "channels_last")


def _each(y: Any, count: int) -> list[Any]:
    """Summands for each target; one that is the same for all may stand for all."""
    if y.shape[3] == 1:
        return [y[:, :, :, 0]] * count
    return keras.ops.unstack(y, count, axis=3)
