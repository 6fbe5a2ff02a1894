"""What Keras layers of several parts do to units: einsums, attention, and layers around other layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.assemblies import Assembly, EachStep, Give, Make, Read
from keras_struct.core.structure.behaviours import Behaviour, Opaque, Weighted
from keras_struct.core.structure.contracting import Attend
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule, Layout
from keras_struct.core.surgery.activation import mixing_reason
from keras_struct.core.surgery.reading import RIGID, channel_axis

NamedHandler = Callable[[Any, list[Shape], list[Shape], Sequence[str]], Behaviour]
"""Takes also, for each tensor that enters, the name of the parameter of `call` that it is passed for."""


def grouped_convolution(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """A convolution in groups: a unit of it is one filter of each group, and it reads one channel of each."""
    rank, groups, axis = layer.rank, layer.groups, channel_axis(layer, len(outputs[0]))
    held = ("bias",) if layer.use_bias else ()
    if layer.kernel.shape[rank] == 1:
        if layer.filters != groups:
            return Opaque(
                f"layer '{layer.name}' makes several filters of each channel; use DepthwiseConv", tuple(outputs)
            )
        rules: tuple[AxisRule, ...] = (AxisRule("kernel", rank + 1, "carry", new="existing", size="filters,groups"),)
        rules += tuple(AxisRule(name, 0, "carry") for name in held)
        return Weighted(rules, axis, outputs[0], mixes=mixing_reason(layer), rigid=RIGID)
    tiled = Layout(tile=groups)
    rules = (AxisRule("kernel", rank + 1, "produce", tiled, size="filters"),)
    rules += tuple(AxisRule(name, 0, "produce", tiled) for name in held)
    read = Read(0, axis, (AxisRule("kernel", rank, "consume"),), groups)
    make = Make(layer.filters // groups, rules, mixes=mixing_reason(layer))
    return Assembly((read,), (make,), (Give(outputs[0], axis, tile=groups),))


def embedding(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """A table with a row for each token: its columns are units."""
    make = Make(layer.output_dim, (AxisRule("embeddings", 1, "produce", size="output_dim"),))
    return Assembly((), (make,), (Give(outputs[0]),), rigid=False)


def einsum_dense(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """Units lie along the last of the axes that the layer makes, and along any one of those that it sums over."""
    entering, kernel, leaving = _letters(layer.equation, len(inputs[0]) + 1)
    made = [letter for letter in leaving if letter in kernel and letter not in entering]
    summed = [letter for letter in entering if letter in kernel and letter not in leaving]
    if not made or not summed or any(letter in kernel and letter in leaving for letter in entering):
        return Opaque(
            f"layer '{layer.name}' has the equation {layer.equation}, which is not that of a layer", tuple(outputs)
        )
    letter = made[-1]
    rules: tuple[AxisRule, ...] = (AxisRule("kernel", kernel.index(letter), "produce"),)
    if layer.bias_axes and letter in layer.bias_axes:
        first = min(leaving.index(found) for found in layer.bias_axes)
        rules += (AxisRule("bias", leaving[first:].index(letter), "carry"),)
    reads = (Read(0, entering.index(x) - 1, (AxisRule("kernel", kernel.index(x), "consume"),)) for x in summed)
    place = leaving.index(letter) - 1
    make = Make(int(outputs[0][place] or 0), rules, mixes=mixing_reason(layer))
    return Assembly(tuple(reads), (make,), (Give(outputs[0], place),))


def _letters(equation: str, rank: int) -> tuple[list[str], list[str], list[str]]:
    """Axes of the input, the kernel and the output, each by a letter; those behind an ellipsis by numbers."""
    left, leaving = equation.replace(" ", "").split("->")
    entering, kernel = left.split(",")
    elided = [str(i) for i in range(rank - len(entering.replace("...", "")))]

    def spread(axes: str) -> list[str]:
        before, dots, after = axes.partition("...")
        return [*before, *(elided if dots else ()), *after]

    return spread(entering), list(kernel), spread(leaving)


def attention(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """Multi-head attention: heads, the size of its keys and that of its values are sets of units of their own.

    A query is read by its product with a key, so the key's weights are what goes out of a unit of `key_dim`.
    """
    biased = layer.use_bias
    heads = [AxisRule("query/kernel", 1, "produce", size="_num_heads"), *_produced(("key", "value"), 1)]
    heads += [*_biases(("query", "key", "value"), 0, biased), AxisRule("attention_output/kernel", 0, "consume")]
    values = [AxisRule("value/kernel", 2, "produce", size="_value_dim"), *_biases(("value",), 1, biased)]
    values.append(AxisRule("attention_output/kernel", 1, "consume"))
    if internals.has_gates(layer):
        return Opaque(f"layer '{layer.name}' has gates", tuple(outputs))
    makes = (
        _output_units(layer, outputs),
        Make(layer.num_heads, tuple(heads), "heads"),
        Make(layer.key_dim, _key_rules(biased, "_key_dim"), "key_dim"),
        Make(layer.value_dim, tuple(values), "value_dim"),
    )
    return Assembly(_attention_reads(names), makes, _attention_gives(outputs))


def grouped_query_attention(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """Grouped-query attention: a unit of `heads` is a head of keys and values with all heads of queries that share it."""
    biased, shared = layer.use_bias, Layout(repeat=layer.num_repeats)
    if internals.has_gates(layer):
        return Opaque(f"layer '{layer.name}' has gates", tuple(outputs))
    heads = [
        AxisRule("query/kernel", 1, "produce", shared, size="num_query_heads"),
        AxisRule("key/kernel", 1, "produce", size="num_key_value_heads"),
        AxisRule("value/kernel", 1, "produce"),
        *_biases(("key", "value"), 0, biased),
        *((AxisRule("query/bias", 0, "carry", shared),) if biased else ()),
        AxisRule("attention_output/kernel", 0, "consume", shared),
    ]
    sizes = (*_key_rules(biased, "head_dim"), AxisRule("value/kernel", 2, "produce"), *_biases(("value",), 1, biased))
    sizes += (AxisRule("attention_output/kernel", 1, "consume"),)
    makes = (
        _output_units(layer, outputs),
        Make(layer.num_key_value_heads, tuple(heads), "heads"),
        Make(layer.head_dim, sizes, "head_dim"),
    )
    return Assembly(_attention_reads(names), makes, _attention_gives(outputs))


def _produced(parts: Sequence[str], axis: int) -> tuple[AxisRule, ...]:
    return tuple(AxisRule(f"{part}/kernel", axis, "produce") for part in parts)


def _biases(parts: Sequence[str], axis: int, biased: bool) -> tuple[AxisRule, ...]:
    return tuple(AxisRule(f"{part}/bias", axis, "carry") for part in parts) if biased else ()


def _key_rules(biased: bool, size: str) -> tuple[AxisRule, ...]:
    """Rules along the size of keys; products are divided by its square root, which the queries make up for."""
    rules: tuple[AxisRule, ...] = (
        AxisRule("query/kernel", 2, "produce", size=size, power=0.5),
        AxisRule("key/kernel", 2, "consume"),
    )
    if biased:
        rules += (AxisRule("query/bias", 1, "carry", power=0.5), AxisRule("key/bias", 1, "consume"))
    return rules


def _output_units(layer: Any, outputs: list[Shape]) -> Make:
    rules: tuple[AxisRule, ...] = (AxisRule("attention_output/kernel", 2, "produce"),)
    if layer.use_bias:
        rules += (AxisRule("attention_output/bias", 0, "produce"),)
    return Make(int(outputs[0][-1] or 0), rules)


def _attention_reads(names: Sequence[str]) -> tuple[Read, ...]:
    value = names.index("value")
    of = {"query": names.index("query"), "value": value, "key": names.index("key") if "key" in names else value}
    sources: dict[int, list[AxisRule]] = {}
    for part, source in of.items():
        sources.setdefault(source, []).append(AxisRule(f"{part}/kernel", 0, "consume"))
    return tuple(Read(source, -1, tuple(rules)) for source, rules in sources.items())


def _attention_gives(outputs: list[Shape]) -> tuple[Give, ...]:
    return (Give(outputs[0]), *(Give(shape, made=()) for shape in outputs[1:]))


def comparing_attention(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
    """`Attention` and `AdditiveAttention`: only the scale of the latter lies along units, as what goes out of them."""
    scaled = type(layer).__name__ == "AdditiveAttention" and layer.use_scale
    reason = f"layer '{layer.name}' ({type(layer).__name__}) sums over its units to compare queries with keys"
    rules = (AxisRule("scale", 0, "consume"),) if scaled else ()
    return Attend(tuple(outputs), rules, None if scaled else reason)


def reversible_embedding(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
    """An embedding that is also called in reverse, where it reads its units with the same table or another."""
    if len(outputs[0]) > len(inputs[0]):
        return embedding(layer, inputs, outputs)
    rule = AxisRule("embeddings", 1, "consume") if layer.tie_weights else AxisRule("reverse_embeddings", 0, "consume")
    return Assembly((Read(0, -1, (rule,)),), (), (Give(outputs[0], made=()),), rigid=False)


def each_step(inner: Callable[[Any, list[Shape], list[Shape]], Behaviour]) -> NamedHandler:
    """Handler of `TimeDistributed`, given what tells the behaviour of the layer inside."""

    def handler(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
        if isinstance(layer.layer, keras.Model):
            held = [found for found in layer.layer.layers if found.weights]
            return Opaque(
                f"layer '{layer.name}' (TimeDistributed) runs the whole model '{layer.layer.name}' at each step; put "
                "TimeDistributed around each of its layers instead, which gives the same network with units to edit",
                tuple(outputs),
                tuple(f"{layer.layer.name}/{found.name}" for found in held),
            )
        found = inner(layer.layer, [shape[1:] for shape in inputs], [shape[1:] for shape in outputs])
        if isinstance(found, Opaque):
            return Opaque(found.reason, tuple(outputs))
        return EachStep(_rigid(found.within(layer.layer.name)))

    return handler


def spectrally_normalized(inner: Callable[[Any, list[Shape], list[Shape]], Behaviour]) -> NamedHandler:
    """Handler of `SpectralNormalization`, given what tells the behaviour of the layer inside."""

    def handler(layer: Any, inputs: list[Shape], outputs: list[Shape], names: Sequence[str]) -> Behaviour:
        found = inner(layer.layer, inputs, outputs)
        if not isinstance(found, Weighted) or found.units is None:
            return Opaque(f"layer '{layer.name}' normalises a layer that is neither Dense nor Conv", tuple(outputs))
        inside = found.within(layer.layer.name)
        reason = f"layer '{layer.name}' (SpectralNormalization) divides its weights by their largest singular value"
        return replace(inside, rules=(*inside.rules, AxisRule("vector_u", 1, "produce")), mixes=reason, rigid=RIGID)

    return handler


def _rigid(behaviour: Behaviour) -> Behaviour:
    if isinstance(behaviour, Weighted):
        return replace(behaviour, rigid=RIGID)
    return replace(behaviour, rigid=True) if isinstance(behaviour, Assembly) else behaviour
