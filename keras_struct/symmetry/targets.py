"""Symmetries of layers as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.targets import LayerFinder, register_target
from keras_struct.core.structure.capabilities import Watchable
from keras_struct.symmetry.gradients import SymmetryGradients, measured_symmetry
from keras_struct.symmetry.methods import normalizations_behind
from keras_struct.symmetry.strategy import Symmetries


class SymmetryFinder(LayerFinder):
    """Symmetries of group convolutions."""

    def counts(self) -> dict[str, int]:
        """Order of the group of each layer."""
        return {name: layer.group.order for name, layer in self.layers().items()}

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each layer's symmetry."""
        seen, network, layers = self.observation, self.editor.network, self.chosen(only)
        gradients = SymmetryGradients(self.editor.model, layers, seen.loss_function, seen.gradient_batch)
        return {
            name: measured_symmetry(name, layer, gradients, normalizations_behind(network, name))
            for name, layer in layers.items()
        }

    def layers(self) -> dict[str, Any]:
        """Return the group convolutions."""
        return self.editor.network.having(Watchable)


register_target(Symmetries, SymmetryFinder)
