"""Edits of what layers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.capabilities import ComputesDifferently, RearrangesChannels, Reconfigurable
from keras_struct.core.structure.reconfiguring import Reconfigure
from keras_struct.core.structure.relaying import relay
from keras_struct.core.surgery.edit_kinds import EditKind, Fact, Request, Structure, Write, register_edit
from keras_struct.core.surgery.trace import Network


class Reconfiguring(EditKind[Reconfigure]):
    """Edits of what layers are; the layers say what becomes of their weights."""

    edit = Reconfigure
    follows_surroundings = False

    def rearrange(self, request: Request, edits: Sequence[Reconfigure]) -> Structure | None:
        """Return the structure after an edit of a layer that rearranges its channels; `None` if none does.

        Raises:
            ValueError: If several edits would do so at once, or what is behind the layer cannot follow.
        """
        moving = _moving(request.network, edits)
        if len(moving) > 1:
            raise ValueError(
                f"Layer '{moving[0].layer}' would rearrange its channels, and others are edited at once that do so, too. Make "
                "one edit after the other."
            )
        return rearranged_channels(request.network, moving[0]) if moving else None

    def plan(self, request: Request, edits: Sequence[Reconfigure], touched: set[str]) -> tuple[list[Write], list[Fact]]:
        """Return the new weights and attributes of the layers.

        Raises:
            ValueError: If a layer is unknown or cannot be changed, is edited twice or in another way at once, or refuses the
                arguments.
        """
        _check_layers(request.network, edits, touched)
        writes: list[Write] = []
        facts: list[Fact] = []
        for edit in edits:
            layer = request.network.layers[edit.layer]
            facts += [Fact(layer, name, value) for name, value in layer.reconfigured(edit.config).items()]
            writes += _reweighed(request, edit, layer)
        return writes, facts

    def needs_retracing(self, network: Network, edits: Sequence[Reconfigure]) -> bool:
        """Whether a layer rearranges its channels, or computes something else afterwards."""
        other = network.having(ComputesDifferently)
        return bool(_moving(network, edits)) or any(e.layer in other and other[e.layer].retraced for e in edits)

    def size(self, network: Network, edit: Reconfigure) -> int:
        """Return the number of trainable weights of the layer."""
        layer = network.having(Reconfigurable).get(edit.layer)
        held = () if layer is None else layer.trainable_variables
        return sum(int(np.prod(variable.shape)) for variable in held)

    def name(self, edit: Reconfigure) -> str:
        """Return the layer."""
        return edit.layer

    def detail(self, edit: Reconfigure) -> str:
        """Return the arguments that change."""
        return ", ".join(f"{name}={value}" for name, value in edit.config.items())


register_edit(Reconfiguring())


def rearranged_channels(network: Network, edit: Reconfigure) -> Structure:
    """Return the structure after an edit of a layer that rearranges its channels, and what those behind it have to do.

    Raises:
        ValueError: If what is behind the layer cannot follow.
    """
    layer = network.layers[edit.layer]
    layer.reconfigured(edit.config)
    graph, changes = relay(network.graph, edit.layer, layer.channel_sources(edit.config))
    return Structure(graph, dict(changes))


def _moving(network: Network, edits: Sequence[Reconfigure]) -> list[Reconfigure]:
    """Edits of layers that rearrange their channels."""
    return [edit for edit in edits if edit.layer in network.having(RearrangesChannels)]


def _reweighed(request: Request, edit: Reconfigure, layer: Any) -> list[Write]:
    """What an edit writes to the weights of its layer and to their slots."""
    variables = internals.own_variables(layer)
    values = {name: current().read(variable) for name, variable in variables.items()}
    after, writes = layer.reweigh(edit.config, values), []
    for name, variable in variables.items():
        if after[name] is values[name]:
            continue
        _check_finite(edit, name, after[name])
        writes.append(Write(variable, values[name], after[name].astype(values[name].dtype)))
        share = values[name].size / after[name].size if edit.slots == "shared" else 1.0
        for slot in request.followers(variable):
            held = current().read(slot.variable)
            moved = layer.reweigh(edit.config, {name: held})[name] * share**slot.power
            writes.append(Write(slot.variable, held, moved.astype(held.dtype)))
    return writes


def _check_layers(network: Network, edits: Sequence[Reconfigure], touched: set[str]) -> None:
    changeable = sorted(network.having(Reconfigurable))
    names = [edit.layer for edit in edits]
    for name in names:
        if name not in changeable:
            raise ValueError(
                f"Cannot change what layer '{name}' is: it does not exist, or has no method `reweigh` that says what becomes of "
                f"its weights. Layers that can be changed: {changeable}."
            )
        if name in touched:
            raise ValueError(
                f"Cannot change layer '{name}' and resize it at once, or rewire it. Make one edit after the other."
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Layers {twice} would be changed twice at once.")


def _check_finite(edit: Reconfigure, name: str, value: np.ndarray) -> None:
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError(f"Variable '{name}' of layer '{edit.layer}' would hold NaN or infinity.")
