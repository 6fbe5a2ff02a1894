"""DARTS cells of one Keras layer for each operation, to compare `DartsCell` with."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.layers import DartsCell
from keras_struct.nas.cells import STAGES, Path

L = keras.layers


class UnfusedCell(keras.layers.Layer):
    """Computes what a `DartsCell` does, operation by operation as the paper lists them.

    Args:
        cell: The cell; its weights are taken over when both are built.
    """

    def __init__(self, cell: DartsCell, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._fused = lambda: cell  # not a layer inside this one
        self.affine, self.channels = cell.affine, cell.channels
        self.preprocess = [
            Halving(cell.channels, self._norm()) if cell.after_reduction else self._projection(),
            self._projection(),
        ]
        self.operations = [self._operation(path) for path in cell.paths]
        self.norms = [self._norm() for _ in range(cell.nodes)] if cell.wiring.normalized_nodes else None

    @property
    def cell(self) -> DartsCell:
        """The fused cell."""
        return self._fused()

    def _norm(self) -> Any:
        return L.BatchNormalization(momentum=0.9, epsilon=1e-5, center=self.affine, scale=self.affine)

    def _projection(self) -> Any:
        return keras.Sequential([L.ReLU(), L.Conv2D(self.channels, 1, use_bias=False), self._norm()])

    def _operation(self, path: Path) -> Any:
        stride, name = self.cell.wiring.stride(path), path.operation
        if name == "skip_connect":
            return Halving(self.channels, self._norm()) if stride == 2 else L.Identity()
        if name in STAGES:
            size, dilation, stages = int(name[-1]), 2 if name.startswith("dil") else 1, STAGES[name]
            return keras.Sequential(
                [
                    layer
                    for i in range(stages)
                    for layer in (
                        L.ReLU(),
                        L.ZeroPadding2D(dilation * (size // 2)),
                        L.DepthwiseConv2D(size, dilation_rate=dilation, use_bias=False),
                        Subsampling(stride if i == 0 else 1),
                        L.Conv2D(self.channels, 1, use_bias=False),
                        self._norm(),
                    )
                ]
            )
        kind = L.MaxPooling2D if name == "max_pool_3x3" else L.AveragePooling2D
        layers = [kind(3, 1, padding="same"), Subsampling(stride)]
        return keras.Sequential([*layers, self._norm()] if self.cell.wiring.normalized_pools else layers)

    def call(self, inputs, training=False):
        """Run the nodes one after another."""
        states = [layer(x, training=training) for layer, x in zip(self.preprocess, inputs[:2], strict=True)]
        for node in range(self.cell.nodes):
            total = 0
            for path, operation in zip(self.cell.paths, self.operations, strict=True):
                if path.target == 2 + node:
                    y = operation(states[path.source], training=training)
                    weights = inputs[2] if self.cell.weighted else None
                    column = self.cell.operations.index(path.operation)
                    total = total + (y if weights is None else y * weights[path.edge, column])
            states.append(self.norms[node](total, training=training) if self.norms else total)
        return keras.ops.concatenate([states[state] for state in self.cell.concat], axis=-1)

    def take_weights(self) -> None:
        """Take over the kernels, scales and shifts of the cell."""
        cell, read = self.cell, keras.ops.convert_to_numpy
        for i, layer in enumerate(self.preprocess):
            kernel = read(getattr(cell, f"preprocess_{i}"))
            _set(
                layer,
                list(kernel[0]) if i == 0 and cell.after_reduction else [kernel[0]],
                self._scales([("preprocess", i)]),
            )
        for i, (path, operation) in enumerate(zip(cell.paths, self.operations, strict=True)):
            places = cell.wiring.weighted(path.operation)
            if i not in places:
                continue
            at, name, stages = places.index(i), path.operation, STAGES.get(path.operation, 1)
            scales = self._scales([(*cell.wiring.keys[i], stage) for stage in range(stages)])
            if name == "skip_connect":
                _set(operation, list(read(cell.skip_connect_pointwise)[at]), scales)
                continue
            depthwise, pointwise = (read(getattr(cell, f"{name}_{part}"))[at] for part in ("depthwise", "pointwise"))
            _set(operation, [k for pair in zip(depthwise, pointwise, strict=True) for k in pair], scales)

    def _scales(self, keys: list[Any]) -> list[Any]:
        if not self.affine:
            return []
        rows = [self.cell.wiring.rows[key] for key in keys]
        gamma, beta = (keras.ops.convert_to_numpy(part) for part in (self.cell.gamma, self.cell.beta))
        return [part[row] for row in rows for part in (gamma, beta)]


class Halving(keras.layers.Layer):
    """ReLU, two convolutions of stride 2, one of them shifted by a pixel, side by side."""

    def __init__(self, channels: int, norm: Any) -> None:
        super().__init__()
        self.halves = [L.Conv2D(channels // 2, 1, 2, use_bias=False) for _ in range(2)]
        self.norm = norm

    def call(self, x, training=False):
        """Halve resolution."""
        x = keras.ops.relu(x)
        parts = [self.halves[0](x), self.halves[1](x[:, 1:, 1:])]
        return self.norm(keras.ops.concatenate(parts, axis=-1), training=training)


class Subsampling(keras.layers.Layer):
    """Every second place: a window of stride 1 there is one of stride 2."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def call(self, x):
        """Leave places out."""
        return x[:, :: self.stride, :: self.stride]


def _set(layer: Any, kernels: list[Any], scales: list[Any]) -> None:
    """Assign kernels and scales in the order in which a layer made them."""
    weights = layer.trainable_weights
    kinds = {4: list(kernels), 1: list(scales)}
    for weight in weights:
        value = kinds[len(weight.shape)].pop(0)
        if len(weight.shape) == 4:
            value = value.reshape(weight.shape)
        weight.assign(value)


def unfused_supernet(supernet: Any) -> keras.Model:
    """Return a network that computes what a supernet does, one Keras layer for each operation, with the same weights.

    Args:
        supernet: What `applications.darts_supernet` returns.
    """
    cells: list[UnfusedCell] = []

    def clone(layer: Any) -> Any:
        if isinstance(layer, DartsCell):
            cells.append(UnfusedCell(layer, name=layer.name))
            return cells[-1]
        return type(layer).from_config(layer.get_config())

    made = keras.models.clone_model(keras.Model(supernet.input, supernet.output), clone_function=clone)
    for layer in made.layers:
        if layer.weights and not isinstance(layer, UnfusedCell):
            layer.set_weights(supernet.get_layer(layer.name).get_weights())
    for cell in cells:
        cell.take_weights()
    return made
