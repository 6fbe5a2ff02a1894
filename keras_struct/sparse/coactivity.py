"""When both ends of connections are active in a running network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.activations import threshold_of_activity
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.behaviours import Concatenate, Elementwise, Flatten, Merge, Permute, Positions
from keras_struct.core.structure.capabilities import TellsActivity
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.probes.buffer import Pieces, samples_between
from keras_struct.measure.probes.interpreter import run
from keras_struct.measure.probes.paths import is_unitwise
from keras_struct.measure.probes.responses import linear_response, patch_kernel, takes_patches
from keras_struct.sparse.coactivation import EXACT, Coactivation

ENTRIES = 2**25
"""How many entries of patches are computed at once."""


class Activity:
    """Where the ends of a layer's connections are seen, and above which value they are active.

    Args:
        probe: The `StructureProbe` that runs the network.
        name: Path of a layer whose connections can be edited.
        threshold: Above which value an end is active whose activation has no clear zero; `None` if there is no such value.

    Raises:
        ValueError: If there is an end of which it is not known when it is active.
    """

    def __init__(self, probe: Any, name: str, threshold: float | None = None) -> None:
        self._probe, self._name = probe, name
        network = probe.network
        self._layer = network.layers[name]
        self._call = next(call for call in network.graph.calls if call.layer == name)
        readers = _after(probe, self._call)
        self._reads_itself = isinstance(self._layer, TellsActivity)
        sources = readers if self._reads_itself else (self._call.inputs[0], _before(network, self._call.inputs[0]))
        self._ends: list[tuple[int, float]] = []
        for (number, found), what in zip((readers, sources), ("its units are", "what it reads is"), strict=True):
            above = threshold if found is None else found
            if above is None:
                raise ValueError(
                    f"When {what} active is undefined for layer '{name}': there is no activation with a clear zero, such as "
                    "'relu'. Say with `threshold` above which value it is, or leave the layer out of `layers`."
                )
            self._ends.append((number, above))

    def measure(self, inputs: Any) -> Coactivation:
        """Count samples in which both ends are active.

        Args:
            inputs: Inputs of the model, in several pieces or one.

        Returns:
            The counts, in the shape of the layer's kernel.
        """
        found, size = [], self._samples_at_once()
        for piece in inputs if isinstance(inputs, Pieces) else (inputs,):
            for start in range(0, keras.tree.flatten(piece)[0].shape[0], size):
                found.append(self._counted(samples_between(piece, start, start + size)))
        if not found:
            raise ValueError("Expected at least one sample to measure activity on. Received inputs without any.")
        return self._in_layout(sum(found[1:], found[0]))

    def _samples_at_once(self) -> int:
        extents = [extent or 1 for extent in self._probe.network.graph.tensors[self._ends[0][0]].shape]
        positions = int(np.prod(extents)) // max(1, extents[-1])
        entering = int(np.prod(self._layer.kernel.shape[:-1]))
        return int(np.clip(min(ENTRIES // max(1, positions * entering), EXACT // max(1, positions)), 1, 4096))

    def _counted(self, inputs: Any) -> Coactivation:
        extra = [] if self._reads_itself or not takes_patches(self._layer) else [patch_kernel(self._layer)]
        found = self._probe.compute(("coactivity", self._name, *self._ends), self._count, inputs, *extra)
        counts, readers, sources, samples, broken = (keras.ops.convert_to_numpy(x).astype(np.int64) for x in found)
        if broken:
            raise ValueError(
                f"Cannot tell which units around layer '{self._name}' are active: {broken} of their values are NaN. Check the "
                "probe, or the inputs, for NaN, and the weights."
            )
        return Coactivation(counts, readers[:, None], sources[None], int(samples))

    def _count(self, inputs: Any, *patches: Any) -> tuple[Any, ...]:
        (number, above), (source, source_above) = self._ends
        tensors = run(self._probe.network, inputs, {number, source})
        readers = _rows(tensors[number], above, self._layer)
        sources = readers
        if not self._reads_itself:
            sources = keras.ops.cast(keras.ops.greater(tensors[source], source_above), "float32")
            for kernel in patches:
                sources = linear_response(self._layer, sources, kernel)
            sources = _flat(sources, self._layer)
        return (
            keras.ops.matmul(keras.ops.transpose(readers), sources),
            keras.ops.sum(readers, axis=0),
            keras.ops.sum(sources, axis=0),
            keras.ops.shape(readers)[0],
            sum(keras.ops.sum(keras.ops.cast(keras.ops.isnan(t), "int32")) for t in tensors.values()),
        )

    def _in_layout(self, found: Coactivation) -> Coactivation:
        """Counts in the shape of the kernel, in which units come last; neurons that read one another have one row a reader."""
        if self._reads_itself:
            return found
        shape = tuple(self._layer.kernel.shape)
        sources = found.sources.reshape(*shape[:-1], 1)
        return Coactivation(found.counts.T.reshape(shape), found.readers[:, 0], sources, found.samples)


def why_undefined(probe: Any, name: str, threshold: float | None) -> str | None:
    """Why it is not known when the ends of a layer's connections are active; `None` if it is."""
    try:
        Activity(probe, name, threshold)
    except ValueError as error:
        return str(error)
    return None


def _rows(tensor: Any, above: float, layer: Any) -> Any:
    return _flat(keras.ops.cast(keras.ops.greater(tensor, above), "float32"), layer)


def _flat(tensor: Any, layer: Any) -> Any:
    """Samples and positions along the first axis, units along the second."""
    if internals.channels_first(layer):
        tensor = keras.ops.moveaxis(tensor, 1, -1)
    return keras.ops.reshape(tensor, (-1, keras.ops.shape(tensor)[-1]))


def _threshold(operation: Any) -> float | None:
    """Above which output of an operation a unit is active; `None` without a clear zero."""
    if isinstance(operation, TellsActivity):
        return operation.threshold_of_activity()
    if isinstance(operation, keras.layers.ReLU | keras.layers.LeakyReLU):
        return 0.0
    if not isinstance(operation, keras.layers.Layer):  # an operation of keras.ops, such as Relu
        return threshold_of_activity(vars(keras.activations).get(type(operation).__name__.lower()))
    return threshold_of_activity(internals.activation_of(operation))


def _is_linear(operation: Any) -> bool:
    return internals.activation_of(operation) in (None, keras.activations.linear)


def _after(probe: Any, call: Any) -> tuple[int, float | None]:
    """The tensor behind a layer in which its units stand after their activation, and above which value they are active."""
    network, number = probe.network, call.outputs[0]
    while True:
        operation = network.nodes[call].operation
        if (found := _threshold(operation)) is not None or not _is_linear(operation):
            return call.outputs[0], found
        readers = [other for other in network.graph.calls if call.outputs[0] in other.inputs]
        if len(readers) != 1 or not is_unitwise(readers[0].behaviour):
            return number, None
        call = readers[0]


def _before(network: Network, number: int) -> float | None:
    """Above which value entries of a tensor are active, by what made them."""
    call = next((call for call in network.graph.calls if number in call.outputs), None)
    if call is None:
        return None
    operation = network.nodes[call].operation
    if (found := _threshold(operation)) is not None:
        return found
    passes = isinstance(call.behaviour, Positions | Flatten | Concatenate | Merge | Permute) or (
        isinstance(call.behaviour, Elementwise) and isinstance(operation, keras.layers.Layer) and _is_linear(operation)
    )
    if passes and type(operation).__name__ != "Subtract":
        values = {_before(network, source) for source in call.inputs}
        return values.pop() if len(values) == 1 else None
    return None
