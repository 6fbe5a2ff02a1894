"""Choices among operations by hand."""

from __future__ import annotations

from typing import Any

from keras_struct.layers.architecture import ArchitectureWeights
from keras_struct.layers.darts_cell import DartsCell
from keras_struct.layers.mixed_op import MixedOp
from keras_struct.structure.events import StructureEvent
from keras_struct.structure.genotypes import Genotype
from keras_struct.structure.reconfiguring import Reconfigure


class ChoiceEdits:
    """What a `StructuralModel` can do with layers that choose among operations."""

    _structural: Any

    def choose(self, genotype: Genotype | str | None = None) -> list[StructureEvent]:
        """Turn every mixture of operations into a discrete choice. The weights of what is chosen are kept.

        Pools of cells stay normalised, and scales of normalisations fixed, as they were in the supernet; build
        `applications.darts_network(genotype)` to train a network of the usual form from fresh weights instead.

        Args:
            genotype: Cells to choose; by default what the weights of operations mean. `MixedOp`s choose their strongest layer.

        Returns:
            What was logged, an event for each layer.

        Raises:
            ValueError: If there is nothing left to choose, a cell does not have the genotype's operations, or α holds NaN.
        """
        network, edits = self._structural.network, []
        found = Genotype.parse(genotype) if isinstance(genotype, str) else genotype
        for path, layer in network.layers.items():
            if isinstance(layer, DartsCell) and layer.weighted:
                wanted = None if found is None else found.reduce if layer.reduction else found.normal
                genes = self.weights_of(path).genes() if wanted is None else wanted
                edits.append(Reconfigure(path, {"genes": [list(gene) for gene in genes]}, "copied"))
            elif isinstance(layer, MixedOp) and layer.chosen is None:
                weights = self.weights_of(path) if layer.weighting is None else layer.weighting
                edits.append(Reconfigure(path, {"chosen": weights.genes()[0][0]}, "copied"))
        if not edits:
            raise ValueError("There is nothing to choose: the model has no DartsCell with weights and no open MixedOp.")
        events = self._structural.apply(edits, reason="chosen")
        self._structural.renew_optimizer()
        return events

    def weights_of(self, path: str) -> ArchitectureWeights:
        """Return the layer that makes the weights that enter a cell or a `MixedOp`."""
        network = self._structural.network
        entering = next(call.inputs[-1] for call in network.graph.calls if call.layer == path)
        maker = next(call.layer for call in network.graph.calls if entering in call.outputs)
        layer = network.layers[maker]
        if not isinstance(layer, ArchitectureWeights):
            raise ValueError(
                f"The weights of layer '{path}' come from '{maker}', which is no ArchitectureWeights layer."
            )
        return layer
