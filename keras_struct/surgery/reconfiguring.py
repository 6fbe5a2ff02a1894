"""Work out edits of what layers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_struct.backend import current
from keras_struct.backend import keras_internals as internals
from keras_struct.backend.optimizer_slots import Slot
from keras_struct.structure.graph import StructureGraph
from keras_struct.structure.rearrangement import Rearrangement
from keras_struct.structure.reconfiguring import Reconfigure
from keras_struct.structure.relaying import relay
from keras_struct.structure.rules import Port
from keras_struct.surgery.rewiring import Write
from keras_struct.surgery.trace import Network


def plan_reconfiguring(
    network: Network, edits: Sequence[Reconfigure], slots: Sequence[Slot], resized: set[str]
) -> tuple[list[Write], list[tuple[Any, str, Any]]]:
    """Return what edits of layers will write, and the attributes that layers get.

    Args:
        network: The model.
        edits: The edits, of different layers.
        slots: Optimizer variables that follow the weights.
        resized: Layers whose units or connections are edited at the same time.

    Raises:
        ValueError: If a layer is unknown or cannot be changed, is edited twice or resized at once, or refuses the arguments.
    """
    _check_layers(network, edits, resized)
    writes: list[Write] = []
    attributes: list[tuple[Any, str, Any]] = []
    for edit in edits:
        layer = network.layers[edit.layer]
        new = layer.reconfigured(edit.config)
        attributes += [(layer, name, value) for name, value in new.items()]
        variables = internals.own_variables(layer)
        values = {name: current().read(variable) for name, variable in variables.items()}
        after = layer.reweigh(edit.config, values)
        for name, variable in variables.items():
            if after[name] is values[name]:
                continue
            _check_finite(edit, name, after[name])
            writes.append((variable, values[name], after[name].astype(values[name].dtype)))
            share = values[name].size / after[name].size if edit.slots == "shared" else 1.0
            for slot in (slot for slot in slots if slot.reference is variable):
                held = current().read(slot.variable)
                moved = layer.reweigh(edit.config, {name: held})[name] * share**slot.power
                writes.append((slot.variable, held, moved.astype(held.dtype)))
    return writes, attributes


def relayed(
    network: Network, edits: Sequence[Reconfigure], resizes: bool
) -> tuple[StructureGraph, dict[Port, Rearrangement]] | None:
    """Return the structure after an edit of a layer that lays out its channels anew, and what those behind it have to do.

    Args:
        network: The model.
        edits: The edits of layers, of which one at most does so.
        resizes: Whether units are edited at the same time.

    Returns:
        The new structure and changes of variables behind the layer; `None` if no layer lays out anything anew.

    Raises:
        ValueError: If several edits would do so at once, or what is behind the layer cannot follow.
    """
    moving = [edit for edit in edits if hasattr(network.layers.get(edit.layer), "channel_sources")]
    if not moving:
        return None
    if len(moving) > 1 or resizes:
        raise ValueError(
            f"Layer '{moving[0].layer}' would lay out its channels anew, and others are edited at once that do so, too. Make one "
            "edit after the other."
        )
    layer = network.layers[moving[0].layer]
    layer.reconfigured(moving[0].config)
    graph, changes = relay(network.graph, moving[0].layer, layer.channel_sources(moving[0].config))
    return graph, dict(changes)


def _check_layers(network: Network, edits: Sequence[Reconfigure], resized: set[str]) -> None:
    changeable = sorted(path for path, layer in network.layers.items() if hasattr(layer, "reweigh"))
    names = [edit.layer for edit in edits]
    for name in names:
        if name not in changeable:
            raise ValueError(
                f"Cannot change what layer '{name}' is: it does not exist, or has no method `reweigh` that says what becomes of "
                f"its weights. Layers that can be changed: {changeable}."
            )
        if name in resized:
            raise ValueError(f"Cannot change layer '{name}' and resize it at once. Make one edit after the other.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Layers {twice} would be changed twice at once.")


def _check_finite(edit: Reconfigure, name: str, value: np.ndarray) -> None:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError(f"Variable '{name}' of layer '{edit.layer}' would hold NaN or infinity.")
