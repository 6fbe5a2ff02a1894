"""Blocks as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.targets import TargetFinder, register_target
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.core.structure.tensors import TensorRef
from keras_struct.core.surgery.graph_change import GraphChange
from keras_struct.depth.block import Block
from keras_struct.depth.blocks import find_blocks
from keras_struct.depth.measurements import BlockMeasurement
from keras_struct.depth.strategy import Blocks
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.statistics.effective_dimension import effective_dimension


class BlockFinder(TargetFinder):
    """Blocks with weights."""

    def blocks(self) -> dict[str, Block]:
        """Return them by name."""
        return {name: block for name, block in find_blocks(self.editor.model).items() if block.parameters}

    def counts(self) -> dict[str, int]:
        """How many weights each block has."""
        return {name: block.parameters for name, block in self.blocks().items()}

    def why_left_out(self, name: str) -> str | None:
        """Return `None`: blocks are all alike."""
        return None

    def metrics(self) -> dict[str, int]:
        """How many layers and operations are called."""
        return {"layers": len(self.editor.network.layers)}

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each block, computed as far as a strategy asks."""
        blocks, acting = self.blocks(), set(self.acting())
        chosen = [b for name, b in blocks.items() if name in acting and (only is None or name in only)]
        return {block.name: self._measured(block) for block in chosen}

    def _measured(self, block: Block) -> BlockMeasurement:
        names = frozenset(
            op.name for op in internals.operations_of(GraphChange(self.editor.model).network(block.exit.layer))
        )
        influence = partial(self._influence, block)
        return BlockMeasurement(block, names, self.observation.loss, influence, partial(self._dimension, block))

    def _influence(self, block: Block) -> float:
        entering, leaving = self._values(block.name, [block.entry, block.exit])
        products = (entering * leaving).sum(-1)
        norms = np.linalg.norm(entering, axis=-1) * np.linalg.norm(leaving, axis=-1)
        return float(1 - (products / np.maximum(norms, 1e-30)).mean())

    def _dimension(self, block: Block, epsilon: float) -> float:
        (leaving,) = self._values(block.name, [block.exit])
        return float(effective_dimension(leaving, epsilon))

    def _values(self, name: str, refs: list[TensorRef]) -> list[np.ndarray]:
        """Values of some tensors on the inputs that are kept, as samples of units in float64."""
        inputs = self.observation.inputs()
        if inputs is None:
            raise MeasurementError(f"No inputs are kept to measure block '{name}' on. Pass `probe=` to compile.")
        network, change = self.editor.network, GraphChange(self.editor.model)
        known = {id(symbol): number for number, held in network.symbols.items() for symbol in held}
        numbers = [known[id(change.tensor(ref))] for ref in refs]
        found = self.observation.probe.compute(
            ("block", *numbers), lambda x: [run(network, x, numbers)[number] for number in numbers], inputs
        )
        arrays = [np.asarray(keras.ops.convert_to_numpy(value), np.float64) for value in found]
        return [array.reshape(-1, array.shape[-1]) for array in arrays]


register_target(Blocks, BlockFinder)
