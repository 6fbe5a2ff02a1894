"""Weights of operations, which a search trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.structure.arguments import whole_number
from keras_struct.nas.discretization import edges_of, genes_of
from keras_struct.nas.genotypes import PRIMITIVES, Gene

Activation = Literal["softmax", "crb", "gumbel"]


@keras.saving.register_keras_serializable("keras_struct")
class ArchitectureWeights(keras.layers.Layer):
    """Makes the weights of the operations on each edge of a cell, from α, which a search trains.

    Give its output to all `DartsCell`s of a kind. The input is not looked at: any tensor of the network will do. α is not
    trainable, so that an ordinary optimizer leaves it alone; `search.Darts` trains it.

    Args:
        nodes: Nodes of a cell.
        operations: Names of the operations.
        activation: `"softmax"` over the operations of each edge; `"crb"`: α itself, clipped to 0..1, what has been pruned being 0
            for ever; `"gumbel"`: as softmax, but in training drawn from the relaxed one-hot distribution.
        inputs: How many states there are before the first node.
        kept: How many edges of each node a discrete cell has.
        temperature: Of the drawing.
        **kwargs: As `keras.layers.Layer`.

    Output shape:
        `(edges, operations)`, float32, without a batch axis; edges node by node.

    Raises:
        ValueError: If a number is not positive, an argument unknown, or operations occur twice.

    References:
        Liu, Simonyan, Yang, *DARTS*, ICLR 2019, equation 2; Maile et al., *DARTS-PRIME*, 2021 (thesis section 5.2.5, CRB:
        clipped weights, normalised nodes, progressive pruning); Jang, Gu, Poole, *Categorical Reparameterization with
        Gumbel-Softmax*, ICLR 2017.

    >>> weights = layers.ArchitectureWeights(2)(np.zeros(1))
    >>> weights.shape, round(float(keras.ops.sum(weights)), 3)
    (TensorShape([5, 8]), 5.0)
    """

    def __init__(
        self,
        nodes: int = 4,
        operations: Sequence[str] = PRIMITIVES,
        activation: Activation = "softmax",
        inputs: int = 2,
        kept: int = 2,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.nodes, self.inputs, self.kept = (
            whole_number(name, value) for name, value in (("nodes", nodes), ("inputs", inputs), ("kept", kept))
        )
        self.operations = tuple(operations)
        if len(set(self.operations)) < len(self.operations) or not set(self.operations) - {"none"}:
            raise ValueError(f"Expected names of operations, each once, one at least. Received: {list(operations)}")
        if activation not in ("softmax", "crb", "gumbel") or not temperature > 0:
            raise ValueError(
                "Expected activation 'softmax', 'crb' or 'gumbel', and a positive temperature. Received: "
                f"activation={activation!r}, temperature={temperature}"
            )
        self.activation, self.temperature = activation, temperature
        self._rows = edges_of(self.nodes, self.inputs)
        self.seeds = keras.random.SeedGenerator()

    def build(self, input_shape=None):
        """Create α, and for CRB what has not been pruned."""
        shape, count = (self._rows[-1].stop, len(self.operations)), len(self.operations)
        mean, deviation = (1 / count, 1e-4) if self.activation == "crb" else (0.0, 1e-3)
        start = keras.initializers.RandomNormal(mean, deviation)
        held = {"trainable": False, "dtype": "float32", "autocast": False}
        self.alpha = self.add_weight(name="alpha", shape=shape, initializer=start, **held)
        if self.activation == "crb":
            self.mask = self.add_weight(name="mask", shape=shape, initializer="ones", **held)

    def call(self, inputs, training=False):
        """Return the weights."""
        if self.activation != "gumbel" or not training:
            return self.activated()
        uniform = keras.random.uniform(self.alpha.shape, 1e-6, 1 - 1e-6, seed=self.seeds)
        gumbel = -keras.ops.log(-keras.ops.log(uniform))
        return keras.ops.softmax((self.alpha + gumbel) / self.temperature)

    def activated(self) -> Any:
        """Return the weights, without drawing."""
        if self.activation == "crb":
            return keras.ops.clip(self.alpha * self.mask, 0.0, 1.0)
        return keras.ops.softmax(keras.ops.convert_to_tensor(self.alpha))

    def projected(self, weights: Any) -> Any:
        """Return 1 where the discrete cell nearest to some weights has an operation, 0 elsewhere; see `search.projection`."""
        ops = keras.ops
        barred = ops.convert_to_tensor([float(name == "none") for name in self.operations], "float32")
        standing = weights - 1e6 * (barred + (1 - self.mask if self.activation == "crb" else 0.0))
        strengths, best = ops.max(standing, axis=1), ops.one_hot(ops.argmax(standing, axis=1), len(self.operations))
        parts = []
        for rows in self._rows:
            strongest = ops.top_k(strengths[rows], min(self.kept, rows.stop - rows.start))[1]
            picked = ops.sum(ops.one_hot(strongest, rows.stop - rows.start), axis=0)
            parts.append(best[rows] * picked[:, None])
        return ops.cast(ops.concatenate(parts), "float32")

    def prune(self) -> None:
        """Take out for ever what has weight 0, except what the discrete cell would have.

        Raises:
            ValueError: If the activation is another than `"crb"`.
        """
        if self.activation != "crb":
            raise ValueError(f"Layer '{self.name}' prunes with activation 'crb' only. It has '{self.activation}'.")
        ops = keras.ops
        last = self.projected(ops.convert_to_tensor(self.alpha))
        alive = ops.maximum(ops.cast(self.alpha > 0, "float32"), last)
        self.mask.assign(self.mask * alive)
        self.alpha.assign(ops.where(last > 0, ops.maximum(self.alpha, 0.0), self.alpha * self.mask))

    def values(self) -> np.ndarray:
        """Return the activated weights as an array; what has been pruned is 0."""
        return np.asarray(keras.ops.convert_to_numpy(self.activated()), np.float64)

    def genes(self) -> tuple[Gene, ...]:
        """Return the genes of the discrete cell that the weights mean.

        Raises:
            ValueError: If α holds NaN or infinity.
        """
        values = self.values()
        if not np.isfinite(values).all():
            raise ValueError(
                f"α of layer '{self.name}' holds NaN or infinity, so that it means no cell: the search diverged. Go back to an "
                "earlier epoch, and use a smaller learning rate."
            )
        if self.activation == "crb":
            values = np.where(keras.ops.convert_to_numpy(self.mask) > 0, values, -np.inf)
        return genes_of(values, self.operations, self.inputs, self.kept)

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        return (self._rows[-1].stop, len(self.operations))

    def compute_output_spec(self, inputs, training=False):
        """Return shape and dtype of the output."""
        return keras.KerasTensor(self.compute_output_shape(None), "float32")

    def get_config(self):
        """Return the arguments of the constructor."""
        names = ("nodes", "activation", "inputs", "kept", "temperature")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}, "operations": list(self.operations)}
