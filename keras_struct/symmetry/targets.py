"""Symmetries of layers as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.suitability import is_trainable
from keras_struct.core.model.targets import TargetFinder, register_target
from keras_struct.core.structure.capabilities import Watchable
from keras_struct.core.structure.targets import Symmetries
from keras_struct.symmetry.gradients import SymmetryGradients, measured_symmetry
from keras_struct.symmetry.methods import normalizations_behind


class SymmetryFinder(TargetFinder):
    """Symmetries of group convolutions."""

    def counts(self) -> dict[str, int]:
        """Order of the group of each layer."""
        return {name: layer.group.order for name, layer in self._layers().items()}

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy does not work on a layer, or `None` if it does."""
        layer = self._layers()[name]
        if name in (self.strategy.axes or ()) or (self.editor.model.trainable and is_trainable(layer, layer.kernel)):
            return None
        return "it is not trainable, and stays as it is unless `layers` names it"

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each layer's symmetry."""
        acting, network = set(self.acting()), self.editor.network
        layers = {n: layer for n, layer in self._layers().items() if n in acting and (only is None or n in only)}
        seen = self.observation
        gradients = SymmetryGradients(self.editor.model, layers, seen.loss_function, seen.gradient_batch)
        return {
            name: measured_symmetry(name, layer, gradients, normalizations_behind(network, name))
            for name, layer in layers.items()
        }

    def _layers(self) -> dict[str, Any]:
        return self.editor.network.having(Watchable)


register_target(Symmetries, SymmetryFinder)
