"""Searched layers as stock ones, once a choice has been made."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.export.forms import PlainForm, no_plain_form, register_plain_form
from keras_struct.nas.architecture import ArchitectureWeights
from keras_struct.nas.cell_normalization import EPSILON, MOMENTUM
from keras_struct.nas.cells import POOLS, STAGES, Key, Path
from keras_struct.nas.darts_cell import DartsCell
from keras_struct.nas.darts_rnn import DartsRNN
from keras_struct.nas.darts_rnn_cell import DartsRNNCell
from keras_struct.nas.mixed_op import MixedOp

L = keras.layers


def plain_searched(layer: Any) -> Any:
    """Return a stock layer, or a model of stock layers, that computes the same with the same weights.

    Raises:
        ValueError: If nothing has been chosen yet, or there is no stock layer for it.
    """
    if isinstance(layer, ArchitectureWeights):
        return L.Identity(name=layer.name)  # nothing looks at it after a choice
    if isinstance(layer, DartsCell | DartsRNN | MixedOp) and layer.weighted:
        raise ValueError(
            f"Layer '{layer.name}' still mixes operations, which no stock layer does. Choose first: model.choose()."
        )
    if isinstance(layer, MixedOp):
        return _chosen(layer)
    if isinstance(layer, DartsCell):
        return _Unfolded(layer).model
    raise ValueError(no_plain_form(layer))


def _inputs(layer: Any) -> list[Any]:
    """Inputs like those of a layer; weights of operations, which are not read any more, as their makers' inputs."""
    tensors = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
    found = []
    for tensor in tensors:
        maker = internals.made_by(tensor)[0]
        like = maker.input if isinstance(maker, ArchitectureWeights) else tensor
        found.append(keras.Input(batch_shape=like.shape, dtype=like.dtype))
    return found


def _chosen(layer: MixedOp) -> Any:
    operation = layer.operations[str(layer.chosen)]
    copy = type(operation).from_config(operation.get_config())
    inputs = _inputs(layer)
    model = keras.Model(inputs if layer.shared else inputs[0], copy(inputs[0]), name=layer.name)
    copy.set_weights([np.array(weight) for weight in operation.get_weights()])
    return model


class _Unfolded:
    """A discrete cell, operation by operation.

    Args:
        cell: The cell.
    """

    def __init__(self, cell: DartsCell) -> None:
        self.cell, self.states = cell, []
        inputs = _inputs(cell)
        for i, x in enumerate(inputs[:2]):
            kernel = _array(getattr(cell, f"preprocess_{i}"))
            if i == 0 and cell.after_reduction:
                self.states.append(self._halved(x, kernel[0], ("preprocess", 0)))
            else:
                x = self._pointwise(L.ReLU()(x), kernel[0])
                self.states.append(self._normalized(x, ("preprocess", i)))
        for node in range(cell.nodes):
            parts = [self._path(i, path) for i, path in enumerate(cell.paths) if path.target == 2 + node]
            if not parts:
                raise ValueError(f"Node {node} of '{cell.name}' reads nothing: such a cell has no stock layers.")
            total = parts[0] if len(parts) == 1 else L.Add()(parts)
            self.states.append(self._normalized(total, ("node", node)) if cell.wiring.normalized_nodes else total)
        outputs = [self.states[state] for state in cell.concat]
        self.model = keras.Model(inputs, L.Concatenate()(outputs) if len(outputs) > 1 else outputs[0], name=cell.name)

    def _path(self, place: int, path: Path) -> Any:
        cell, name, x = self.cell, path.operation, self.states[path.source]
        stride, key = cell.wiring.stride(path), cell.wiring.keys[place]
        if name in POOLS:
            kind = L.MaxPooling2D if name == "max_pool_3x3" else L.AveragePooling2D
            x = _thinned(kind(3, 1, padding="same")(x), stride)
            return self._normalized(x, (name, path.source)) if cell.wiring.normalized_pools else x
        if name == "skip_connect" and stride == 1:
            return x
        at = cell.wiring.weighted(name).index(place)
        if name == "skip_connect":
            return self._halved(x, _array(cell.skip_connect_pointwise)[at], (*key, 0))
        if name == "conv_7x1_1x7":
            kernels = _array(cell.conv_7x1_1x7_kernel)[at]
            x = L.ZeroPadding2D((0, 3))(L.ReLU()(x))
            x = _set(L.Conv2D(cell.channels, (1, 7), (1, stride), use_bias=False), x, kernels[0][None])
            x = L.ZeroPadding2D((3, 0))(x)
            x = _set(L.Conv2D(cell.channels, (7, 1), (stride, 1), use_bias=False), x, kernels[1][:, None])
            return self._normalized(x, (*key, 0))
        depthwise, pointwise = (_array(getattr(cell, f"{name}_{part}"))[at] for part in ("depthwise", "pointwise"))
        size, dilation = int(name[-1]), 2 if name.startswith("dil") else 1
        for stage in range(STAGES[name]):
            x = L.ZeroPadding2D(dilation * (size // 2))(L.ReLU()(x))
            convolution = L.DepthwiseConv2D(size, dilation_rate=dilation, use_bias=False)
            x = _thinned(_set(convolution, x, depthwise[stage][..., None]), 1 if stage else stride)
            x = self._normalized(self._pointwise(x, pointwise[stage]), (*key, stage))
        return x

    def _pointwise(self, x: Any, kernel: np.ndarray, stride: int = 1) -> Any:
        return _set(L.Conv2D(kernel.shape[-1], 1, stride, use_bias=False), x, kernel[None, None])

    def _halved(self, x: Any, kernels: np.ndarray, key: Key) -> Any:
        """Even places for one half of the channels, odd ones for the other."""
        x = L.ReLU()(x)
        odd = L.Cropping2D(((1, 0), (1, 0)))(x)
        halves = [self._pointwise(part, kernel, 2) for part, kernel in zip((x, odd), kernels, strict=True)]
        return self._normalized(L.Concatenate()(halves), key)

    def _normalized(self, x: Any, key: Key) -> Any:
        cell = self.cell
        row, names = cell.wiring.rows[key], ("gamma", "beta") if cell.affine else ()
        layer = L.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, center=cell.affine, scale=cell.affine)
        y = layer(x)
        for name in (*names, "moving_mean", "moving_variance"):
            getattr(layer, name).assign(_array(getattr(cell, name))[row])
        return y


def _array(weight: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(weight))


def _set(layer: Any, x: Any, kernel: np.ndarray) -> Any:
    """Call a layer that has a kernel only, and give it one."""
    y = layer(x)
    layer.set_weights([kernel])
    return y


def _thinned(x: Any, stride: int) -> Any:
    """Every second place: a window of stride 1 there is one of stride 2."""
    return x if stride == 1 else L.MaxPooling2D(1, stride)(x)


for kind in (ArchitectureWeights, DartsCell, DartsRNN, DartsRNNCell, MixedOp):
    register_plain_form(kind, PlainForm(plain_searched, complete=True))
