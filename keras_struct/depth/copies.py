"""Edits that leave out, copy or move blocks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import Any

from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth.block import Block, CopyInit, block_copy
from keras_struct.depth.edits import Entry, Graft, Part
from keras_struct.depth.part_edits import joined, with_entries


def remove(block: Block) -> Graft:
    """Return the edit that leaves out a block: what read its output reads what enters it.

    Args:
        block: One of `model.blocks`.
    """
    return Graft((block.entry,), (block.exit,), Part(), f"remove {block.name}")


def duplicate(
    block: Block,
    times: int = 1,
    after: Block | None = None,
    init: CopyInit = "copy",
    taken: Collection[str] = (),
) -> Graft:
    """Return the edit that puts copies of a block behind it, with its weights and the state that the optimizer has of them.

    Args:
        block: One of `model.blocks`.
        times: How many copies.
        after: The block behind which they are put; by default the block itself.
        init: `"copy"`, so that the copies compute what the block does; or `"identity"`, so that they return what enters:
            the last layers of residual blocks start at zero.
        taken: Names of layers that the network has.

    Raises:
        ValueError: If `times` is not positive, or no copy can start as an identity.
    """
    if times < 1:
        raise ValueError(f"`times` must be 1 or more. Received: {times}")
    return stack([block], times + 1, after or block, init, taken, f"duplicate {block.name}")


def stack(
    blocks: Sequence[Block],
    factor: int = 2,
    after: Block | None = None,
    init: CopyInit = "copy",
    taken: Collection[str] = (),
    title: str | None = None,
) -> Graft:
    """Return the edit that repeats blocks behind each other: 1 2 3 becomes 1 2 3 1 2 3.

    Args:
        blocks: Some of `model.blocks`, in their order, each of which begins where the one in front of it ends.
        factor: How often they are there afterwards.
        after: The block behind which the copies are put; by default the last one of them.
        init: As for `duplicate`.
        taken: Names of layers that the network has.
        title: What the log says.

    Raises:
        ValueError: If `factor` is below 2, blocks do not stand behind each other, or no copy can start as an identity.
    """
    if factor < 2 or not blocks:
        raise ValueError(
            f"Expected blocks and a `factor` of 2 or more. Received: {len(blocks)} blocks, factor {factor}"
        )
    _check_behind_each_other(blocks)
    copies = [*blocks] * (factor - 1)
    title = title or f"stack {len(blocks)} blocks {factor} times"
    return append_copies(copies, after or blocks[-1], init, taken, title)


def append_copies(
    blocks: Sequence[Block], after: Block | None, init: CopyInit, taken: Collection[str], title: str
) -> Graft:
    """Return the edit that puts copies of blocks behind each other, in the order given, behind a block.

    Args:
        blocks: Blocks whose ends have one shape, maybe the same one several times.
        after: The block behind which the copies are put; by default the last one of them.
        init: As for `duplicate`.
        taken: Names of layers that the network has.
        title: What the log says.

    Raises:
        ValueError: If `init` is unknown, or no copy can start as an identity.
    """
    check_one_of("init", init, ("copy", "identity", "fresh"))
    names, parts = set(taken), []
    for block in blocks:
        parts.append(block_copy(block, names, init))
        names |= set(parts[-1].layers)
    end = (after or blocks[-1]).exit
    beside, parts = _with_shared_entries(blocks, parts)
    return Graft((end, *beside), (end,), joined(parts), title)


def reorder(blocks: Sequence[Block]) -> Graft:
    """Return the edit that calls blocks in another order.

    Args:
        blocks: Blocks that stand behind each other, in the order that is wanted.

    Raises:
        ValueError: If they do not stand behind each other.
    """
    ordered = sorted(blocks, key=lambda block: block.depth)
    _check_behind_each_other(ordered)
    beside = list(dict.fromkeys(ref for block in blocks for ref in block.beside))
    places = {ref: Entry(1 + i) for i, ref in enumerate(beside)}
    parts = [
        dataclasses.replace(with_entries(block.part, [Entry(0), *(places[ref] for ref in block.beside)]), layers={})
        for block in blocks
    ]
    title = f"reorder {', '.join(block.name for block in blocks)}"
    return Graft((ordered[0].entry, *beside), (ordered[-1].exit,), joined(parts), title)


def _with_shared_entries(blocks: Sequence[Block], parts: Sequence[Part]) -> tuple[list[TensorRef], list[Part]]:
    """What blocks read beside, each once, and parts of them that read it behind the one tensor that enters."""
    beside = list(dict.fromkeys(ref for block in blocks for ref in block.beside))
    places = {ref: Entry(1 + i) for i, ref in enumerate(beside)}
    moved = [
        with_entries(part, [Entry(0), *(places[ref] for ref in block.beside)])
        for block, part in zip(blocks, parts, strict=True)
    ]
    return beside, moved


def _check_behind_each_other(blocks: Sequence[Block]) -> None:
    for first, second in itertools.pairwise(blocks):
        if first.exit != second.entry:
            raise ValueError(
                f"Block '{second.name}' does not begin where '{first.name}' ends: expected blocks that stand behind each other. "
                "model.blocks lists them in their order."
            )


def check_one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise a ValueError unless an argument is one of those that are known."""
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}. Received: {value!r}")
