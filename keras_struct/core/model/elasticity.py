"""Leave open, in a model's variables, the widths that edits will change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.optimizer_slots import Slot
from keras_struct.core.structure.capabilities import HasLooseAxes
from keras_struct.core.surgery.commit import loosen
from keras_struct.core.surgery.trace import Network


def make_elastic(network: Network, slots: Sequence[Slot], static: bool) -> list[tuple[Any, Any]]:
    """Make the shape of variables and of their optimizer slots unknown along editable axes.

    Args:
        network: The network.
        slots: Variables of the optimizer that follow weights.
        static: Leave every shape known, for an optimizer that looks at shapes.

    Returns:
        The variables whose objects were replaced, so that compiled steps are stale, with the objects that they were.
    """
    backend, loose = current(), {} if static else _loose_axes(network)
    swapped: list[tuple[Any, Any]] = []
    for path, layer in network.layers.items():
        for name, variable in internals.own_variables(layer).items():
            axes = loose.get((path, name), ())
            followers = [slot.variable for slot in slots if slot.reference is variable]
            for held in (variable, *followers):
                holder = internals.holder(held)
                if backend.set_elastic(held, axes):
                    swapped.append((held, holder))
    loosen(network)
    return swapped


def _loose_axes(network: Network) -> dict[tuple[str, str], list[int]]:
    """Axes of variables along which editable, elastic units lie, or whose extent another edit of their layer changes."""
    graph = network.graph
    loose: dict[tuple[str, str], list[int]] = {}
    for path, layer in network.having(HasLooseAxes).items():
        for variable, axes in layer.loose_axes().items():
            loose.setdefault((path, variable), []).extend(axes)
    for name in graph.axes:
        if graph.units[name].elastic:
            for port in graph.ports(name):
                loose.setdefault((port.layer, port.variable), []).append(port.axis)
    return loose
