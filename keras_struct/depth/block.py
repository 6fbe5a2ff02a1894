"""What a block is, and how blocks are alike, grouped and copied: data, without Keras."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth.edits import Entry, Made, Part, Source, Start, sources_in
from keras_struct.depth.part_edits import joined, new_names, renamed, with_entries

CopyInit = Literal["copy", "identity", "fresh"]


@dataclass(frozen=True)
class Block:
    """A region of a network that can be left out, copied or moved: one tensor enters, one of the same shape leaves.

    Attributes:
        name: Path of the layer that ends it.
        entry: The tensor that enters.
        exit: The tensor that leaves.
        layers: Paths of its layers and operations, in an order in which they can be run.
        kind: Name of the first block that has the same layers with the same arguments.
        depth: Its place among the blocks, from 0 on.
        parameters: Number of its weights.
        shape: Shape of what enters and leaves, with the batch.
        parts: Blocks that it consists of, where several make one that is repeated.
        beside: Tensors that it reads beside the one that enters, such as a mask.
        part: The block as data.
    """

    name: str
    entry: TensorRef
    exit: TensorRef
    layers: tuple[str, ...]
    kind: str
    depth: int
    parameters: int
    shape: tuple[int | None, ...]
    parts: tuple[Block, ...] = ()
    beside: tuple[TensorRef, ...] = field(default=(), repr=False)
    part: Part = field(default_factory=Part, repr=False)


def rows_of(blocks: Iterable[Block]) -> list[list[Block]]:
    """Return rows of blocks with weights, of one kind each, that stand behind each other."""
    rows: list[list[Block]] = []
    for block in (block for block in blocks if block.parameters):
        if rows and rows[-1][-1].kind == block.kind and rows[-1][-1].exit == block.entry:
            rows[-1].append(block)
        else:
            rows.append([block])
    return rows


def repeated_blocks(blocks: Iterable[Block]) -> list[Block]:
    """Return the longest row of blocks of one kind, with weights, that stand behind each other.

    Raises:
        ValueError: If no block has weights.
    """
    rows = rows_of(blocks)
    if not rows:
        raise ValueError(
            "There is no block with weights that keeps the shape of what enters it, so that nothing can be repeated. Insert one "
            "first: model.insert_block([...], after=...)."
        )
    return max(rows, key=len)


def block_copy(block: Block, taken: Collection[str], init: CopyInit) -> Part:
    """Return a block as new layers that are like its own.

    Args:
        block: The block.
        taken: Names of layers that the network has.
        init: `"copy"`, with the weights of its own layers and the state that the optimizer has of them; `"fresh"`, as
            initializers say; `"identity"`, so that it returns what enters: copies of residual blocks whose last layers start at
            zero, and layers of other blocks as identities.

    Raises:
        ValueError: If one residual region cannot start as an identity.
    """
    prefix = block.name.rpartition("/")[0]
    old = list(block.part.layers)
    names = dict(zip(old, new_names([f"{name}_copy" for name in old], taken), strict=True))
    starts = {name: Start("copy", layer=f"{prefix}/{name}" if prefix else name) for name in old}
    if init == "fresh":
        starts = {}
    elif init == "identity":
        for part in block.parts or (block,):
            starts |= _starts_of_an_identity(part)
    return renamed(replace(block.part, starts=starts), names)


def _starts_of_an_identity(block: Block) -> dict[str, Start]:
    if _is_residual(block):
        return {name: Start("zero") for name in last_layers(block)}
    return {name: Start("identity") for name in block.part.layers}


def last_layers(block: Block) -> list[str]:
    """Return the layers of a residual block without which it returns what enters it.

    Raises:
        ValueError: If it is none: it does not end by adding what enters.
    """
    part = block.part
    end = part.calls[part.outputs[0].call] if isinstance(part.outputs[0], Made) else None
    operands = sources_in((list(end.args), dict(end.kwargs))) if end is not None and _adds(part, end.layer) else []
    paths = [source for source in operands if source != Entry(0)]
    if len(paths) == len(operands) or not paths:
        raise ValueError(
            f"Block '{block.name}' cannot start as an identity: it does not end by adding what enters it. Pass "
            'init="copy", or insert a residual block: model.insert_block(...).'
        )
    return [last_with_weights(part, source) for source in paths]


def last_with_weights(part: Part, source: Source) -> str:
    """Return the layer without whose weights a tensor of a part is zero: the last one, behind layers that pass zeros on.

    Raises:
        ValueError: If there is none.
    """
    while isinstance(source, Made):
        call = part.calls[source.call]
        if not _passes_zero(part.layers[call.layer]):
            return call.layer
        source = sources_in((list(call.args), dict(call.kwargs)))[0]
    raise ValueError(
        "No layer of the path has weights that can start at zero, so that it would change what the network computes. Let its "
        'last layer have weights, such as Dense without activation, or pass gate=True or init="fresh".'
    )


_PASSING_ZERO = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Identity",
    "Reshape",
    "Permute",
)


def _passes_zero(config: Mapping[str, Any]) -> bool:
    """Whether a layer returns zeros for zeros, and gradients reach what is in front of it then."""
    if config["class_name"] == "Activation":
        return config["config"].get("activation") in ("linear", "tanh", "gelu", "silu", "elu", "selu")
    return config["class_name"] in _PASSING_ZERO


def _adds(part: Part, layer: str) -> bool:
    return part.layers[layer]["class_name"] == "Add"


def grouped_blocks(regions: Sequence[Block | None]) -> list[Block]:
    """Blocks; regions that are repeated with a period make one together."""
    found: list[Block] = []
    signs = [None if region is None else signature_of(region) for region in regions]
    place = 0
    while place < len(regions):
        region = regions[place]
        period, times = _repeated(regions, signs, place)
        if times == 1:
            period = _with_attention(regions, place)
        if period > 1:
            starts = range(place, place + period * times, period)
            found += [_joined([r for r in regions[i : i + period] if r is not None]) for i in starts]
        elif region is not None:
            found.append(region)
        place += max(1, period * times if period > 1 else 1)
    return found


def _repeated(regions: Sequence[Block | None], signs: Sequence[str | None], place: int) -> tuple[int, int]:
    """The period with which regions from a place on are repeated, and how often; (1, 1) if they are not."""
    best, region = (1, 1), regions[place]
    if region is None or not region.parameters:
        return best
    for period in range(2, (len(signs) - place) // 2 + 1):
        group, times = list(signs[place : place + period]), 1
        if None in group or len(set(group)) == 1:
            continue
        while signs[place + times * period : place + (times + 1) * period] == group:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _with_attention(regions: Sequence[Block | None], place: int) -> int:
    """How many regions from a place on make a block of a transformer: residual ones with attention, and one behind them."""
    end = place
    while end < len(regions) and _is_residual(regions[end]) and _attends(regions[end]):
        end += 1
    return end - place + 1 if place < end < len(regions) and _is_residual(regions[end]) else 1


def _is_residual(region: Block | None) -> bool:
    end = None if region is None else region.part.outputs[0]
    return region is not None and isinstance(end, Made) and _adds(region.part, region.part.calls[end.call].layer)


def _attends(region: Block | None) -> bool:
    return region is not None and any("Attention" in config["class_name"] for config in region.part.layers.values())


def _joined(regions: Sequence[Block]) -> Block:
    """Regions behind each other as one block."""
    beside = tuple(dict.fromkeys(ref for region in regions for ref in region.beside))
    places = {ref: Entry(1 + i) for i, ref in enumerate(beside)}

    def moved(region: Block) -> Part:
        entries = [Entry(0), *(places[ref] for ref in region.beside)]
        return with_entries(region.part, entries)

    last = regions[-1]
    return replace(
        last,
        entry=regions[0].entry,
        layers=tuple(name for region in regions for name in region.layers),
        parameters=sum(region.parameters for region in regions),
        parts=tuple(regions),
        beside=beside,
        part=joined([moved(region) for region in regions]),
    )


def signature_of(block: Block) -> str:
    """What two blocks have in common that are alike but for names and weights."""
    places = {name: i for i, name in enumerate(block.part.layers)}
    calls = [(places[c.layer], repr(c.args), repr(sorted(c.kwargs.items()))) for c in block.part.calls]
    layers = [(config["class_name"], _nameless(config["config"])) for config in block.part.layers.values()]
    return json.dumps([layers, calls, list(block.shape), block.parameters], sort_keys=True, default=str)


def _nameless(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {
            key: _nameless(value)
            for key, value in config.items()
            if key not in ("name", "seed", "build_config", "registered_name") and not key.endswith("_initializer")
        }
    return [_nameless(item) for item in config] if isinstance(config, list | tuple) else config
