"""Adds up the rules of `flops_registry` over the calls of a forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from keras_struct.measure.statistics.flops_registry import rule_for
from keras_struct.measure.statistics.layer_calls import (
    LayerCall,
    Rule,
    Shape,
    Visit,
    argument_shapes,
    has_graph,
    output_specs,
    visit_graph,
)


class FlopsCounter:
    """Counts the operations of one forward pass.

    Args:
        unknown: "error" or "zero": what becomes of layers with weights that have no rule.

    Attributes:
        uncounted: Names of the layers that were counted as 0 because they have no rule.
    """

    def __init__(self, unknown: str):
        if unknown not in ("error", "zero"):
            raise ValueError(f'`unknown` must be "error" or "zero", not {unknown!r}.')
        self.unknown = unknown
        self.uncounted: list[str] = []

    def by_layer(self, model: Any, tensors: Sequence[Any]) -> dict[str, int]:
        """Operations by path, of a model with a graph that receives `tensors`."""
        counts: dict[str, int] = {}
        for visit in visit_graph(model, tensors, leaf=lambda layer: rule_for(layer) is not None):
            counts[visit.path] = counts.get(visit.path, 0) + self._count(visit)
        return counts

    def total(self, layer: Any, tensors: Sequence[Any], outputs: tuple[Shape, ...] | None = None) -> int:
        """Operations of one call of a model or layer on `tensors`; without `outputs` the layer says what they are."""
        if has_graph(layer) and rule_for(layer) is None:
            return sum(self.by_layer(layer, tensors).values())
        if self._rule(layer, layer.name) is None:
            return 0
        args = tensors if _takes_tensors_apart(layer) else [tensors[0] if len(tensors) == 1 else list(tensors)]
        if outputs is None:
            outputs = tuple(tuple(spec.shape) for spec in output_specs(layer, args, {}))
        return self._count(Visit(layer.name, layer, argument_shapes(layer, args, {}), outputs))

    def _count(self, visit: Visit) -> int:
        rule = self._rule(visit.layer, visit.path)
        if rule is None:
            return 0
        count = rule(LayerCall(visit.layer, visit.arguments, visit.outputs, self._of))
        if isinstance(count, Integral) and count >= 0:
            return int(count)
        raise TypeError(
            f"The operations of layer '{visit.path}' ({type(visit.layer).__name__}) must be counted as a whole number of 0 or "
            f"more, by its method `count_flops` or the function of `register_flops`. Received: {count!r}"
        )

    def _of(self, layer: Any, *inputs: Shape) -> int:
        """What rules call for the layers inside theirs. A recurrent cell would need its states to tell its outputs."""
        import keras

        from keras_struct.core.backend import keras_internals

        outputs = () if keras_internals.is_cell(layer) else None
        return self.total(layer, [keras.KerasTensor(shape) for shape in inputs], outputs=outputs)

    def _rule(self, layer: Any, path: str) -> Rule | None:
        """The rule of `layer`, or None where it is free."""
        rule = rule_for(layer)
        if rule is None and _may_compute(layer):
            if self.unknown == "error":
                raise ValueError(_unknown_message(layer, path))
            if path not in self.uncounted:
                self.uncounted.append(path)
        return rule


def symbolic_inputs(layer: Any, input_shape: Any, batch_size: int) -> list[Any]:
    """One symbolic tensor without unknown extents for each input.

    Args:
        layer: A model or layer.
        input_shape: A shape without batch axis, a list of them, or None for those of the model.
        batch_size: Extent of the batch axis.

    Raises:
        ValueError: If `batch_size` is not positive, or if shapes are missing, not complete or do not fit.
    """
    import keras

    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be a positive integer, not {batch_size!r}.")
    own = _own_inputs(layer)
    shapes = [tuple(tensor.shape[1:]) for tensor in own] if input_shape is None else _shape_list(input_shape)
    if not shapes or any(extent is None for shape in shapes for extent in shape):
        raise ValueError(
            f"The shape of the input of '{layer.name}' is not fully known: {shapes or 'nothing'}. Pass `input_shape`, "
            "without the batch axis and without None, such as input_shape=(32, 32, 3)."
        )
    if has_graph(layer) and own and not _fit(shapes, own):
        raise ValueError(
            f"`input_shape` {shapes} does not fit '{layer.name}', which takes {[tuple(t.shape) for t in own]} with the "
            "batch axis. Pass one shape for each input, without the batch axis."
        )
    if len(own) != len(shapes):
        own = []
    dtypes = [tensor.dtype for tensor in own] or ["float32"] * len(shapes)
    return [keras.KerasTensor((batch_size, *shape), dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]


def _own_inputs(layer: Any) -> list[Any]:
    """The symbolic tensors that a model, or a layer of one, receives; none where it is in no graph."""
    from keras_struct.core.backend import keras_internals

    return keras_internals.symbolic_inputs_of(layer, of_model=has_graph(layer))


def _fit(shapes: Sequence[Shape], tensors: Sequence[Any]) -> bool:
    """Whether a model that states these symbolic inputs can take samples of these shapes."""
    stated = [tuple(tensor.shape[1:]) for tensor in tensors]
    return len(shapes) == len(stated) and all(
        len(given) == len(own) and all(o in (None, g) for g, o in zip(given, own, strict=True))
        for given, own in zip(shapes, stated, strict=True)
    )


def _shape_list(input_shape: Any) -> list[Shape]:
    """One shape or several, as a list of shapes."""
    shapes = [input_shape] if all(extent is None or isinstance(extent, int) for extent in input_shape) else input_shape
    return [tuple(shape) for shape in shapes]


def _takes_tensors_apart(layer: Any) -> bool:
    """Whether each tensor is an argument of its own (attention's query and value) rather than all being one list."""
    required = [p for p in inspect.signature(layer.call).parameters.values() if p.default is p.empty]
    return len(required) > 1


def _may_compute(layer: Any) -> bool:
    """Whether a layer without rule may take operations worth counting: it has weights, or none yet."""
    import keras

    return isinstance(layer, keras.layers.Layer) and (bool(layer.weights) or not layer.built)


def _unknown_message(layer: Any, path: str) -> str:
    kind = type(layer).__name__
    return (
        f"The floating point operations of layer '{path}' ({kind}) are not known, and it has weights or is not built. "
        f"Give {kind} a method count_flops(self, call), or teach them with register_flops({kind}, function): either maps a "
        'LayerCall to the operations of that call. flops(..., unknown="zero") counts the layer as free.'
    )
