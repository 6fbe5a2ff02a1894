"""The recurrent layer of DARTS, which runs a cell over the steps of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.nas.darts_rnn_cell import DartsRNNCell
from keras_struct.nas.genotypes import ACTIVATIONS, Gene, RecurrentGenotype


@keras.saving.register_keras_serializable("keras_struct")
class DartsRNN(keras.layers.Layer):
    """A recurrent layer of a `DartsRNNCell`, mixed or discrete.

    Args:
        units: As `DartsRNNCell`.
        genes: As `DartsRNNCell`. Without them the layer takes a second input, what `ArchitectureWeights(nodes, operations,
            inputs=1, kept=1)` outputs.
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
