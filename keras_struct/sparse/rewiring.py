"""Edits of single connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.structure.capabilities import Maskable
from keras_struct.core.surgery.edit_kinds import EditKind, Fact, Request, Write, register_edit
from keras_struct.core.surgery.trace import Network
from keras_struct.sparse.edits import Rewire


class Rewiring(EditKind[Rewire]):
    """Edits of single connections of masked layers."""

    edit = Rewire

    def plan(self, request: Request, edits: Sequence[Rewire], touched: set[str]) -> tuple[list[Write], list[Fact]]:
        """Return the new masks and weights.

        Raises:
            ValueError: If a layer is unknown or has no mask, is edited twice or in another way at once, a mask has another shape
                than the kernel or leaves no connection, or values have the wrong shape or are not finite.
        """
        layers = request.network.having(Maskable)
        _check_layers(edits, layers, touched)
        return [write for edit in edits for write in _rewired(request, edit, layers[edit.layer])], []

    def follow(self, network: Network, writes: Sequence[Write]) -> list[Fact]:
        """Return the attributes of layers that follow from the masks that will be written."""
        layers = network.having(Maskable).values()
        masks = {id(write.variable): write.after for write in writes} if layers else {}
        return [
            Fact(layer, name, value)
            for layer in layers
            if id(layer.mask) in masks
            for name, value in layer.follows(masks[id(layer.mask)]).items()
        ]

    def size(self, network: Network, edit: Rewire) -> int:
        """Return the number of connections."""
        layer = network.having(Maskable).get(edit.layer)
        return 0 if layer is None else count(layer)

    def name(self, edit: Rewire) -> str:
        """Return the layer."""
        return edit.layer


register_edit(Rewiring())


def count(layer: Any) -> int:
    """How many connections a masked layer has."""
    return int(current().read(layer.mask).sum())


def _rewired(request: Request, edit: Rewire, layer: Any) -> list[Write]:
    """What an edit writes to the mask and the kernel of its layer, and to the slots of that."""
    kernel, mask = current().read(layer.kernel), current().read(layer.mask)
    _check_mask(edit, mask)
    layer.check_mask(edit.mask)
    value = _kernel(edit, kernel, mask, silent=layer.dormant == "silent")
    writes = [Write(layer.mask, mask, edit.mask), Write(layer.kernel, kernel, value)]
    for slot in request.followers(layer.kernel) if layer.dormant != "training" else ():
        held = current().read(slot.variable)
        fresh = value if slot.copies else np.full_like(held, slot.initial)
        writes.append(Write(slot.variable, held, np.where(edit.mask & mask, held, fresh).astype(held.dtype)))
    return writes


def _check_layers(edits: Sequence[Rewire], layers: Mapping[str, Any], touched: set[str]) -> None:
    for edit in edits:
        if edit.layer not in layers:
            raise ValueError(
                f"Cannot rewire layer '{edit.layer}': it has no mask. Masked layers are {sorted(layers)}; make more of them with "
                "keras_struct.sparsify(model), or use MaskedDense and MaskedConv2D."
            )
        if edit.layer in touched:
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
            f"Weights for layer '{edit.layer}' would hold NaN or infinity: compute `values` and `shift` again."
        )
    return value.astype(kernel.dtype)
