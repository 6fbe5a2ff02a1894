"""Choices among operations by hand."""

from __future__ import annotations

from keras_struct.core.model.methods import model_methods
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.capabilities import Choosable
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.structure.reconfiguring import Reconfigure
from keras_struct.nas.architecture import ArchitectureWeights
from keras_struct.nas.genotypes import Genotype, RecurrentGenotype, parsed


@model_methods
class ChoiceEdits:
    """What a `StructuralModel` can do with layers that choose among operations."""

    def choose(self, genotype: Genotype | RecurrentGenotype | str | None = None) -> list[StructureEvent]:
        """Turn every mixture of operations into a discrete choice. The weights of what is chosen are kept.

        Pools and nodes of cells stay normalised, and scales of normalisations fixed, as they were in the supernet; build
        `applications.darts_network(genotype)` to train a network of the usual form from fresh weights instead.

        Args:
            genotype: Cells to choose; by default what the weights of operations mean. `MixedOp`s choose their strongest layer.

        Returns:
            What was logged, an event for each layer.

        Raises:
            ValueError: If there is nothing left to choose, a cell does not have the genotype's operations, or α holds NaN.
        """
        network, edits = parts_of(self).live.network, []
        found = parsed(genotype) if isinstance(genotype, str) else genotype
        for path, layer in network.having(Choosable).items():
            if layer.weighted:
                own = layer.weighting
                decision = layer.decision(found, lambda p=path, w=own: (self.weights_of(p) if w is None else w).genes())
                edits.append(Reconfigure(path, decision, "copied"))
        if not edits:
            raise ValueError(
                "There is nothing to choose: the model has no DartsCell or DartsRNN with weights and no open MixedOp."
            )
        editor = parts_of(self).editor
        events = editor.apply(edits, reason="chosen")
        editor.optimizer.renew()
        return events

    def weights_of(self, path: str) -> ArchitectureWeights:
        """Return the layer that makes the weights that enter a cell, a `DartsRNN` or a `MixedOp`."""
        network = parts_of(self).live.network
        entering = next(call.inputs[-1] for call in network.graph.calls if call.layer == path)
        maker = next(call.layer for call in network.graph.calls if entering in call.outputs)
        layer = network.layers[maker]
        if not isinstance(layer, ArchitectureWeights):
            raise ValueError(
                f"The weights of layer '{path}' come from '{maker}', which is no ArchitectureWeights layer."
            )
        return layer
