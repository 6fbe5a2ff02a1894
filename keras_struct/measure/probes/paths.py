"""How units get from the layer that makes them to one that reads them."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

from keras_struct.core.structure.behaviours import Concatenate, Elementwise, Flatten, Merge, Positions, Weighted
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.surgery.trace import Network

_SUMS = ("Add",)


def path(network: Network, axis: str, reader: Any) -> list[Any]:
    """Return the calls that units of an axis pass on the shortest way from their first layer to the call `reader`.

    Raises:
        AxisRefused: If there is none through operations that treat each unit by itself and, in sums, leave it as it is.
    """
    layer, _ = network.graph.units[axis].producers[0]
    start = next(call for call in network.graph.calls if call.layer == layer).outputs[0]
    ways: deque[tuple[int, tuple[Any, ...]]] = deque([(start, ())])
    met = {start}
    while ways:
        number, calls = ways.popleft()
        if number in reader.inputs:
            return list(calls)
        for call in network.graph.calls:
            if number in call.inputs and call.outputs[0] not in met and _passes(network, call):
                met.add(call.outputs[0])
                ways.append((call.outputs[0], (*calls, call)))
    raise AxisRefused(
        f"Cannot follow the units of axis '{axis}' to layer '{reader.layer}': between them lies an operation that does "
        "not treat each unit by itself. Use a trigger and an initializer without gradients, or leave the axis out of `axes`."
    )


def _passes(network: Network, call: Any) -> bool:
    behaviour = call.behaviour
    if call.masks:
        return is_unitwise(behaviour)
    if isinstance(behaviour, Merge):
        return type(network.nodes[call].operation).__name__ in _SUMS
    return isinstance(behaviour, Positions | Flatten | Concatenate) or is_unitwise(behaviour)


def is_unitwise(behaviour: Any) -> bool:
    """Whether an operation treats each entry of each unit by itself."""
    if isinstance(behaviour, Elementwise):
        return behaviour.mixes is None
    return (
        isinstance(behaviour, Weighted) and behaviour.units is None and behaviour.mixes is None and behaviour.per_unit
    )


def shortcuts(network: Network) -> frozenset[tuple[Any, int]]:
    """Return the residual connections of a network: inputs of sums that lead past weighted layers which the other passes.

    Of two branches that leave from one tensor and meet in a sum, the one with fewer weighted layers is the shortcut, be it
    an identity or a projection. Pairs of a call and the place of the input.
    """
    depth, found = _depths(network), set()
    for call in network.graph.calls:
        if len(call.inputs) == 2 and _is_sum(network, call):
            first, second = (depth[number] for number in call.inputs)
            if first != second and set(_sources(network, call.inputs[0])) & set(_sources(network, call.inputs[1])):
                found.add((call, int(second < first)))
    return frozenset(found)


def _is_sum(network: Network, call: Any) -> bool:
    return isinstance(call.behaviour, Merge) and type(network.nodes[call].operation).__name__ in _SUMS


def _depths(network: Network) -> dict[int, int]:
    """Largest number of weighted layers on a way from the inputs to each tensor."""
    depth = dict.fromkeys(network.graph.input_numbers, 0)
    for call in network.graph.calls:
        own = int(isinstance(call.behaviour, Weighted) and call.behaviour.units is not None)
        for number in call.outputs:
            depth[number] = own + max((depth[i] for i in call.inputs), default=0)
    return depth


def _sources(network: Network, number: int) -> set[int]:
    """Every tensor that goes into tensor `number`, itself included."""
    return _all_sources(network.graph.calls)[number] if number not in network.graph.input_numbers else {number}


@lru_cache(maxsize=8)
def _all_sources(calls: tuple[Any, ...]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for call in calls:
        merged = set(call.outputs).union(*({i} | found.get(i, set()) for i in call.inputs))
        found.update(dict.fromkeys(call.outputs, merged))
    return found
