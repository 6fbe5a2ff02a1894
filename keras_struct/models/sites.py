"""What strategies work on: unit axes, connections, or symmetries of layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import keras

from keras_struct.probes.coactivity import why_undefined
from keras_struct.probes.symmetry import SymmetryGradients, SymmetryMeasurement
from keras_struct.surgery.rewiring import masked_layers


class UnitSites:
    """Unit axes of a model.

    Attributes:
        counts_connections: Whether what is edited are connections, whose number the logs of training tell.

    Args:
        evolution: The structural side of the model.
    """

    counts_connections = False

    def __init__(self, evolution: Any) -> None:
        self.evolution = evolution

    def counts(self) -> dict[str, int]:
        """Names of what can be edited, with a number that says how large each is."""
        return dict(self.evolution.graph.axes)

    def locked(self) -> dict[str, str]:
        """Why others cannot."""
        return dict(self.evolution.graph.locked)

    def acting(self) -> list[str]:
        """Names of what the strategy works on."""
        wanted = self.evolution.strategy.axes
        return [name for name in self.counts() if wanted is None or name in wanted]

    def check_probe(self) -> None:
        """Raise unless there are enough samples for every axis that the strategy may grow.

        Raises:
            ValueError: If there are not.
        """
        evolution = self.evolution
        seen = evolution.observation
        held = keras.tree.flatten(seen.fixed_inputs)[0].shape[0]
        for axis in self.acting() if evolution.strategy.needs_inputs else ():
            limit = evolution.strategy_limits().get(axis, evolution.graph.axes[axis])
            if held <= (needed := seen.probe.rows_needed(axis, limit)):
                raise ValueError(
                    f"The probe has {held} samples, too few to measure axis '{axis}' up to its limit of {limit} units: pass "
                    f"more than {needed}, or a smaller `max_units`."
                )

    def measure(self, only: Collection[str] | None) -> Mapping[str, Any]:
        """Return a measurement of each."""
        evolution, strategy = self.evolution, self.evolution.strategy
        limits, widths = evolution.strategy_limits(), evolution.graph.axes
        axes = [
            axis
            for axis in self.acting()
            if (strategy.looks_at_full_axes or widths[axis] < limits.get(axis, 2**31))
            and (only is None or axis in only)
        ]
        return evolution.observation.measure(axes, limits, evolution.initial_widths, strategy.residual)


class ConnectionSites(UnitSites):
    """Connections of masked layers."""

    counts_connections = True

    def counts(self) -> dict[str, int]:
        """How many connections each masked layer has."""
        return self.evolution.connections

    def locked(self) -> dict[str, str]:
        """Nothing is."""
        return {}

    def check_probe(self) -> None:
        """Any number of samples will do."""

    def measure(self, only: Collection[str] | None) -> Mapping[str, Any]:
        """Return a measurement of each layer's connections."""
        layers, acting = masked_layers(self.evolution.network), set(self.acting())
        chosen = {name: layer for name, layer in layers.items() if name in acting and (only is None or name in only)}
        return self.evolution.observation.measure_connections(chosen)


class ActiveSites(ConnectionSites):
    """Connections of masked layers of which it is known when their ends are active."""

    def counts(self) -> dict[str, int]:
        """How many connections each such layer has."""
        locked = self.locked()
        return {name: count for name, count in super().counts().items() if name not in locked}

    def locked(self) -> dict[str, str]:
        """Why it is not known of others."""
        evolution = self.evolution
        threshold, probe = evolution.strategy.threshold, evolution.observation.probe
        found = {name: why_undefined(probe, name, threshold) for name in masked_layers(evolution.network)}
        return {name: reason for name, reason in found.items() if reason is not None}


class EdgeSites(ConnectionSites):
    """Edges between neurons of one layer, of which it is known when they are active."""

    def counts(self) -> dict[str, int]:
        """How many edges each layer has."""
        layers = masked_layers(self.evolution.network)
        return {n: count for n, count in super().counts().items() if hasattr(layers[n], "threshold_of_activity")}


class SymmetrySites(ConnectionSites):
    """Symmetries of group convolutions."""

    counts_connections = False

    def _layers(self) -> dict[str, Any]:
        layers = self.evolution.network.layers.items()
        return {name: layer for name, layer in layers if hasattr(layer, "watching")}

    def counts(self) -> dict[str, int]:
        """Order of the group of each layer."""
        return {name: layer.group.order for name, layer in self._layers().items()}

    def measure(self, only: Collection[str] | None) -> Mapping[str, Any]:
        """Return a measurement of each layer's symmetry."""
        acting, evolution = set(self.acting()), self.evolution
        layers = {n: layer for n, layer in self._layers().items() if n in acting and (only is None or n in only)}
        seen, followers = evolution.observation, evolution.model.normalizations_behind
        gradients = SymmetryGradients(evolution.model, layers, seen.loss_function, seen.gradient_batch)
        return {n: SymmetryMeasurement(n, layer, gradients, tuple(followers(n))) for n, layer in layers.items()}


SITES = {
    "units": UnitSites,
    "connections": ConnectionSites,
    "active connections": ActiveSites,
    "edges": EdgeSites,
    "symmetries": SymmetrySites,
}
"""By what a strategy says that it works on."""
