"""Shapes that layers will be built with when they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_struct.backend import keras_internals as internals
from keras_struct.structure.graph import StructureGraph
from keras_struct.surgery.trace import Network


def build_shapes(recorded: dict[str, Any], names: Sequence[str], shapes: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Correct recorded shapes: one for each argument of `build`, or all of them for a single one.

    Args:
        recorded: What Keras recorded.
        names: For each tensor that enters the layer, the parameter that it is passed for.
        shapes: The shapes of these tensors, batch included.
    """
    if len(recorded) == 1 and shapes:
        key, old = next(iter(recorded.items()))
        return {key: shapes[0] if not isinstance(old, list) or len(shapes) == 1 else list(shapes)}
    found = {f"{name}_shape": shape for name, shape in zip(names, shapes, strict=False) if names.count(name) == 1}
    return {key: found.get(key, old) for key, old in recorded.items()}


def planned_build_shapes(
    network: Network, graph: StructureGraph, path: str, wider: int | None = None, axis: int = -1
) -> dict[str, Any] | None:
    """Return what a layer will be built with after an edit; `None` if Keras recorded nothing.

    Args:
        network: The network before the edit.
        graph: The graph after it.
        path: Path of the layer.
        wider: Number of an input that is to have one unit more.
        axis: The axis along which it has.
    """
    if not (recorded := internals.build_shapes(network.layers[path])):
        return None
    numbers = network.first_inputs[path]
    shapes = [[network.symbols[number][0].shape[0], *graph.tensors[number].shape] for number in numbers]
    if wider is not None and (extent := shapes[wider][axis]) is not None:
        shapes[wider][axis] = extent + 1
    return build_shapes(recorded, network.first_names.get(path, ()), [tuple(shape) for shape in shapes])
