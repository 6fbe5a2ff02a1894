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


def _trained_layers(network: Network, axis: str) -> dict[str, dict[str, bool]]:
    """Whether each layer with weights that makes (`"produce"`) or reads (`"consume"`) units is trained, by role."""
    found: dict[str, dict[str, bool]] = {"produce": {}, "consume": {}}
    for port, rule in network.graph.ports(axis).items():
        layer = network.layers[port.layer]
        variable = internals.own_variables(layer).get(port.variable) if rule.role in found else None
        if variable is not None and len(internals.shape_of(variable)) > 1:
            # A normalised kernel has fixed vectors beside it.
            layers = found[rule.role]
            layers[port.layer] = layers.get(port.layer, False) or is_trainable(layer, variable)
    return found


def why_not_learning(network: Network, model: Any, axis: str) -> str | None:
    """Return why new units of an axis would never learn, or `None`."""
    if not model.trainable:
        return f"the model '{model.name}' is not trainable"
    trained = _trained_layers(network, axis)
    if made := _frozen(trained["produce"]):
        return f"{_named(made)}, so that new units would never learn"
    read = _frozen(trained["consume"])
    return (
        f"{_named(read)}, so that nothing would learn to read new units"
        if read == [*trained["consume"]] != []
        else None
    )


def why_kept(network: Network, model: Any, axis: str) -> str | None:
    """Return which layers that are not trainable lose weights with units of an axis, or `None`."""
    if not model.trainable:
        return f"the model '{model.name}' is not trainable"
    frozen = [name for layers in _trained_layers(network, axis).values() for name in _frozen(layers)]
    return f"{_named(frozen)}, and keeps its weights unless `axes` names it" if frozen else None


def _frozen(layers: dict[str, bool]) -> list[str]:
    return [name for name, trained in layers.items() if not trained]


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
