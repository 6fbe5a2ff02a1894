"""Dense feed-forward networks as the neurons and edges of one graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals

INPUTS = -1
"""In place of a neuron: what is read is an input."""


@dataclass
class Embedding:
    """A dense network as neurons in an order.

    Attributes:
        features: How many inputs there are.
        activation: Of all neurons.
        flattened: Whether inputs are flattened first.
        encoder: For each neuron weights for all inputs, and their mask.
        edges: For each neuron weights for all neurons before it, and their mask.
        biases: A bias for each neuron, or `None`.
        last: The last layer, which no neuron stands for.
        decoder: For each of its units weights for all neurons, and their mask.
    """

    features: int
    activation: Any = None
    flattened: bool = False
    encoder: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    edges: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    biases: list[float | None] = field(default_factory=list)
    last: Any = None
    decoder: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def neurons(self) -> int:
        """How many neurons there are so far."""
        return len(self.biases)

    def add(self, layer: Any, entries: np.ndarray) -> np.ndarray:
        """Make the units of a hidden layer neurons.

        Args:
            layer: A Dense layer.
            entries: What it reads: for each entry of its input the number of a neuron, or of an input and `INPUTS`, `(n, 2)`.

        Returns:
            The entries of its output.
        """
        kernel, start = _array(layer.kernel), self.neurons
        bias = _array(layer.bias).tolist() if layer.use_bias else [None] * layer.units
        for unit in range(layer.units):
            weights = kernel[:, unit]
            inputs = entries[:, 0] == INPUTS
            self.encoder.append(_spread(entries[inputs, 1], weights[inputs], self.features))
            self.edges.append(_spread(entries[~inputs, 0], weights[~inputs], start))
            self.biases.append(bias[unit])
        return _neurons(range(start, start + layer.units))

    def finish(self, layer: Any, entries: np.ndarray) -> None:
        """Take the last layer.

        Raises:
            ValueError: If it reads inputs.
        """
        if (entries[:, 0] == INPUTS).any():
            raise ValueError(
                f"Layer '{layer.name}' reads inputs of the model beside neurons, which the layer behind a FreeNet does not. "
                "Only hidden layers may read them."
            )
        kernel = _array(layer.kernel)
        self.last, self.decoder = layer, [_spread(entries[:, 0], column, self.neurons) for column in kernel.T]

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and masks of the FreeNet and of the layer behind it, by name."""
        edges = [tuple(np.pad(part, (0, self.neurons - len(part))) for part in row) for row in self.edges]
        found = {}
        for weights, mask, rows in (("encoder", "reads", self.encoder), ("decoder", "decoder_mask", self.decoder)):
            found[weights], found[mask] = (np.stack([row[i] for row in rows], axis=1) for i in (0, 1))
        found["kernel"], found["edges"] = (np.stack([row[i] for row in edges]) for i in (0, 1))
        found["bias"] = np.array([bias or 0.0 for bias in self.biases], "float32")
        found["biased"] = np.array([bias is not None for bias in self.biases])
        return found


def embedding_of(model: Any) -> Embedding:
    """Return a dense feed-forward network as neurons: Dense layers, their activations, and concatenations.

    Raises:
        ValueError: If the model is something else, or its hidden layers have different activations.
    """
    functional = internals.functional_of(model)
    nodes = [] if functional is None else list(internals.nodes_in_order(functional))
    tensors = [internals.node_tensors(node) for node in nodes]
    operations = [node.operation for node in nodes]
    _check(model, functional, operations, tensors)
    inputs = functional.inputs[0]
    found = Embedding(int(np.prod(inputs.shape[1:])))
    entries = {id(inputs): np.stack([np.full(found.features, INPUTS), np.arange(found.features)], 1)}
    hidden = []
    for operation, (read, made) in zip(operations, tensors, strict=True):
        given = [entries[id(tensor)] for tensor in read]
        if isinstance(operation, keras.layers.Flatten):
            found.flattened = True
        if isinstance(operation, keras.layers.Dense) and made[0] is not functional.outputs[0]:
            entries[id(made[0])] = found.add(operation, given[0])
            hidden.append((operation, _activation(operation, made[0], operations, tensors)))
        elif isinstance(operation, keras.layers.Dense):
            found.finish(operation, given[0])
        else:
            entries[id(made[0])] = np.concatenate(given)
    names = sorted({getattr(function, "__name__", str(function)) for _, function in hidden})
    if len(names) > 1:
        raise ValueError(f"All neurons of a FreeNet have the same activation. Hidden layers have {names}.")
    found.activation = hidden[0][1]
    return found


def _check(model: Any, functional: Any, operations: list[Any], tensors: list[Any]) -> None:
    """Raise unless the operations are those of a dense network."""
    dense = [op for op in operations if isinstance(op, keras.layers.Dense)]
    flat = functional is not None and len(functional.inputs) == len(functional.outputs) == 1
    ends = flat and bool(operations) and dense and tensors[operations.index(dense[-1])][1][0] is functional.outputs[0]
    known = all(_is_known(op, read, functional) for op, (read, _) in zip(operations, tensors, strict=True))
    if not ends or not known or len(dense) < 2 or len(set(map(id, dense))) < len(dense):
        kinds = ", ".join(type(operation).__name__ for operation in operations) or "none that are connected"
        raise ValueError(
            "Only dense feed-forward networks become FreeNets: two Dense layers or more, the last one the output, with their "
            "activations and Concatenate between them, behind one input that a Flatten layer may flatten; each called once, and "
            f"built. Received layers: {kinds}"
        )


def _is_known(operation: Any, read: list[Any], functional: Any) -> bool:
    if isinstance(operation, keras.layers.Concatenate):
        return len(read[0].shape) == 2
    if isinstance(operation, keras.layers.Flatten):
        return functional is not None and read[0] is functional.inputs[0]
    return isinstance(operation, keras.layers.Dense) or _function(operation) is not None


def _function(operation: Any) -> Any:
    """The function of a layer that is an activation; `None` for other layers."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation
    if isinstance(operation, keras.layers.ReLU):
        plain = operation.max_value is None and not operation.negative_slope and not operation.threshold
        return keras.activations.relu if plain else None
    return None


def _activation(layer: Any, made: Any, operations: list[Any], tensors: list[Any]) -> Any:
    """The activation of a hidden layer: its own, or that of the layer behind it."""
    readers = [op for op, (read, _) in zip(operations, tensors, strict=True) if any(t is made for t in read)]
    behind = [_function(reader) for reader in readers if _function(reader) is not None]
    if not behind:
        return layer.activation
    if len(readers) > 1 or layer.activation is not keras.activations.linear:
        raise ValueError(
            f"Layer '{layer.name}' stands in the network with and without the activation behind it, or has two of them: a neuron "
            "has one."
        )
    return behind[0]


def _neurons(numbers: Any) -> np.ndarray:
    numbers = np.array(list(numbers), int)
    return np.stack([numbers, np.zeros_like(numbers)], 1)


def _spread(places: np.ndarray, weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights at their places among `size`, those of the same place summed, and which places there are."""
    values, mask = np.zeros(size, "float32"), np.zeros(size, bool)
    np.add.at(values, places, weights)
    mask[places] = True
    return values, mask


def _array(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight))
