"""Write a plan into a model and its optimizer: all of it, or nothing."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.backend import current
from keras_struct.backend import keras_internals as internals
from keras_struct.structure.labels import UnitLabels
from keras_struct.surgery.plan import Plan
from keras_struct.surgery.trace import Network


def commit(network: Network, plan: Plan) -> bool:
    """Carry out a plan. If anything fails, everything is put back as it was and the error is raised again.

    Args:
        network: The network that the plan was made for; it has the new graph afterwards.
        plan: What to write.

    Returns:
        Whether compiled steps must be traced anew.
    """
    backend = current()
    written: list[tuple[Any, Any]] = []
    sizes = [(layer, attribute, getattr(layer, attribute)) for layer, attribute, _ in plan.sizes]
    graph, stale = network.graph, False
    try:
        for variable, old, value in plan.writes:
            written.append((variable, old))
            stale = backend.write(variable, value) or stale
        for layer, attribute, size in plan.sizes:
            setattr(layer, attribute, size)
        network.graph = plan.graph
        refresh(network)
    except BaseException:
        for variable, value in reversed(written):
            backend.write(variable, value)
        for layer, attribute, size in sizes:
            setattr(layer, attribute, size)
        network.graph = graph
        refresh(network)
        raise
    return stale


def refresh(network: Network) -> None:
    """Bring everything that Keras recorded about shapes in line with the graph."""
    changed = {number for number, labels in network.graph.tensors.items() if _set_shapes(network, number, labels)}
    for path, numbers in network.first_inputs.items():
        if not changed.isdisjoint(numbers):
            _refresh_layer(network, path, numbers)


def loosen(network: Network) -> None:
    """Let every layer accept any width along editable axes."""
    for path, numbers in network.first_inputs.items():
        _refresh_layer(network, path, numbers)


def _set_shapes(network: Network, number: int, labels: UnitLabels) -> bool:
    """Give the symbolic tensors of one number its present shape; returns whether any had another."""
    stale = [symbol for symbol in network.symbols.get(number, ()) if symbol.shape[1:] != labels.shape]
    for symbol in stale:
        internals.set_symbolic_shape(symbol, (symbol.shape[0], *labels.shape))
        internals.follow_input_shape(symbol)
    return bool(stale)


def _refresh_layer(network: Network, path: str, numbers: tuple[int, ...]) -> None:
    layer = network.layers[path]
    shapes = [tuple(network.symbols[number][0].shape) for number in numbers]
    recorded = internals.build_shapes(layer)
    if recorded and len(recorded) == 1 and shapes:
        single = not isinstance(next(iter(recorded.values())), list)
        internals.set_build_shape(layer, shapes[0] if single and len(shapes) == 1 else shapes)
    if isinstance(layer, keras.layers.Reshape):
        _refresh_reshape(network.graph.tensors[network.first_outputs[path][0]], layer)
    spec = getattr(layer, "input_spec", None)
    if isinstance(spec, keras.layers.InputSpec) and spec.axes and len(shapes) == 1:
        rank = len(shapes[0])
        axes = {axis: shapes[0][axis % rank] for axis in spec.axes}
        axes = {axis: extent for axis, extent in axes.items() if not _labelled(network, numbers[0], axis, rank)}
        layer.input_spec = keras.layers.InputSpec(ndim=spec.ndim, min_ndim=spec.min_ndim, axes=axes, dtype=spec.dtype)


def _labelled(network: Network, number: int, axis: int, rank: int) -> bool:
    """Whether units lie along an axis (batch included) of a tensor: its extent is not pinned then."""
    labels = network.graph.tensors[number]
    place = axis % rank - 1
    return place >= 0 and labels.labelled and labels.varies[place]


def _refresh_reshape(labels: UnitLabels, layer: Any) -> None:
    """Let the axis along which units lie take its extent from the input."""
    if labels.labelled:
        place = labels.varies.index(True)
        layer.target_shape = tuple(-1 if i == place else extent for i, extent in enumerate(labels.shape))
