"""Which axes and layers a strategy leaves out, and why."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.edits import Resize
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.probes.virtual import readers_of


def is_trainable(layer: Any, variable: Any) -> bool:
    """Whether training moves a variable of a layer."""
    return bool(layer.trainable) and bool(variable.trainable)


def frozen_layers(network: Network, axis: str, role: str) -> tuple[list[str], int]:
    """Return which layers with weights that make (`"produce"`) or read (`"consume"`) units are not trainable, of how many."""
    found: dict[str, bool] = {}
    for port in (port for port, rule in network.graph.ports(axis).items() if rule.role == role):
        layer = network.layers[port.layer]
        variable = internals.own_variables(layer).get(port.variable)
        if variable is not None and len(internals.shape_of(variable)) > 1:
            # A normalised kernel has fixed vectors beside it.
            found[port.layer] = found.get(port.layer, False) or is_trainable(layer, variable)
    return [name for name, trainable in found.items() if not trainable], len(found)


def why_not_learning(network: Network, model: Any, axis: str) -> str | None:
    """Return why new units of an axis would never learn, or `None`."""
    if not model.trainable:
        return f"the model '{model.name}' is not trainable"
    made, _ = frozen_layers(network, axis, "produce")
    if made:
        return f"{_named(made)}, so that new units would never learn"
    read, readers = frozen_layers(network, axis, "consume")
    return (
        f"{_named(read)}, so that nothing would learn to read new units" if readers and len(read) == readers else None
    )


def why_kept(network: Network, model: Any, axis: str) -> str | None:
    """Return which layers that are not trainable lose weights with units of an axis, or `None`."""
    if not model.trainable:
        return f"the model '{model.name}' is not trainable"
    frozen = frozen_layers(network, axis, "produce")[0] + frozen_layers(network, axis, "consume")[0]
    return f"{_named(frozen)}, and keeps its weights unless `axes` names it" if frozen else None


def warn_of_frozen(network: Network, model: Any, edits: Sequence[Any]) -> None:
    """Warn of edits by hand whose new units will never learn."""
    units = network.graph.axes
    growing = [e.axis for e in edits if isinstance(e, Resize) and len(e.source) > units.get(e.axis, len(e.source))]
    reasons = {axis: why_not_learning(network, model, axis) for axis in growing}
    for axis, reason in reasons.items():
        if reason is not None:
            warnings.warn(
                f"Axis '{axis}' gets units though {reason}. Set `trainable` and compile again if they are to be trained.",
                stacklevel=4,
            )


def _named(layers: list[str]) -> str:
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(repr, layers))} {'are' if len(layers) > 1 else 'is'} not trainable"


def why_unmeasurable(probe: Any, axis: str, wanted: frozenset[str]) -> str | None:
    """Return why an axis has not what a strategy asks of a measurement (see `Strategy.requirements`), or `None`."""
    try:
        if wanted:
            probe.post_activation(axis)
        if "gradients" in wanted:
            probe.maker(axis)
            readers_of(probe, axis)
    except ValueError as error:
        return str(error)
    return None
