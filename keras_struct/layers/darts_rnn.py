"""The recurrent cell of DARTS: dense layers with gates, whose activations and connections are searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.backend import keras_internals as internals
from keras_struct.layers.cell_normalization import EPSILON, MOMENTUM
from keras_struct.layers.framed import whole_number
from keras_struct.structure.discretization import edges_of
from keras_struct.structure.genotypes import ACTIVATIONS, Gene, RecurrentGenotype

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
        concat: Nodes whose mean is put out, counted from 1; by default all.
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


@keras.saving.register_keras_serializable("keras_struct")
class DartsRNN(keras.layers.Layer):
    """A recurrent layer of a `DartsRNNCell`, mixed or discrete.

    Args:
        units: As `DartsRNNCell`.
        genes: As `DartsRNNCell`. Without them the layer takes a second input, what `ArchitectureWeights(nodes, operations,
            inputs=1, kept=1)` puts out.
        concat: As `DartsRNNCell`.
        nodes: As `DartsRNNCell`.
        operations: As `DartsRNNCell`.
        normalize: As `DartsRNNCell`.
        dropout: As `DartsRNNCell`.
        recurrent_dropout: As `DartsRNNCell`.
        return_sequences: Whether outputs of all steps are returned.
        stateful: Whether a sequence begins with the state that the one in its place in the batch before ended with, without a
            gradient. Needs inputs of a fixed batch size; `reset_state()` forgets it.
        temporal_regularization: In training, so many times the mean square of the difference of outputs of successive steps is
            added to the loss; 1e-3 in the paper.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, steps, features)`, and the weights of the operations where there are no genes.

    Output shape:
        `(batch, steps, units)`, or `(batch, units)`.

    Raises:
        ValueError: As `DartsRNNCell`.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.1.2; Merity, McCann, Socher,
        *Revisiting Activation Regularization for Language RNNs*, 2017.

    Examples:
        >>> weights = layers.ArchitectureWeights(2, search.ACTIVATIONS, inputs=1, kept=1)(np.zeros(1))
        >>> layers.DartsRNN(4, nodes=2)([np.zeros((3, 5, 4)), weights]).shape
        TensorShape([3, 5, 4])
    """

    retraced = True
    weighting = None

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
        return_sequences: bool = True,
        stateful: bool = False,
        temporal_regularization: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        options: dict[str, Any] = {
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "dtype": self.dtype_policy,
        }
        self.cell = DartsRNNCell(units, genes, concat, nodes, operations, normalize, **options, name="cell")
        self.rnn = keras.layers.RNN(
            self.cell, return_sequences=True, stateful=stateful, dtype=self.dtype_policy, name="rnn"
        )
        self.return_sequences = bool(return_sequences)
        self.temporal_regularization = float(temporal_regularization)

    @property
    def units(self) -> int:
        """Number of units of the state."""
        return self.cell.units

    @property
    def genes(self) -> tuple[Gene, ...] | None:
        """Activation and predecessor of each node, where they have been chosen."""
        return self.cell.genes

    @genes.setter
    def genes(self, genes: Sequence[Gene] | None) -> None:
        self.cell.genes = genes

    @property
    def weighted(self) -> bool:
        """Whether activations are mixed."""
        return self.genes is None

    def build(self, input_shape):
        """Build the cell."""
        self.rnn.build(input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape)

    def call(self, inputs, training=False):
        """Run over the steps."""
        sequence, *rest = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if self.weighted and not rest:
            raise ValueError(
                f"Layer '{self.name}' mixes activations: call it with a sequence and the weights of ArchitectureWeights."
            )
        self.cell.mixture = rest[0] if self.weighted else None
        try:
            outputs = self.rnn(sequence, training=training)
        finally:
            self.cell.mixture = None
        if training and self.temporal_regularization:
            steps = keras.ops.cast(outputs, "float32")
            self.add_loss(self.temporal_regularization * keras.ops.mean(keras.ops.square(steps[:, 1:] - steps[:, :-1])))
        return outputs if self.return_sequences else outputs[:, -1]

    def reset_state(self) -> None:
        """Forget how the sequences before ended."""
        self.rnn.reset_state()

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        batch, steps = (input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape)[:2]
        return (batch, steps, self.units) if self.return_sequences else (batch, self.units)

    def compute_output_spec(self, inputs, training=False):
        """Return shape and dtype of the output."""
        shape = (inputs[0] if isinstance(inputs, (list, tuple)) else inputs).shape
        return keras.KerasTensor(self.compute_output_shape(tuple(shape)), self.compute_dtype)

    # Edits

    def decision(self, genotype: Any, genes: Callable[[], Any]) -> dict[str, Any]:
        """Return the configuration after a choice: the genes of a genotype or, without one, those that the weights mean.

        Raises:
            ValueError: If the genotype is that of convolutional cells.
        """
        if genotype is not None and not isinstance(genotype, RecurrentGenotype):
            raise ValueError(f"Layer '{self.name}' needs a RecurrentGenotype. Received: {genotype}")
        return {"genes": [list(gene) for gene in (genes() if genotype is None else genotype.recurrent)]}

    @property
    def choice(self) -> dict[str, Any]:
        """The configuration that is left, for `reconfigured`."""
        return {"genes": None if self.genes is None else [list(gene) for gene in self.genes]}

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes after a choice.

        Args:
            config: `genes`, one a node.

        Raises:
            ValueError: If the cell cannot have these.
        """
        if set(config) != {"genes"}:
            raise ValueError(f"Layer '{self.name}' can change its `genes`. Received: {dict(config)}")
        return {"genes": None if config["genes"] is None else self.cell.checked(config["genes"])}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the layer's weights after a choice: each node keeps its own."""
        return dict(values)

    def get_config(self):
        """Return the arguments of the constructor."""
        cell = self.cell.get_config()
        for name in ("name", "trainable", "dtype"):
            cell.pop(name, None)
        own = {
            "return_sequences": self.return_sequences,
            "stateful": self.rnn.stateful,
            "temporal_regularization": self.temporal_regularization,
        }
        return {**super().get_config(), **cell, **own}
