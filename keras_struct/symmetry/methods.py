"""Edits of a model's symmetries by hand."""

from __future__ import annotations

from typing import Any

from keras_struct.core.model.methods import model_methods
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.capabilities import Symmetric
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.structure.reconfiguring import Reconfigure, SlotRule
from keras_struct.core.surgery.reconfiguring import rearranged_channels
from keras_struct.core.surgery.trace import Network
from keras_struct.symmetry import groups
from keras_struct.symmetry.group_norm import GroupBatchNormalization
from keras_struct.symmetry.group_pooling import GroupPooling2D
from keras_struct.symmetry.groups import Group


@model_methods
class SymmetryEdits:
    """What a `StructuralModel` can do with the symmetries of its layers."""

    @property
    def symmetries(self) -> dict[str, Group]:
        """Which group each layer with a symmetry is equivariant to, by name."""
        return {path: layer.group for path, layer in parts_of(self).live.network.having(Symmetric).items()}

    def relax(
        self,
        layer: str,
        group: str | Group,
        normalization: bool = True,
        slots: SlotRule = "shared",
        pooling: bool = False,
    ) -> list[StructureEvent]:
        """Loosen the symmetry of a layer to a subgroup. The function is kept; the layer has more free weights afterwards.

        Args:
            layer: Name of a `GroupConv2D` or `GroupBatchNormalization`.
            group: The subgroup.
            normalization: Whether a `GroupBatchNormalization` right behind the layer is relaxed, too. In inference this keeps the
                function; in training, statistics of smaller orbits differ a little.
            slots: What becomes of the optimizer's state; see `keras_struct.Reconfigure`.
            pooling: Whether a `GroupPooling2D` of means that the layer's features enter pools over no more than the new group
                from now on, as in the paper: it outputs more channels, and the layers behind it get more weights, which are
                divided so that they compute the same. By default it goes on to pool over the old one. Compiled steps are
                traced again.

        Returns:
            What was logged, an event for each layer.

        Raises:
            ValueError: If the layer has no symmetry, the group is no proper subgroup of its own, no layer pools its features,
                or one that does takes maxima.

        References:
            Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.3).
        """
        new, old = groups.get(group), _symmetry(self, layer)
        if not new < old:
            hint = (
                "To tighten it, use model.constrain."
                if old < new
                else f"Its subgroups: {_names(old.subgroups()[:-1])}."
            )
            raise ValueError(
                f"Cannot relax layer '{layer}' from {old} to {new}, which is no smaller group inside of it. {hint}"
            )
        pools = _pooled_behind(self, layer, new) if pooling else {}
        if pooling and not pools:
            raise ValueError(
                f"The features of layer '{layer}' enter no GroupPooling2D over more than {new} before another convolution reads "
                "them. Leave out `pooling`."
            )
        for pool, left in pools.items():
            rearranged_channels(
                parts_of(self).live.network, Reconfigure(pool, {"group": left.name})
            )  # raises before any edit
        events = _regroup(self, layer, new, normalization, slots, "relaxed")
        for pool, left in pools.items():
            events += parts_of(self).editor.apply([Reconfigure(pool, {"group": left.name}, slots)], reason="relaxed")
        return events

    def constrain(
        self, layer: str, group: str | Group, normalization: bool = True, slots: SlotRule = "shared"
    ) -> list[StructureEvent]:
        """Tighten the symmetry of a layer to a larger group: its weights are averaged over it. The function changes.

        Args:
            layer: Name of a `GroupConv2D` or `GroupBatchNormalization`.
            group: The larger group, inside of the layer's frame.
            normalization: Whether a `GroupBatchNormalization` right behind the layer is constrained, too.
            slots: What becomes of the optimizer's state; see `keras_struct.Reconfigure`.

        Returns:
            What was logged, an event for each layer.

        Raises:
            ValueError: If the layer has no symmetry, or the group does not hold its own or lies outside of the frame.
        """
        new, old = groups.get(group), _symmetry(self, layer)
        if not old < new:
            hint = "To loosen it, use model.relax." if new < old else "It must hold the present one."
            raise ValueError(f"Cannot constrain layer '{layer}' from {old} to {new}. {hint}")
        return _regroup(self, layer, new, normalization, slots, "constrained")

    def normalizations_behind(self, layer: str) -> list[str]:
        """Normalisations right behind a layer."""
        return normalizations_behind(parts_of(self).live.network, layer)


def _symmetry(model: Any, layer: str) -> Group:
    found = model.symmetries
    if layer not in found:
        raise ValueError(f"Layer '{layer}' has no symmetry, or does not exist. Layers that have: {sorted(found)}.")
    return found[layer]


def _regroup(
    model: Any, layer: str, new: Group, normalization: bool, slots: SlotRule, reason: str
) -> list[StructureEvent]:
    names = [layer]
    if normalization:
        old, found = _symmetry(model, layer), model.symmetries
        names += [name for name in model.normalizations_behind(layer) if name != layer and found[name] == old]
    edits = [Reconfigure(name, {"group": new.name}, slots) for name in names]
    return parts_of(model).editor.apply(edits, reason=reason)


def _pooled_behind(model: Any, layer: str, new: Group) -> dict[str, Group]:
    """Layers that pool features of a layer, and perhaps of others, over more than a group, with what of that is left."""
    network = parts_of(model).live.network
    graph, pools = network.graph, dict.fromkeys(c.layer for c in network.graph.calls if c.layer in network.layers)
    own = [name for name, axis in graph.units.items() if any(producer == layer for producer, _ in axis.producers)]
    inputs = {call.layer: graph.tensors[call.inputs[0]].ids for call in graph.calls if call.inputs}
    behind = [
        name
        for name in pools
        if isinstance(network.layers[name], GroupPooling2D) and not network.layers[name].group <= new
        if any(graph.holds(axis, inputs[name]) for axis in own)
    ]
    return {name: groups.intersection([network.layers[name].group, new]) for name in behind}


def normalizations_behind(network: Network, layer: str) -> list[str]:
    """Normalisations right behind a layer of a network."""
    outputs = {number for call in network.graph.calls if call.layer == layer for number in call.outputs}
    behind = [call.layer for call in network.graph.calls if outputs & set(call.inputs)]
    return [name for name in dict.fromkeys(behind) if isinstance(network.layers[name], GroupBatchNormalization)]


def _names(found: tuple[Group, ...]) -> str:
    return ", ".join(group.name for group in found) or "none"
