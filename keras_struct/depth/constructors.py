"""Edits of depth, made from what is to be done."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import Any, Literal

import keras

from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth.blocks import Block, CopyInit, block_copy, last_with_weights, with_entries
from keras_struct.depth.edits import Entry, Graft, Made, Part, PartCall, Source, Start
from keras_struct.depth.layers import Gate
from keras_struct.depth.parts import joined, new_names, part_of, serialized

Place = str | TensorRef
Merge = Literal["add", "average", "concatenate", "multiply", "maximum"]
Init = Literal["identity", "fresh"]


def insert(layer: Any, after: Place, init: Init = "identity", taken: Collection[str] = ()) -> Graft:
    """Return the edit that puts a layer, or several behind each other, behind a tensor.

    Args:
        layer: A layer, a list of layers or a Functional model. Layers that are built bring their weights along.
        after: The layer behind which it is put, by its path; `TensorRef(layer, call, output)` where that has several outputs or
            is called several times.
        init: `"identity"`, so that the network computes what it did (see the guide for which layers have one), or `"fresh"`, with
            weights as the initializers of the layers say. Weights of built layers stay either way.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If it is no layer.
        ValueError: If `init` is unknown.
    """
    _check_one_of("init", init, ("identity", "fresh"))
    part, ref = part_of(layer, taken), _ref(after)
    if init == "identity":
        part = dataclasses.replace(part, starts={name: Start("identity") for name in part.layers} | dict(part.starts))
    return Graft((ref,), (ref,), part, f"insert {_named(part)}")


def insert_block(
    layers: Any,
    after: Place,
    init: Init = "identity",
    gate: bool = False,
    name: str | None = None,
    taken: Collection[str] = (),
) -> Graft:
    """Return the edit that puts a residual block `x + f(x)` behind a tensor.

    Args:
        layers: The layers of f, as in `insert`; it must return the shape of what enters.
        after: The layer behind which it is put.
        init: `"identity"`, so that f returns zeros at first: its last layer with weights starts at zero; or `"fresh"`.
        gate: Whether f is multiplied by a number that is trained, from 0 on; the layers of f start as initializers say.
        name: Name of the layer that adds, which ends the block.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If something is no layer.
        ValueError: If f has no layer that can start at zero.
    """
    ref = _ref(after)
    return _parallel(layers, ref, ref, "add", init, gate, name, taken, "insert block")


def branch(
    start: Place,
    end: Place,
    layers: Any = (),
    merge: Merge = "add",
    init: Init = "identity",
    gate: bool = False,
    name: str | None = None,
    taken: Collection[str] = (),
) -> Graft:
    """Return the edit that adds a path from one tensor to another beside what leads there: `merge(end, f(start))`.

    Args:
        start: The layer whose output enters f.
        end: The layer whose output is merged with what f returns; all behind it reads the result.
        layers: The layers of f; none for a skip connection.
        merge: How the two are merged: `"add"`, `"average"`, `"maximum"`, `"multiply"`, by the layers of these names.
        init: `"identity"`, so that the network computes what it did: f returns zeros at first, which needs `"add"`; or `"fresh"`.
        gate: Whether f is multiplied by a number that is trained, from 0 on.
        name: Name of the layer that merges.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If something is no layer.
        ValueError: If `merge` is unknown, or f has no layer that can start at zero.
    """
    return _parallel(layers, _ref(start), _ref(end), merge, init, gate, name, taken, "branch")


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
    _check_one_of("init", init, ("copy", "identity", "fresh"))
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


def replace(block: Block, layers: Any, init: Init = "fresh", taken: Collection[str] = ()) -> Graft:
    """Return the edit that puts other layers in the place of a block.

    Args:
        block: One of `model.blocks`.
        layers: As in `insert`; they must return the shape of what leaves the block.
        init: `"fresh"`, or `"identity"` where layers have one.
        taken: Names of layers that the network has.
    """
    graft = insert(layers, block.entry, init, taken)
    return dataclasses.replace(graft, ends=(block.exit,), title=f"replace {block.name} by {_named(graft.part)}")


def _parallel(
    layers: Any,
    start: TensorRef,
    end: TensorRef,
    merge: str,
    init: str,
    gate: bool,
    name: str | None,
    taken: Collection[str],
    title: str,
) -> Graft:
    _check_one_of("init", init, ("identity", "fresh"))
    _check_one_of("merge", merge, tuple(_MERGES))
    part = part_of(layers, taken)
    starts = dict(part.starts)
    if init == "identity" or gate:
        if merge != "add":
            raise ValueError(
                f'With merge="{merge}" a path of zeros changes what the network computes: expected merge="add", or init="fresh".'
            )
        if not gate:
            starts[last_with_weights(part, part.outputs[0])] = Start("zero")
    calls, configs = list(part.calls), dict(part.layers)
    result: Source = part.outputs[0]
    if gate:
        (key,) = new_names(["gate"], {*taken, *configs})
        configs[key] = _of_the_network(Gate())
        calls.append(PartCall(key, (result,)))
        result = Made(len(calls) - 1)
    merging = _MERGES[merge](name=name)
    (key,) = new_names([name or f"{_last_name(part, start)}_{merge}"], {*taken, *configs}, [merging] if name else ())
    configs[key] = _of_the_network(merging)
    other: Source = Entry(0) if start == end else Entry(1)
    calls.append(PartCall(key, ([other, result],)))
    cut = (start,) if start == end else (start, end)
    return Graft(cut, (end,), Part(configs, tuple(calls), (Made(len(calls) - 1),), starts), f"{title} {key}")


_MERGES = {
    "add": keras.layers.Add,
    "average": keras.layers.Average,
    "multiply": keras.layers.Multiply,
    "maximum": keras.layers.Maximum,
}


def _of_the_network(layer: Any) -> dict[str, Any]:
    """The configuration of a layer that gets the dtype policy of the layers around it."""
    config = serialized(layer)
    return {**config, "config": {**config["config"], "dtype": None}}


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


def _ref(place: Place) -> TensorRef:
    return place if isinstance(place, TensorRef) else TensorRef(place)


def _named(part: Part) -> str:
    return ", ".join(part.layers) or "nothing"


def _last_name(part: Part, start: TensorRef) -> str:
    return part.calls[-1].layer if part.calls else start.layer.rpartition("/")[2]


def _check_one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}. Received: {value!r}")
