"""Blocks of a network: regions with one tensor that enters and one that leaves, of the same shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.depth.block import Block, grouped_blocks, signature_of
from keras_struct.depth.parts import part_of_calls, ref_of


def find_blocks(model: Any) -> dict[str, Block]:
    """Return the blocks of a Functional model and of models inside it, by the path of the layer that ends each.

    Regions that are repeated behind each other with a period, and attention with the residual layers behind it in a transformer,
    make one block together.
    """
    found: list[Block] = []
    for network, prefix in networks_in(model, ""):
        found += grouped_blocks(list(_regions(network, prefix)))
    kinds: dict[str, str] = {}
    named = {}
    for depth, block in enumerate(found):
        kind = kinds.setdefault(signature_of(block), block.name)
        named[block.name] = replace(block, kind=kind, depth=depth)
    return named


def networks_in(model: Any, prefix: str) -> Iterator[tuple[Any, str]]:
    """Yield a Functional model and those inside it, with what stands in front of the names of their layers."""
    network = internals.functional_of(model)
    if network is None or isinstance(model, keras.Sequential):
        return
    yield network, prefix
    for operation in internals.operations_of(network):
        if internals.nested_network(operation) is not None:
            yield from networks_in(operation, f"{prefix}{operation.name}/")


def _regions(network: Any, prefix: str) -> Iterator[Block | None]:
    """Smallest regions between tensors through which everything goes, in their order; `None` where the ends differ."""
    waists = list(_waists(network))
    for first, second in itertools.pairwise(waists):
        yield _region(network, prefix, first, second)


def _waists(network: Any) -> Iterator[Any]:
    """Tensors that everything behind them depends on, and nothing else in front of them, masks and numbers of tokens apart."""
    order = list(internals.nodes_in_order(network))
    left = {id(tensor): 0 for tensor in network.inputs}
    for node in order:
        for tensor in {id(x): x for x in node.input_tensors}.values():
            left[id(tensor)] = left.get(id(tensor), 0) + 1
    live = {id(tensor): tensor for tensor in network.inputs if left[id(tensor)] and _carries(tensor)}
    if len(live) == 1:
        yield next(iter(live.values()))
    for node in order:
        for key in {id(x) for x in node.input_tensors}:
            left[key] -= 1
            if not left[key]:
                live.pop(key, None)
        outputs = set(map(id, network.outputs))
        live |= {id(y): y for y in node.outputs if (left.get(id(y)) or id(y) in outputs) and _carries(y)}
        if len(live) == 1 and any(id(y) in live for y in node.outputs):
            yield next(iter(live.values()))


def _carries(tensor: Any) -> bool:
    return keras.backend.is_float_dtype(tensor.dtype)


def _region(network: Any, prefix: str, entry: Any, end: Any) -> Block | None:
    if entry.shape != end.shape or entry.dtype != end.dtype:
        return None
    nodes = _between(network, entry, end)
    outputs = set(map(id, network.outputs))
    if any(id(y) in outputs for node in nodes for y in node.outputs if y is not end):
        return None
    part, outside = part_of_calls(nodes, [entry], [end], lambda operation: operation.name)
    operations = list({id(node.operation): node.operation for node in nodes}.values())
    held = {id(w): w for o in operations if isinstance(o, keras.layers.Layer) for w in o.weights}
    exit_ref = ref_of(network, end, prefix)
    return Block(
        exit_ref.layer,
        ref_of(network, entry, prefix),
        exit_ref,
        tuple(f"{prefix}{operation.name}" for operation in operations),
        exit_ref.layer,
        0,
        sum(prod(weight.shape) for weight in held.values()),
        tuple(end.shape),
        beside=tuple(ref_of(network, tensor, prefix) for tensor in outside),
        part=part,
    )


def _between(network: Any, entry: Any, end: Any) -> list[Any]:
    """Calls that read what depends on one tensor and lead to another."""
    behind, order = {id(entry)}, []
    for node in internals.nodes_in_order(network):
        if any(id(x) in behind for x in node.input_tensors):
            behind |= {id(y) for y in node.outputs}
            order.append(node)
    needed, kept = {id(end)}, []
    for node in reversed(order):
        if any(id(y) in needed for y in node.outputs):
            needed |= {id(x) for x in node.input_tensors}
            kept.append(node)
    return kept[::-1]
