"""What strategies work on: unit axes, connections, or symmetries of layers."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import keras

from keras_struct.models.suitability import is_trainable, why_kept, why_not_learning, why_unmeasurable
from keras_struct.probes.coactivity import why_undefined
from keras_struct.probes.symmetry import SymmetryGradients, measured_symmetry
from keras_struct.surgery.rewiring import masked_layers


class NothingToEditError(ValueError):
    """A strategy would have to leave out everything."""


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
        self._left_out: dict[str, str] = {}
        self._unsuitable: dict[str, str | None] = {}
        self._said: set[str] = set()

    def counts(self) -> dict[str, int]:
        """Names of what can be edited, with a number that says how large each is."""
        return dict(self.evolution.graph.axes)

    def locked(self) -> dict[str, str]:
        """Why others cannot."""
        return dict(self.evolution.graph.locked)

    def acting(self) -> list[str]:
        """Names of what the strategy works on."""
        return [name for name in self._wanted() if name not in self._left_out]

    def _wanted(self) -> list[str]:
        wanted = self.evolution.strategy.axes
        return [name for name in self.counts() if wanted is None or name in wanted]

    def begin(self) -> None:
        """Find out what is left out, and warn of it.

        Raises:
            ValueError: If nothing is left.
        """
        wanted = self._wanted()
        self._left_out = self._found_out(wanted)
        if wanted and len(self._left_out) == len(wanted):
            raise NothingToEditError(
                f"{type(self.evolution.strategy).__name__} has nothing to act on: it would have to leave out "
                f"{_reasons(self._left_out)}. Let other layers be trainable or name others, take another strategy, or edit by "
                "hand (model.grow, model.prune, with preserve=False where an edit changes the output)."
            )
        self._say()
        self._check_axes()

    def _check_axes(self) -> None:
        evolution = self.evolution
        evolution.strategy.check_axes(evolution.observation.measure(self.acting(), {}, evolution.initial_widths))

    def look(self) -> None:
        """Leave out what has become unsuitable since, and warn of it."""
        self._left_out = self._found_out(self._wanted())
        self._say()

    def _found_out(self, names: list[str]) -> dict[str, str]:
        reasons = {name: self.why_left_out(name) for name in names}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _say(self) -> None:
        if new := {name: reason for name, reason in self._left_out.items() if name not in self._said}:
            self._said |= set(new)
            warnings.warn(
                f"{type(self.evolution.strategy).__name__} leaves out {_reasons(new)}. The others are looked after; this is said "
                "once.",
                stacklevel=4,
            )

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy cannot work on an axis, or `None` if it can."""
        evolution, strategy = self.evolution, self.evolution.strategy
        mixes = evolution.graph.units[name].mixes
        if strategy.grows and mixes is not None:
            return f"{mixes}, so that no new units keep the function"
        named = strategy.axes is not None and name in strategy.axes
        if strategy.grows and (why := why_not_learning(evolution.network, evolution.model, name)) is not None:
            return why
        kept = strategy.prunes and (strategy.grows or not named)
        if kept and (why := why_kept(evolution.network, evolution.model, name)) is not None:
            return why
        if name not in self._unsuitable:
            self._unsuitable[name] = self._why_unsuitable(name)
        return self._unsuitable[name]

    def _why_unsuitable(self, name: str) -> str | None:
        """What does not change while the model trains."""
        evolution = self.evolution
        return why_unmeasurable(evolution.observation.probe, name, evolution.strategy.requirements())

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

    def _check_axes(self) -> None:
        """There are none."""

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy does not work on a layer, or `None` if it does."""
        evolution = self.evolution
        layer, named = evolution.network.layers[name], name in (evolution.strategy.axes or ())
        if named or (evolution.model.trainable and is_trainable(layer, getattr(layer, "kernel", layer))):
            return None
        return "it is not trainable, and stays as it is unless `layers` names it"

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
        return {n: measured_symmetry(n, layer, gradients, followers(n)) for n, layer in layers.items()}


SITES = {
    "units": UnitSites,
    "connections": ConnectionSites,
    "active connections": ActiveSites,
    "edges": EdgeSites,
    "symmetries": SymmetrySites,
}
"""By what a strategy says that it works on."""


def _reasons(left_out: Mapping[str, str]) -> str:
    """Names with their reasons; those of the same reason together."""
    together: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        together.setdefault(reason.rstrip(". "), []).append(f"'{name}'")
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in together.items())
