"""What a network would cost if it were wider or narrower."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import Any

from keras_struct.core.backend.keras_internals import own_variables
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.statistics.flops import flops_per_layer


class Costs:
    """Predicts parameters and floating point operations of a network that would be wider or narrower.

    Parameters are exact. The operations of a layer with weights are taken to grow with their number, and those of another
    with the units that it passes.

    Args:
        model: The model.
        network: Its graph and layers.
        input_shape: Shape of one sample, or a list of shapes; needed for operations where the model does not state it.
    """

    def __init__(self, model: Any, network: Network, input_shape: Any = None) -> None:
        self.model, self.network, self.input_shape = model, network, input_shape
        self._shapes = {
            (path, name): tuple(int(extent) for extent in variable.shape)
            for path, layer in network.layers.items()
            for name, variable in own_variables(layer, states=False).items()
        }
        self._flops: dict[str, int] | None = None

    def affordable(
        self, axis: str, count: int, growth: Mapping[str, int], max_parameters: int | None, max_flops: int | None
    ) -> int:
        """Largest number of units, up to `count`, by which an axis can grow.

        Args:
            axis: Name of the axis.
            count: How many units are wanted.
            growth: How much other axes are to grow at the same time.
            max_parameters: Largest number of parameters of the model, or `None`.
            max_flops: Largest number of operations of one sample's forward pass, or `None`.
        """
        low, high = 0, count
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._fits({**growth, axis: middle}, max_parameters, max_flops)
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _fits(self, growth: Mapping[str, int], max_parameters: int | None, max_flops: int | None) -> bool:
        if max_parameters is not None and self.parameters(growth) > max_parameters:
            return False
        return max_flops is None or self.flops(growth) <= max_flops

    def parameters(self, growth: Mapping[str, int]) -> int:
        """Number of parameters after some axes have grown."""
        return sum(self._sizes(growth).values())

    def _sizes(self, growth: Mapping[str, int]) -> dict[tuple[str, str], int]:
        shapes = {key: list(shape) for key, shape in self._shapes.items()}
        for axis, count in growth.items():
            for port in self.network.graph.ports(axis):
                if (shape := shapes.get((port.layer, port.variable))) is not None:  # states are no parameters
                    shape[port.axis] += count * self._repeats(port, axis)
        return {key: prod(shape) for key, shape in shapes.items()}

    def _repeats(self, port: Port, axis: str) -> int:
        return int((self.network.graph.unit_along(port, axis) == 0).sum())

    def flops(self, growth: Mapping[str, int]) -> float:
        """Floating point operations of one sample's forward pass after some axes have grown."""
        if self._flops is None:
            self._flops = flops_per_layer(self.model, self.input_shape)
        before, after = self._by_layer({}), self._by_layer(growth)
        wider = self._passed(growth)
        return sum(
            count * (after[path] / before[path] if before.get(path) else wider.get(path, 1.0))
            for path, count in self._flops.items()
        )

    def _by_layer(self, growth: Mapping[str, int]) -> dict[str, int]:
        totals: dict[str, int] = defaultdict(int)
        for (path, _), size in self._sizes(growth).items():
            totals[path] += size
        return totals

    def _passed(self, growth: Mapping[str, int]) -> dict[str, float]:
        """By what factor a layer without weights gets wider."""
        graph, factors = self.network.graph, {}
        for call in graph.calls:
            labels = graph.tensors[call.outputs[0]]
            for axis, count in growth.items():
                if _carries(graph, axis, labels):
                    factors[call.layer] = 1 + count / graph.units[axis].width
        return factors


def _carries(graph: Any, axis: str, labels: Any) -> bool:
    """Whether a tensor holds units of an axis."""
    place = next((i for i, varies in enumerate(labels.varies) if varies), None)
    return place is not None and graph.holds(axis, labels.vector(place))
