"""Edits of a model's connections by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_struct.core.model.methods import model_methods
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.capabilities import Maskable
from keras_struct.core.structure.edits import prune
from keras_struct.core.structure.events import StructureEvent
from keras_struct.policies.selector import Selector
from keras_struct.sparse.coactivation import Coactivation
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.measurements import ConnectionMeasurement
from keras_struct.sparse.measuring import count_coactivity, measure_connections
from keras_struct.sparse.rewiring import count
from keras_struct.sparse.selectors import ConnectionSelector, RandomConnections, Scope, WeightMagnitude, keep_best


@model_methods
class ConnectionEdits:
    """What a `StructuralModel` can do with connections beside units."""

    @property
    def masked_layers(self) -> dict[str, Any]:
        """Layers whose connections can be edited, by name; `layer.mask` says which there are."""
        return dict(parts_of(self).live.network.having(Maskable))

    @property
    def connections(self) -> dict[str, int]:
        """How many connections each masked layer has."""
        parts_of(self).editor.sync()
        return {name: count(layer) for name, layer in self.masked_layers.items()}

    def measure_connections(self, layers: Sequence[str] | None = None) -> dict[str, ConnectionMeasurement]:
        """Return what a selector of connections gets to see of each masked layer.

        Args:
            layers: Names of the layers; all masked ones by default.

        Raises:
            ValueError: If there is no masked layer, or a layer is not masked.
        """
        known = self.masked_layers
        if not known:
            raise ValueError("The model has no masked layer. Convert it with keras_struct.sparsify(model).")
        if unknown := [name for name in layers or () if name not in known]:
            raise ValueError(f"Layers {unknown} have no mask. Masked layers are {sorted(known)}.")
        parts = parts_of(self)
        parts.editor.sync()
        return measure_connections(parts.observation, {n: known[n] for n in layers or known})

    def coactivation(self, layer: str, x: Any, threshold: float | None = None) -> Coactivation:
        """Count in how many samples both ends of the connections of a layer are active.

        Args:
            layer: Name of a masked layer: a `FreeNet`, whose neurons read one another, a `MaskedDense` or `MaskedConv2D`, of
                whose connections one end is what it reads.
            x: Inputs of the model.
            threshold: Above which value an end is active whose activation has no clear zero.

        Returns:
            The counts, in the shape of the layer's kernel; `.together` is NCAM, `.silent` NCIM.

        Raises:
            ValueError: If the layer is not masked, or it is not known when an end of its connections is active.

        References:
            *FreeNets: Learning layerfree neural network topologies*, anonymous submission, section 3.4.
        """
        self.measure_connections([layer])
        return count_coactivity(parts_of(self).observation, layer, x, threshold)

    def prune_connections(
        self,
        sparsity: float,
        selector: ConnectionSelector | None = None,
        scope: Scope = "global",
        layers: Sequence[str] | None = None,
        normalize: bool = False,
        seed: int = 0,
    ) -> list[StructureEvent]:
        """Remove connections until a share of all possible ones is gone (synaptic pruning).

        Args:
            sparsity: That share, from 0 up to 1.
            selector: Says what connections are worth; those worth least go. By default the magnitude of their weight.
            scope: Whether connections of all layers are ranked together (`"global"`), or each layer's by themselves.
            layers: Names of the layers; all masked ones by default.
            normalize: Whether saliencies are divided by their Euclidean norm in the layer before they are ranked together.
            seed: For selectors that draw.

        Returns:
            What was logged, an event for each layer that lost connections.

        Raises:
            ValueError: If a layer is not masked, the selector lacks data, or a value is out of range; the model is as it was.
        """
        selector = _checked(WeightMagnitude() if selector is None else selector)
        measured, rng = self.measure_connections(layers), np.random.default_rng(seed)
        edits = keep_best(measured, selector, sparsity, scope, normalize, rng)
        return parts_of(self).editor.apply(edits, reason=type(selector).__name__)

    def grow_connections(
        self, layer: str, count: int, selector: ConnectionSelector | None = None, values: Any = None, seed: int = 0
    ) -> StructureEvent:
        """Make new connections in a layer (synaptogenesis). By default their weights are zero, and the function is kept.

        Args:
            layer: Name of a masked layer.
            count: How many.
            selector: Says which: those worth most. By default random ones.
            values: Weights of new connections, in the shape of the kernel, of which the others are ignored.
            seed: For selectors that draw.

        Returns:
            What was logged.

        Raises:
            ValueError: If the layer is not masked, has no room for as many, or the selector lacks data; the model is as it was.
        """
        selector = _checked(RandomConnections() if selector is None else selector)
        measured = self.measure_connections([layer])[layer]
        room = measured.size - measured.count
        if not 1 <= count <= room:
            raise ValueError(
                f"Cannot make {count} new connections in layer '{layer}': it has {measured.count} of {measured.size}; make 1 to "
                f"{room}."
            )
        saliency = selector.checked_scores(measured, np.random.default_rng(seed))
        scores = np.where(measured.mask | ~measured.possible, -np.inf, saliency)
        mask = measured.mask.copy()
        mask.flat[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
        return parts_of(self).editor.apply([Rewire(layer, mask, values)], reason=type(selector).__name__)[0]

    def prune_silent(self) -> list[StructureEvent]:
        """Remove units that nothing reads, as all their outgoing weights are zero. The function is kept.

        Units whose readers lost all connections to them are such: removing them makes a sparse network smaller.

        Returns:
            What was logged, an event for each axis that lost units; an axis keeps one.
        """
        edits, parts = [], parts_of(self)
        for axis, width in parts.editor.graph.axes.items():
            read = sum(fan.norms for fan in parts.runner.measured(axis).fan_out())
            silent = np.flatnonzero(np.broadcast_to(read, (width,)) == 0)[: width - 1]
            if len(silent):
                edits.append(prune(axis, width, silent.tolist()))
        return parts.editor.apply(edits, preserve=False, reason="silent")


def _checked(selector: Any) -> ConnectionSelector:
    """Return the selector if it is one of connections."""
    if not isinstance(selector, ConnectionSelector):
        raise TypeError(
            f"Expected a selector of connections, such as WeightMagnitude() or Snip(). Received: {selector!r}"
            + (", which chooses units: use it with model.prune." if isinstance(selector, Selector) else ".")
        )
    return selector
