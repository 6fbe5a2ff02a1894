"""Cells of the DARTS search space: all operations on all edges, or those of a genotype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import keras
import numpy as np

from keras_struct.core.structure.arguments import whole_number
from keras_struct.nas.cell_call import CellCall
from keras_struct.nas.cell_states import check_wiring, discrete_state, supernet_state, weights_after, wiring_after
from keras_struct.nas.cells import STAGES, Path, Wiring
from keras_struct.nas.genotypes import PRIMITIVES, Gene, Genotype


@keras.saving.register_keras_serializable("keras_struct")
class DartsCell(keras.layers.Layer):
    """A cell of a DARTS network: nodes in a row, each the sum of operations on what came before it.

    Without `genes` it is a cell of a supernet: every operation is on every edge, and all are added with weights that come as a
    third input, from `ArchitectureWeights`. With `genes` it has two operations a node. `model.choose` turns the one into the
    other and keeps the weights of what is chosen.

    The operations that leave one state share what they can: one ReLU, one pooling, one depthwise convolution of all edges.

    Args:
        channels: Of each node.
        reduction: Whether the cell halves height and width.
        after_reduction: Whether the cell before did, so that the first input has twice the size of the second.
        genes: Operation and state of each gene, two a node in turn; see `search.Genotype`.
        concat: States that are output side by side; all nodes by default.
        nodes: How many nodes a cell without `genes` has.
        operations: Of a cell without `genes`, in the order of the columns of the weights.
        affine: Whether normalisations scale and shift; by default only with `genes`.
        normalize_pools: Whether pools are normalised; by default only without `genes`.
        normalize_nodes: Whether each node is normalised (for weights that do not add up to 1).
        drop_path: Whether operations but identities are left out at random in training, with probability `drop_rate`.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        A list: the output of the cell before the last, `(batch, height, width, channels)`, that of the last one, and without
        `genes` weights `(edges, operations)`, the edges target by target.

    Output shape:
        `(batch, height, width, len(concat) · channels)`, halved with `reduction`.

    Raises:
        ValueError: If an operation or state is unknown, channels are odd where they are halved, or sizes are odd where they are.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 2.1 and appendix A.

    Examples:
        >>> weights = np.full((5, 8), 1 / 8, "float32")  # two nodes: edges 0-2, 1-2, 0-3, 1-3, 2-3
        >>> images = np.random.rand(2, 8, 8, 4).astype("float32")
        >>> layers.DartsCell(4, nodes=2)([images, images, weights]).shape
        TensorShape([2, 8, 8, 8])
    """

    retraced = True
    weighting = None

    def __init__(
        self,
        channels: int,
        reduction: bool = False,
        after_reduction: bool = False,
        genes: Sequence[Gene] | None = None,
        concat: Sequence[int] | None = None,
        nodes: int = 4,
        operations: Sequence[str] = PRIMITIVES,
        affine: bool | None = None,
        normalize_pools: bool | None = None,
        normalize_nodes: bool = False,
        drop_path: bool = False,
        paths: Sequence[Sequence[Any]] | None = None,
        weighted: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = whole_number("channels", channels)
        self.reduction, self.after_reduction = bool(reduction), bool(after_reduction)
        if genes is None:
            state = supernet_state(whole_number("nodes", nodes), operations)
        else:
            state = discrete_state(genes, self.reduction)
        state = state.changed(paths, weighted=weighted, affine=affine, normalized_pools=normalize_pools)
        self.nodes, self.operations = state.nodes, state.operations
        self.weighted, self.affine = state.weighted, state.affine
        self.wiring = Wiring(state.paths, self.nodes, self.reduction, state.normalized_pools, normalize_nodes)
        self.concat = tuple(range(2, 2 + self.nodes)) if concat is None else tuple(concat)
        check_wiring(self.wiring, self.concat)
        if self.channels % 2 and (self.reduction or self.after_reduction):
            raise ValueError(
                f"Cells at a reduction make each half of their channels of other places. Received odd channels={channels}"
            )
        self.drop_path = drop_path
        self.seeds = keras.random.SeedGenerator() if drop_path else None

    def build(self, input_shape):
        """Create the weights."""
        first, second = input_shape[0], input_shape[1]
        self._check_size(first[1:3], self.after_reduction)
        self._check_size(second[1:3], self.reduction)
        half, channels = self.channels // 2, self.channels
        shape = (1, 2, first[-1], half) if self.after_reduction else (1, first[-1], channels)
        self._kernel("preprocess_0", shape, first[-1])
        self._kernel("preprocess_1", (1, second[-1], channels), second[-1])
        for operation in self.operations:
            self._build_operation(operation, len(self.wiring.weighted(operation)))
        self._build_normalizations((len(self.wiring.rows), channels))
        if self.drop_path:
            self.drop_rate = self.add_weight(name="drop_rate", shape=(), initializer="zeros", trainable=False)

    def _check_size(self, size: tuple[int | None, ...], halved: bool) -> None:
        if halved and any(extent is not None and extent % 2 for extent in size):
            raise ValueError(
                f"Layer '{self.name}' halves images of {size[0]} x {size[1]}: expected even numbers. Pad or crop the "
                "images, or use fewer reductions."
            )

    def _build_operation(self, operation: str, count: int) -> None:
        """Create the kernels of an operation, for all paths on which it is."""
        channels = self.channels
        if operation in STAGES:
            size, stages = int(operation[-1]), STAGES[operation]
            self._kernel(f"{operation}_depthwise", (count, stages, size, size, channels), size**2)
            self._kernel(f"{operation}_pointwise", (count, stages, channels, channels), channels)
        elif operation == "skip_connect" and self.reduction:
            self._kernel("skip_connect_pointwise", (count, 2, channels, channels // 2), channels)
        elif operation == "conv_7x1_1x7":
            self._kernel("conv_7x1_1x7_kernel", (count, 2, 7, channels, channels), 7 * channels)

    def _build_normalizations(self, shape: tuple[int, int]) -> None:
        for name, start in (("gamma", "ones"), ("beta", "zeros")) if self.affine else ():
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=start))
        fixed = {"trainable": False, "autocast": False, "dtype": "float32"}
        for name, start in (("moving_mean", "zeros"), ("moving_variance", "ones")):
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=start, **fixed))

    def _kernel(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        """Uniform in ±1 / √fan-in, as the authors' code has it by its framework's default."""
        limit = 1 / sqrt(fan_in)
        start = keras.initializers.RandomUniform(-limit, limit) if shape[0] else "zeros"
        setattr(self, name, self.add_weight(name=name, shape=shape, initializer=start))

    def call(self, inputs, training=False):
        """Run the nodes one after another."""
        return CellCall(self, inputs[2] if self.weighted else None, bool(training))(inputs[0], inputs[1])

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        batch, height, width, _ = input_shape[1]
        if self.reduction:
            height, width = (None if extent is None else extent // 2 for extent in (height, width))
        return (batch, height, width, len(self.concat) * self.channels)

    def compute_output_spec(self, inputs, training=False):
        """Return shape and dtype of the output."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, self.compute_dtype)

    # Edits

    @property
    def paths(self) -> tuple[Path, ...]:
        """The operations of the cell: name, state that is read, state that is added to."""
        return self.wiring.paths

    def decision(self, genotype: Any, genes: Callable[[], Any]) -> dict[str, Any]:
        """Return the configuration after a choice: the genes of a genotype or, without one, those that the weights mean.

        Raises:
            ValueError: If the genotype is that of a recurrent cell.
        """
        if genotype is not None and not isinstance(genotype, Genotype):
            raise ValueError(f"Layer '{self.name}' needs a Genotype of convolutional cells. Received: {genotype}")
        found = genes() if genotype is None else genotype.reduce if self.reduction else genotype.normal
        return {"genes": [list(gene) for gene in found]}

    @property
    def choice(self) -> dict[str, Any]:
        """The configuration that is left, for `reconfigured`."""
        return {"paths": [[p.operation, p.source, p.target] for p in self.paths], "weighted": self.weighted}

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes after a choice of operations.

        Args:
            config: `genes`, two a node, which come in without weights from then on; or `paths`, those that stay, and whether they
                are `weighted` still.

        Raises:
            ValueError: If the cell does not have an operation there, or a node would be left without any.
        """
        wiring = wiring_after(self.wiring, config, self.name)
        check_wiring(wiring, self.concat)
        return {"wiring": wiring, "weighted": self.weighted and config.get("weighted", "paths" in config)}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what stays of arrays of the shapes of the layer's variables after a choice of operations."""
        return weights_after(self.wiring, self.reconfigured(config)["wiring"], self.operations, values)

    def get_config(self):
        """Return the arguments of the constructor."""
        config = {
            "channels": self.channels,
            "reduction": self.reduction,
            "after_reduction": self.after_reduction,
            "concat": list(self.concat),
            "nodes": self.nodes,
            "operations": list(self.operations),
            "affine": self.affine,
            "normalize_pools": self.wiring.normalized_pools,
            "normalize_nodes": self.wiring.normalized_nodes,
            "drop_path": self.drop_path,
            **self.choice,
        }
        return {**super().get_config(), **config}
