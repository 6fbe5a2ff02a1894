"""The calls that one forward pass makes: which layer, on which shapes, in order.

Shapes are worked out again each time, by sending shapes without unknown extents through the graph of the model. Nothing
is remembered, so they are those of the present structure also after widths changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Visit(NamedTuple):
    """One call of one layer (or of one operation of `keras.ops`).

    Attributes:
        path: Name of the layer, after those of the nested models it lies in: `"outer/inner"`.
        layer: The layer or operation.
        arguments: Shapes of the tensors it receives, batch axis included, by the parameter of its `call`.
        outputs: Shape of each tensor it returns, batch axis included.
    """

    path: str
    layer: Any
    arguments: dict[str, tuple[Shape, ...]]
    outputs: tuple[Shape, ...]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, as a rule for counting sees it.

    Attributes:
        layer: The layer.
        arguments: Shapes of the tensors that each parameter of the layer's `call` receives, batch axis included.
        outputs: Shape of each tensor that it returns, batch axis included.
        of: `of(inner, *inputs)` is the count of a layer inside this one, called on tensors of these shapes.
    """

    layer: Any
    arguments: Mapping[str, tuple[Shape, ...]]
    outputs: tuple[Shape, ...]
    of: Callable[..., int]

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """Shape of each tensor that the layer receives, in the order of the parameters of its `call`."""
        return tuple(shape for shapes in self.arguments.values() for shape in shapes)


Rule = Callable[[LayerCall], int]


def has_graph(layer: Any) -> bool:
    """Whether `layer` is a model that knows the layers it calls: functional or sequential."""
    import keras

    return isinstance(layer, keras.Function | keras.Sequential)


def visit_graph(model: Any, inputs: Sequence[Any], leaf: Callable[[Any], bool], prefix: str = "") -> Iterator[Visit]:
    """Follow one forward pass through `model`.

    Args:
        model: A functional or sequential model.
        inputs: One symbolic tensor without unknown extents for each input of the model.
        leaf: Tells which nested models are visited as one layer.
        prefix: What comes before the names of the layers of `model`.

    Yields:
        One `Visit` for each call of each layer; a shared layer is visited as often as it is called.
    """
    from keras_struct.core.backend import keras_internals

    functional = keras_internals.functional_of(model)
    if functional is None:
        yield from _visit_chain(model.layers, inputs[0], leaf, prefix)
        return
    known = {id(tensor): given for tensor, given in zip(functional.inputs, inputs, strict=False)}  # masks may follow
    for node in keras_internals.nodes_in_order(functional):
        args, kwargs = node.arguments.fill_in(known)
        outputs = output_specs(node.operation, args, kwargs, node.outputs)
        known.update((id(tensor), spec) for tensor, spec in zip(node.outputs, outputs, strict=True))
        yield from _visit(node.operation, args, kwargs, outputs, leaf, prefix)


def output_specs(layer: Any, args: Sequence[Any], kwargs: dict[str, Any], symbolic: Sequence[Any] = ()) -> list[Any]:
    """What `layer` returns for `args` and `kwargs`, as symbolic tensors without unknown extents.

    Some layers state less than they could (`EinsumDense(output_shape=(None, 8))`), or hold variables without static
    shape; then their `call` is traced, and at last the extents are those of the `symbolic` tensors of the graph.

    Raises:
        ValueError: If an extent remains unknown, or a layer that is not built does not say what it returns.
    """
    import keras

    try:
        specs = keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))
    except Exception as error:  # whatever its call needs that `build` makes
        if not isinstance(layer, keras.layers.Layer) or layer.built:
            raise
        raise ValueError(
            f"What layer '{layer.name}' ({type(layer).__name__}) returns is not known before it is built: call it on data, build "
            f"it, or give it a `compute_output_shape`. {error}"
        ) from error
    if _unknown(specs) and (layer.built if isinstance(layer, keras.layers.Layer) else True):
        traced = keras.tree.flatten(keras.Operation.compute_output_spec(layer, *args, **kwargs))
        specs = _completed(_completed(specs, traced), symbolic)
    if _unknown(specs):
        raise ValueError(
            f"The shape of what layer '{layer.name}' ({type(layer).__name__}) returns is not known: "
            f"{[tuple(spec.shape) for spec in specs]}. Give the layer a `compute_output_shape` without unknown extents."
        )
    return specs


def argument_shapes(layer: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, tuple[Shape, ...]]:
    """Shapes of the tensors and arrays that each parameter of `layer.call` receives, in the order of the parameters."""
    import keras

    try:
        values = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # `call` has no signature that Python can read
        values = {"inputs": args} | kwargs
    shapes = {}
    for name, value in values.items():
        leaves = keras.tree.flatten(value)
        shapes[name] = tuple(tuple(leaf.shape) for leaf in leaves if hasattr(leaf, "shape"))
    return {name: found for name, found in shapes.items() if found}


def _visit(layer, args, kwargs, outputs, leaf, prefix) -> Iterator[Visit]:
    """The visits that one call makes: one, or those inside a nested model."""
    import keras

    if has_graph(layer) and not leaf(layer):
        inputs = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, keras.KerasTensor)]
        yield from visit_graph(layer, inputs, leaf, f"{prefix}{layer.name}/")
    else:
        shapes = tuple(tuple(spec.shape) for spec in outputs)
        yield Visit(prefix + layer.name, layer, argument_shapes(layer, args, kwargs), shapes)


def _visit_chain(layers, tensor, leaf, prefix) -> Iterator[Visit]:
    """The visits of a sequential model that is not built: it has layers, but no graph yet."""
    for layer in layers:
        outputs = output_specs(layer, (tensor,), {})
        yield from _visit(layer, (tensor,), {}, outputs, leaf, prefix)
        tensor = outputs[0]


def _unknown(specs: Sequence[Any]) -> bool:
    return any(extent is None for spec in specs for extent in spec.shape)


def _completed(specs: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """`specs` with unknown extents taken from `others`, tensor by tensor, where the ranks agree."""
    import keras

    if len(specs) != len(others):
        return list(specs)
    completed = []
    for spec, other in zip(specs, others, strict=True):
        extents = spec.shape
        if len(extents) == len(other.shape):
            extents = [o if s is None else s for s, o in zip(extents, other.shape, strict=True)]
        completed.append(keras.KerasTensor(tuple(extents), dtype=spec.dtype))
    return completed
