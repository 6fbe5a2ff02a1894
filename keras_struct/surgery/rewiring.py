"""Work out edits of single connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_struct.backend import current
from keras_struct.backend.optimizer_slots import Slot
from keras_struct.layers.masked import Masked
from keras_struct.structure.rewiring import Rewire
from keras_struct.surgery.trace import Network

Write = tuple[Any, np.ndarray, np.ndarray]
"""A variable, its value before and its value afterwards."""


def masked_layers(network: Network) -> dict[str, Any]:
    """Layers whose connections can be edited, by path."""
    return {path: layer for path, layer in network.layers.items() if isinstance(layer, Masked)}


def plan_rewiring(network: Network, edits: Sequence[Rewire], slots: Sequence[Slot], resized: set[str]) -> list[Write]:
    """Return what edits of connections will write.

    Args:
        network: The model.
        edits: The edits, of different layers.
        slots: Optimizer variables that follow the weights.
        resized: Layers whose units are edited at the same time.

    Raises:
        ValueError: If a layer is unknown or has no mask, is edited twice or resized at once, a mask has another shape than the
            kernel or leaves no connection, or values have the wrong shape or are not finite.
    """
    layers = masked_layers(network)
    _check_layers(edits, layers, resized)
    writes: list[Write] = []
    for edit in edits:
        layer = layers[edit.layer]
        kernel, mask = current().read(layer.kernel), current().read(layer.mask)
        _check_mask(edit, mask)
        layer.check_mask(edit.mask)
        value = _kernel(edit, kernel, mask, silent=layer.dormant == "silent")
        writes += [(layer.mask, mask, edit.mask), (layer.kernel, kernel, value)]
        for slot in (slot for slot in slots if slot.reference is layer.kernel and layer.dormant != "training"):
            held = current().read(slot.variable)
            fresh = value if slot.copies else np.full_like(held, slot.initial)
            writes.append((slot.variable, held, np.where(edit.mask & mask, held, fresh).astype(held.dtype)))
    return writes


def following_masks(network: Network, writes: Sequence[Write]) -> list[tuple[Any, str, Any]]:
    """Return the attributes of layers that follow from the masks that will be written."""
    masks = {id(variable): after for variable, _, after in writes}
    layers = (layer for layer in masked_layers(network).values() if id(layer.mask) in masks)
    return [(layer, name, value) for layer in layers for name, value in layer.follows(masks[id(layer.mask)]).items()]


def _check_layers(edits: Sequence[Rewire], layers: Mapping[str, Any], resized: set[str]) -> None:
    for edit in edits:
        if edit.layer not in layers:
            raise ValueError(
                f"Cannot rewire layer '{edit.layer}': it has no mask. Masked layers are {sorted(layers)}; make more of them with "
                "keras_struct.sparsify(model), or use MaskedDense and MaskedConv2D."
            )
        if edit.layer in resized:
            raise ValueError(
                f"Cannot rewire layer '{edit.layer}' and edit units that lie along its kernel at once: a mask has the shape of "
                "the kernel before. Make one edit after the other."
            )
    names = [edit.layer for edit in edits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Conflicting masks: layers {twice} would be rewired twice at once. Put the masks together first."
        )


def _check_mask(edit: Rewire, mask: np.ndarray) -> None:
    for name in ("mask", "values", "shift"):
        given = getattr(edit, name)
        if given is not None and given.shape != mask.shape:
            raise ValueError(
                f"`{name}` for layer '{edit.layer}' has shape {given.shape}, but its kernel has {mask.shape}. A mask that was "
                "made before the layer was resized no longer fits."
            )


def _kernel(edit: Rewire, kernel: np.ndarray, mask: np.ndarray, silent: bool) -> np.ndarray:
    """New weights: those of new connections as given or zero, those that stay shifted, those that went zero if silent."""
    value = np.where(edit.mask, kernel, 0) if silent else kernel.copy()
    born = edit.mask & ~mask
    if silent or edit.values is not None:
        value[born] = 0 if edit.values is None else edit.values[born]
    if edit.shift is not None:
        stays = edit.mask & mask
        value[stays] += edit.shift[stays].astype(value.dtype)
    if not np.isfinite(value.astype(np.float64)).all():
        raise ValueError(
            f"Weights for layer '{edit.layer}' would hold NaN or infinity: compute `values` and `shift` anew."
        )
    return value.astype(kernel.dtype)
