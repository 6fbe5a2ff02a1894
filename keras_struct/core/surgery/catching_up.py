"""Follow edits of layers that were made through another structural model, which shares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.commit import refresh
from keras_struct.core.surgery.trace import Network, trace


def fits(network: Network) -> bool:
    """Whether variables have the extents along units that the graph says."""
    extents = network.graph.extents
    return all(extents[port] == extent for port, extent in _extents(network).items())


def _extents(network: Network) -> dict[Port, int]:
    held: dict[str, Mapping[str, Any]] = {}
    found = {}
    for port in network.graph.extents:
        if port.layer not in held:
            held[port.layer] = internals.own_variables(network.layers[port.layer])
        variable = held[port.layer].get(port.variable)
        if variable is not None:
            found[port] = internals.shape_of(variable)[port.axis]
    return found


def catch_up(network: Network, model: Any, again: bool = False) -> Network:
    """Bring a network in line with the variables of its layers.

    Args:
        network: The network as it was read.
        model: The model it was read from.
        again: Whether layers may do something else than they did.

    Returns:
        The network itself, or a new one where layers changed what they do.

    Raises:
        ValueError: If the layers of the model do not fit together any more.
    """
    extents, before = _extents(network), network.graph
    widths = before.widths_from(extents)
    edits = [Resize(axis, (0,) * width) for axis, width in widths.items() if width != before.axes[axis]]
    try:
        graph = before.edited(*edits)[0] if edits else before
        if graph.extents == {**before.extents, **extents}:
            network.graph = graph
            refresh(network, set(network.layers))
            if not again:
                return network
        network = trace(model)
        if fits(network):
            return network
    except ValueError:
        pass
    raise ValueError(
        f"The structure of '{model.name}' is out of date: layers that it shares with another structural model were edited "
        "there, and its own layers do not fit them any more. Build it again from the edited layers, or edit the network "
        "through one structural model that holds all of its layers."
    )
