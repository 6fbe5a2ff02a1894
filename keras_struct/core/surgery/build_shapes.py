"""Shapes that layers will be built with when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.surgery.trace import Network


def build_shapes(
    layer: Any, names: Sequence[str], shapes: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Correct what Keras recorded for a layer, and for those that it wraps.

    Args:
        layer: The layer.
        names: For each tensor that enters it, the parameter that it is passed for.
        shapes: The shapes of these tensors, batch included.

    Yields:
        Each layer with its shapes by the arguments of `build`.
    """
    if recorded := internals.build_shapes(layer):
        yield layer, _corrected(recorded, names, shapes)
    if isinstance(layer, keras.layers.TimeDistributed):
        yield from build_shapes(layer.layer, (), [(shape[0], *shape[2:]) for shape in shapes])
    elif isinstance(layer, keras.layers.SpectralNormalization):
        yield from build_shapes(layer.layer, (), shapes)
    elif isinstance(layer, keras.layers.Bidirectional):
        for inner in (layer.forward_layer, layer.backward_layer):
            yield from build_shapes(inner, names[:1], shapes[:1])


def _corrected(recorded: dict[str, Any], names: Sequence[str], shapes: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """One shape for each argument of `build`, or all of them for a single one."""
    if len(recorded) == 1 and shapes:
        key, old = next(iter(recorded.items()))
        return {key: shapes[0] if not isinstance(old, list) or len(shapes) == 1 else list(shapes)}
    found = {f"{name}_shape": shape for name, shape in zip(names, shapes, strict=False) if names.count(name) == 1}
    return {key: found.get(key, old) for key, old in recorded.items()}


def planned_build_shapes(
    network: Network, graph: StructureGraph, path: str, wider: int | None = None, axis: int = -1
) -> list[tuple[Any, dict[str, Any]]]:
    """Return what a layer, and those that it wraps, will be built with after an edit.

    Args:
        network: The network before the edit.
        graph: The graph after it.
        path: Path of the layer.
        wider: Number of an input that is to have one unit more.
        axis: The axis along which it has.
    """
    numbers = network.first_inputs[path]
    shapes = [[network.symbols[number][0].shape[0], *graph.tensors[number].shape] for number in numbers]
    if wider is not None and (extent := shapes[wider][axis]) is not None:
        shapes[wider][axis] = extent + 1
    names = network.first_names.get(path, ())
    return list(build_shapes(network.layers[path], names, [tuple(shape) for shape in shapes]))
