"""The recurrent cell of DARTS: dense layers with gates, whose activations and connections are searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.arguments import whole_number
from keras_struct.nas.cell_normalization import EPSILON, MOMENTUM
from keras_struct.nas.discretization import edges_of
from keras_struct.nas.genotypes import ACTIVATIONS, Gene, RecurrentGenotype

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": keras.ops.tanh,
    "relu": keras.ops.relu,
    "sigmoid": keras.ops.sigmoid,
    "identity": lambda x: x,
}


@keras.saving.register_keras_serializable("keras_struct")
class DartsRNNCell(internals.DropoutRNNCell, keras.layers.Layer):
    """One step of the recurrent cell of DARTS, for `keras.layers.RNN`; `DartsRNN` is the layer for a network.

    Node 0 mixes input and state, each later node one or all of the nodes before; each has one kernel, however many it reads. The
    output is the mean of some nodes, and the new state.

    Args:
        units: Number of units of the state and of each node.
        genes: Activation and predecessor of each node. Without them all activations of all predecessors are mixed, which needs
            weights: use `DartsRNN`.
        concat: Nodes whose mean is output, counted from 1; by default all.
        nodes: How many there are, where there are no genes.
        operations: Names of the activations that are mixed.
        normalize: Whether nodes are normalised over the batch; by default where there are no genes.
        dropout: Share of inputs that is left out, the same in all steps of a sequence.
        recurrent_dropout: The same for the state, and for the nodes where others read them.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, features)`, and a state `(batch, units)`.

    Output shape:
        `(batch, units)`, twice: output and new state.

    Raises:
        ValueError: If an activation is unknown, a gene reads a later node, or a number is out of range.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.1.2 and appendix A.1.2.

    Differs from the authors' code in that each node has running statistics of its own, where there all nodes share those that the
    last one changed last: as nodes with many predecessors have much larger variances, such a cell computes something else in
    inference.

    Examples:
        >>> cell = layers.DartsRNNCell(4, genes=[("tanh", 0), ("relu", 1)])
        >>> keras.layers.RNN(cell)(np.zeros((2, 5, 3))).shape
        TensorShape([2, 4])
    """

    def __init__(
        self,
        units: int,
        genes: Sequence[Gene] | None = None,
        concat: Sequence[int] | None = None,
        nodes: int = 8,
        operations: Sequence[str] = ACTIVATIONS,
        normalize: bool | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.nodes = whole_number("units", units), whole_number("nodes", nodes)
        if not (0 <= dropout < 1 and 0 <= recurrent_dropout < 1):
            raise ValueError(
                f"Shares that are left out must be from 0 up to 1. Received: dropout={dropout}, "
                f"recurrent_dropout={recurrent_dropout}"
            )
        self.operations = tuple(operations)
        if not set(self.operations) <= set(ACTIVATIONS) or len(set(self.operations)) < len(self.operations):
            raise ValueError(
                f"Expected activations among {', '.join(ACTIVATIONS)}, each once. Received: {list(operations)}"
            )
        if genes is not None:
            self.nodes = len(genes)
        self.concat = tuple(range(1, 1 + self.nodes)) if concat is None else tuple(concat)
        self.genes = genes
        self.normalize = genes is None if normalize is None else bool(normalize)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator()
        self.state_size = self.output_size = self.units
        self.mixture: Any = None

    @property
    def genes(self) -> tuple[Gene, ...] | None:
        """Activation and predecessor of each node, where they have been chosen."""
        return self._genes

    @genes.setter
    def genes(self, genes: Sequence[Gene] | None) -> None:
        self._genes: Any = None if genes is None else self.checked(genes)

    def checked(self, genes: Sequence[Gene]) -> tuple[Gene, ...]:
        """Return genes if this cell can have them.

        Raises:
            ValueError: If it has another number of nodes, an activation is unknown, or a gene reads a later node.
        """
        found = RecurrentGenotype(tuple((name, int(node)) for name, node in genes), self.concat).recurrent
        if len(found) != self.nodes:
            raise ValueError(f"Layer '{self.name}' has {self.nodes} nodes. Received {len(found)} genes: {list(genes)}")
        return found

    def build(self, input_shape):
        """Create the kernels, uniform in ±0.04 as published."""
        start = keras.initializers.RandomUniform(-0.04, 0.04)
        shape = (input_shape[-1] + self.units, 2 * self.units)
        self.input_kernel = self.add_weight(name="input_kernel", shape=shape, initializer=start)
        self.kernel = self.add_weight(name="kernel", shape=(self.nodes, self.units, 2 * self.units), initializer=start)
        if self.normalize:
            held = {"shape": (1 + self.nodes, self.units), "trainable": False, "autocast": False, "dtype": "float32"}
            self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **held)
            self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **held)

    def call(self, inputs, states, training=False):
        """Compute the output, and the new state."""
        ops, old = keras.ops, states[0]
        mask, read = 1.0, old
        if training and self.dropout:
            inputs = inputs * self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout:
            mask = self.get_recurrent_dropout_mask(old)
            read = old * mask
        both = ops.matmul(ops.concatenate([inputs, read], axis=-1), self.input_kernel)
        gate, new = ops.split(both, 2, axis=-1)
        seen: list[Any] = []
        nodes = [self._normalized(old + ops.sigmoid(gate) * (ops.tanh(new) - old), training, seen)]
        for i in range(self.nodes):
            node = self._mixed(i, nodes, mask) if self.genes is None else self._chosen(i, nodes, mask)
            nodes.append(self._normalized(node, training, seen))
        self._remember(seen)
        output = sum(nodes[i] for i in self.concat) / len(self.concat)
        return output, [output]

    def _mixed(self, i: int, nodes: Sequence[Any], mask: Any) -> Any:
        """A node that reads all before it through all activations."""
        if self.mixture is None:
            raise ValueError(
                f"Layer '{self.name}' mixes activations, and needs their weights. Use DartsRNN, with those of "
                "ArchitectureWeights as second input, or say what has been chosen with `genes`."
            )
        ops, before = keras.ops, keras.ops.stack(list(nodes))
        gate, new = self._gated(i, before * mask)
        weights = ops.cast(self.mixture[edges_of(i + 1, 1)[i]], new.dtype)
        share, total = 0.0, 0.0
        for column, name in enumerate(self.operations):
            if name != "none":
                weight = weights[:, column, None, None]
                share, total = share + weight, total + weight * _FUNCTIONS[name](new)
        return ops.sum(share * before + gate * (total - share * before), axis=0)

    def _chosen(self, i: int, nodes: Sequence[Any], mask: Any) -> Any:
        """A node that reads one through one activation."""
        name, source = self._genes[i]
        if name == "none":
            return keras.ops.zeros_like(nodes[source])
        gate, new = self._gated(i, nodes[source] * mask)
        return nodes[source] + gate * (_FUNCTIONS[name](new) - nodes[source])

    def _gated(self, i: int, read: Any) -> tuple[Any, Any]:
        gate, new = keras.ops.split(keras.ops.matmul(read, self.kernel[i]), 2, axis=-1)
        return keras.ops.sigmoid(gate), new

    def _normalized(self, x: Any, training: Any, seen: list[Any]) -> Any:
        """A node with mean 0 and variance 1 over the batch, or over those of training; `seen` gets its statistics."""
        if not self.normalize:
            return x
        ops, state = keras.ops, len(seen)
        mean, variance = self.moving_mean[state], self.moving_variance[state]
        count = ops.cast(ops.shape(x)[0], "float32")
        if training:
            mean, variance = ops.moments(ops.cast(x, "float32"), axes=0)
        seen.append((mean, variance * count / ops.maximum(count - 1, 1)) if training else None)
        return ops.cast((ops.cast(x, "float32") - mean) * ops.rsqrt(variance + EPSILON), x.dtype)

    def _remember(self, seen: list[Any]) -> None:
        """Take statistics of this step into those of training."""
        if seen and seen[0] is not None:
            for place, moving in enumerate((self.moving_mean, self.moving_variance)):
                new = keras.ops.stack([keras.ops.stop_gradient(each[place]) for each in seen])
                moving.assign(moving * MOMENTUM + new * (1 - MOMENTUM))

    def get_config(self):
        """Return the arguments of the constructor."""
        names = ("units", "nodes", "normalize", "dropout", "recurrent_dropout")
        lists = {"concat": list(self.concat), "operations": list(self.operations)}
        genes = None if self.genes is None else [list(gene) for gene in self.genes]
        return {**super().get_config(), **{n: getattr(self, n) for n in names}, **lists, "genes": genes}
