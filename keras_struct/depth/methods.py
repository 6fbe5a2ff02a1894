"""Methods for depth of structural models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.methods import model_methods
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth import constructors, copies
from keras_struct.depth.block import Block, CopyInit, repeated_blocks
from keras_struct.depth.blocks import find_blocks
from keras_struct.depth.constructors import Init, Merge


@model_methods
class Depth:
    """Layers and blocks that come and go."""

    apply: Any

    @property
    def blocks(self) -> Mapping[str, Block]:
        """Blocks that can be left out, copied or moved, by the path of the layer that ends each, in their order."""
        return MappingProxyType(find_blocks(self))

    def insert(self, layer: Any, after: str | TensorRef, init: Init = "identity") -> StructureEvent:
        """Put a layer, or several behind each other, behind another one. Arguments as of `keras_struct.insert`.

        Returns:
            What was logged.

        Raises:
            ValueError: If it does not fit there, has no identity, or its name is taken; the model is as it was.
            TypeError: If it is no layer.
        """
        return self.apply(constructors.insert(layer, after, init, _taken(self, after)))

    def insert_block(
        self,
        layers: Any,
        after: str | TensorRef,
        init: Init = "identity",
        gate: bool = False,
        name: str | None = None,
    ) -> StructureEvent:
        """Put a residual block `x + f(x)` behind a layer. Arguments as of `keras_struct.insert_block`.

        Returns:
            What was logged.

        Raises:
            ValueError: If it does not fit there, f cannot start at zero, or a name is taken; the model is as it was.
            TypeError: If something is no layer.
        """
        return self.apply(constructors.insert_block(layers, after, init, gate, name, _taken(self, after)))

    def branch(
        self,
        start: str | TensorRef,
        end: str | TensorRef,
        layers: Any = (),
        merge: Merge = "add",
        init: Init = "identity",
        gate: bool = False,
        name: str | None = None,
    ) -> StructureEvent:
        """Add a path from one layer to another beside what leads there. Arguments as of `keras_struct.branch`.

        Returns:
            What was logged.

        Raises:
            ValueError: If it does not fit there, cannot start at zero, or a name is taken; the model is as it was.
            TypeError: If something is no layer.
        """
        return self.apply(constructors.branch(start, end, layers, merge, init, gate, name, _taken(self, end)))

    def remove(self, block: str | Block) -> StructureEvent:
        """Leave out a block: what read its output reads what enters it.

        Args:
            block: Its name, a key of `model.blocks` or one of the parts of these.

        Returns:
            What was logged, with the change of the outputs.

        Raises:
            ValueError: If there is no such block, or another model reads a tensor inside it.
        """
        return self.apply(copies.remove(_block(self, block)))

    def duplicate(
        self, block: str | Block, times: int = 1, after: str | Block | None = None, init: CopyInit = "copy"
    ) -> StructureEvent:
        """Put copies of a block behind it, with its weights and their optimizer state. Arguments as of `keras_struct.duplicate`.

        Returns:
            What was logged.

        Raises:
            ValueError: If there is no such block, or it cannot start as an identity.
        """
        found = _block(self, block)
        place = None if after is None else _block(self, after)
        return self.apply(copies.duplicate(found, times, place, init, _taken(self, found.exit)))

    def stack(
        self, factor: int = 2, blocks: Sequence[str | Block] | None = None, init: CopyInit = "copy"
    ) -> StructureEvent:
        """Repeat blocks behind each other: 1 2 3 becomes 1 2 3 1 2 3.

        Args:
            factor: How often they are there afterwards.
            blocks: Which; by default the longest row of blocks of one kind with weights.
            init: As of `keras_struct.duplicate`.

        Returns:
            What was logged.

        Raises:
            ValueError: If there are no such blocks, or they do not stand behind each other.
        """
        chosen = repeated_blocks(self.blocks.values()) if blocks is None else [_block(self, block) for block in blocks]
        return self.apply(copies.stack(chosen, factor, None, init, _taken(self, chosen[-1].exit)))

    def reorder(self, blocks: Sequence[str | Block]) -> StructureEvent:
        """Call blocks that stand behind each other in another order.

        Args:
            blocks: Their names, in the order that is wanted.

        Returns:
            What was logged, with the change of the outputs.

        Raises:
            ValueError: If there are no such blocks, or they do not stand behind each other.
        """
        return self.apply(copies.reorder([_block(self, block) for block in blocks]))

    def replace(self, block: str | Block, layers: Any, init: Init = "fresh") -> StructureEvent:
        """Put other layers in the place of a block.

        Args:
            block: Its name.
            layers: As in `insert`; they must return the shape of what leaves the block.
            init: `"fresh"`, or `"identity"` where layers have one.

        Returns:
            What was logged, with the change of the outputs.

        Raises:
            ValueError: If there is no such block, or the layers do not fit there.
            TypeError: If something is no layer.
        """
        found = _block(self, block)
        return self.apply(constructors.replace(found, layers, init, _taken(self, found.exit)))


def _block(model: Any, block: str | Block) -> Block:
    blocks = model.blocks
    name = block.name if isinstance(block, Block) else block
    parts = {part.name: part for held in blocks.values() for part in held.parts}
    found = blocks.get(name) or parts.get(name)
    if found is None:
        raise ValueError(
            f"There is no block '{name}'. A block is named after the layer that ends it: expected one of {list(blocks)}. A "
            "region that is none has several tensors that enter or leave, or ends of different shapes."
        )
    return found


def _taken(model: Any, place: str | TensorRef) -> set[str]:
    """Names of the layers beside a place."""
    path = place.layer if isinstance(place, TensorRef) else place
    network = internals.functional_of(model)
    for part in path.split("/")[:-1]:
        inner = next((op for op in internals.operations_of(network) if op.name == part), None)
        nested = None if inner is None else internals.nested_network(inner)
        network = network if nested is None else nested
    return {operation.name for operation in internals.operations_of(network)}
