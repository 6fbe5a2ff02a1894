"""A FreeNet for inference, with the weights of the edges that there are and no others."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.freenets.acyclic import checked_adjacency, levels_of
from keras_struct.freenets.free_net import FreeNet
from keras_struct.sparse.edits import pack_bits, unpack_bits


@keras.saving.register_keras_serializable("keras_struct")
class CompactFreeNet(keras.layers.Layer):
    """What a `FreeNet` has become, for inference: its weights are those of kept edges, a vector, and so is its file.

    Neurons are computed level by level, each from a sum over the edges that lead to it. Made by `of`, or by
    `keras_struct.export.to_compact` for a whole model. Edges can no longer be edited.

    Args:
        neurons: Number of neurons.
        edges: Graph as `adjacency` of `FreeNet`, or packed, as in `get_config`.
        reads: Which inputs each neuron reads, `(features, neurons)`, or packed; all by default.
        features: Number of inputs; needed with packed `reads`.
        activation: Of each neuron.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, neurons)`.

    Raises:
        ValueError: If edges lead to a neuron that is not later.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, section 5 (only the weights that
        inference needs are stored).

    Examples:
        >>> free = layers.FreeNet(3, adjacency=[[0, 0, 0], [1, 0, 0], [0, 0, 0]])
        >>> outputs = free(np.ones((1, 2)))
        >>> compact = layers.CompactFreeNet.of(free)
        >>> compact.edges, bool(np.allclose(compact(np.ones((1, 2))), outputs))
        (1, True)
    """

    def __init__(
        self,
        neurons: int,
        edges: Any,
        reads: Any = None,
        features: int | None = None,
        activation: Any = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.features = neurons, features
        self.activation = keras.activations.get(activation)
        edges = unpack_bits(edges, (neurons, neurons)) if isinstance(edges, str) else edges
        self.adjacency = checked_adjacency(edges, neurons)
        reads = unpack_bits(reads, (int(features or 0), neurons)) if isinstance(reads, str) else reads
        self._reads = None if reads is None else np.asarray(reads, bool)
        levels = levels_of(self.adjacency)
        self._order = np.argsort(levels, kind="stable")
        self._levels = np.bincount(levels)
        place = np.argsort(self._order)
        readers, sources = np.nonzero(self.adjacency)
        self.edge_order = np.lexsort((place[sources], place[readers]))  # by level, and by neuron in it
        self._readers, self._sources = place[readers][self.edge_order], place[sources][self.edge_order]

    @classmethod
    def of(cls, layer: FreeNet) -> CompactFreeNet:
        """Return a layer that computes what a built `FreeNet` does.

        Args:
            layer: The layer.

        Returns:
            A built layer of the same name, with copies of the weights that are used.
        """
        features = int(layer.encoder.shape[0])
        compact = cls(layer.units, layer.adjacency, layer.reads, features, layer.activation, name=layer.name)
        compact.build((None, features))
        encoder, bias, kernel = layer.used_weights()
        compact.encoder.assign(encoder if layer.reads is None else encoder[layer.reads])
        compact.bias.assign(bias)
        compact.kernel.assign(kernel[layer.adjacency][compact.edge_order])
        return compact

    def build(self, input_shape):
        """Create a weight for each edge, for each input that a neuron reads, and for each bias."""
        self.features = int(input_shape[-1])
        shape = (self.features, self.units) if self._reads is None else (int(self._reads.sum()),)
        self.encoder = self.add_weight(name="encoder", shape=shape, initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.kernel = self.add_weight(name="kernel", shape=(len(self.edge_order),), initializer="zeros")

    def call(self, inputs):
        """Compute the neurons level by level."""
        ops = keras.ops
        given = ops.take(ops.transpose(self._entering(inputs)) + self.bias[:, None], self._order, axis=0)
        found, start = None, 0
        for size in self._levels.tolist():
            sums = given[start : start + size]
            here = (self._readers >= start) & (self._readers < start + size)
            if here.any():
                first, last = np.flatnonzero(here)[[0, -1]]
                read = ops.take(found, self._sources[here], axis=0) * self.kernel[first : last + 1, None]
                sums = sums + ops.segment_sum(read, self._readers[here] - start, num_segments=size)
            values = self.activation(sums)
            found = values if found is None else ops.concatenate([found, values], axis=0)
            start += size
        return ops.transpose(ops.take(found, np.argsort(self._order), axis=0))

    def _entering(self, inputs: Any) -> Any:
        """What neurons get from the inputs, without biases."""
        ops = keras.ops
        if self._reads is None:
            return ops.matmul(inputs, self.encoder)
        reading = self._reads.any(axis=0)
        kept = self._reads[:, reading]
        kernel = ops.reshape(ops.scatter(np.flatnonzero(kept)[:, None], self.encoder, (kept.size,)), kept.shape)
        place = np.where(reading, np.cumsum(reading) - 1, kept.shape[1])  # the others get a column of zeros
        found = ops.pad(ops.matmul(inputs, kernel), [[0, 0], [0, 1]])
        return ops.take(found, place, axis=1)

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return len(self.edge_order)

    @property
    def depth(self) -> int:
        """How many neurons the longest path has."""
        return len(self._levels)

    @property
    def flops(self) -> int:
        """Multiplications and additions for a sample."""
        return 2 * int(np.prod(self.encoder.shape)) + self.units + 2 * self.edges

    def count_flops(self, call: Any) -> int:
        """Floating point operations of a call."""
        return self.flops * (int(np.prod(call.outputs[0])) // self.units)

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Return the arguments of the constructor, graphs packed."""
        return {
            **super().get_config(),
            "neurons": self.units,
            "edges": pack_bits(self.adjacency),
            "reads": None if self._reads is None else pack_bits(self._reads),
            "features": self.features,
            "activation": keras.activations.serialize(self.activation),
        }
