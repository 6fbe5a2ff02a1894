"""Cells of the DARTS search space: all operations on all edges, or those of a genotype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import keras
import numpy as np

from keras_struct.layers import darts_operations as operations_of
from keras_struct.layers.cell_normalization import CellNormalization
from keras_struct.layers.framed import whole_number
from keras_struct.structure.cells import POOLS, STAGES, Path, Wiring, all_paths, gather, in_order, wiring_of_genes
from keras_struct.structure.genotypes import OPERATIONS, PRIMITIVES, Gene, Genotype


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
        concat: States that are put out side by side; all nodes by default.
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
        self.operations = _checked_operations(operations)
        discrete = genes is not None
        self.nodes = len(genes) // 2 if genes is not None else whole_number("nodes", nodes)
        self.weighted = not discrete if weighted is None else weighted
        self.affine = discrete if affine is None else affine
        self.drop_path = drop_path
        if genes is not None:
            self.operations = tuple(name for name in OPERATIONS if name in {gene[0] for gene in genes})
        found = wiring_of_genes(genes, self.reduction) if genes is not None else all_paths(self.nodes, self.operations)
        if paths is not None:
            found = in_order([Path(*path) for path in paths])
        pools = not discrete if normalize_pools is None else normalize_pools
        self.wiring = Wiring(found, self.nodes, self.reduction, pools, normalize_nodes)
        self.concat = tuple(range(2, 2 + self.nodes)) if concat is None else tuple(concat)
        _check_wiring(self.wiring, self.concat)
        if self.channels % 2 and (self.reduction or self.after_reduction):
            raise ValueError(
                f"Cells at a reduction make each half of their channels of other places. Received odd channels={channels}"
            )
        self.seeds = keras.random.SeedGenerator() if drop_path else None

    # Weights

    def build(self, input_shape):
        """Create the weights."""
        first, second = input_shape[0], input_shape[1]
        for size, halved in ((first[1:3], self.after_reduction), (second[1:3], self.reduction)):
            if halved and any(extent is not None and extent % 2 for extent in size):
                raise ValueError(
                    f"Layer '{self.name}' halves images of {size[0]} x {size[1]}: expected even numbers. Pad or crop the "
                    "images, or use fewer reductions."
                )
        half, channels = self.channels // 2, self.channels
        shape = (1, 2, first[-1], half) if self.after_reduction else (1, first[-1], channels)
        self._kernel("preprocess_0", shape, first[-1])
        self._kernel("preprocess_1", (1, second[-1], channels), second[-1])
        for operation in self.operations:
            count = len(self.wiring.weighted(operation))
            if operation in STAGES:
                size, stages = int(operation[-1]), STAGES[operation]
                self._kernel(f"{operation}_depthwise", (count, stages, size, size, channels), size**2)
                self._kernel(f"{operation}_pointwise", (count, stages, channels, channels), channels)
            elif operation == "skip_connect" and self.reduction:
                self._kernel("skip_connect_pointwise", (count, 2, channels, half), channels)
            elif operation == "conv_7x1_1x7":
                self._kernel("conv_7x1_1x7_kernel", (count, 2, 7, channels, channels), 7 * channels)
        rows = (len(self.wiring.rows), channels)
        for name, start in (("gamma", "ones"), ("beta", "zeros")) if self.affine else ():
            setattr(self, name, self.add_weight(name=name, shape=rows, initializer=start))
        for name, start in (("moving_mean", "zeros"), ("moving_variance", "ones")):
            weight = self.add_weight(
                name=name, shape=rows, initializer=start, trainable=False, autocast=False, dtype="float32"
            )
            setattr(self, name, weight)
        if self.drop_path:
            self.drop_rate = self.add_weight(name="drop_rate", shape=(), initializer="zeros", trainable=False)

    def _kernel(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        """Uniform in ±1 / √fan-in, as the authors' code has it by its framework's default."""
        limit = 1 / sqrt(fan_in)
        start = keras.initializers.RandomUniform(-limit, limit) if shape[0] else "zeros"
        setattr(self, name, self.add_weight(name=name, shape=shape, initializer=start))

    # Computation

    def call(self, inputs, training=False):
        """Run the nodes one after another."""
        weights = inputs[2] if self.weighted else None
        normalize = CellNormalization(self, bool(training))
        ops = keras.ops
        first, second = ops.relu(inputs[0]), ops.relu(inputs[1])
        kernel = self.preprocess_0 + self._nothing()
        first = (
            operations_of.factorized(first, kernel)
            if self.after_reduction
            else ops.conv(first, kernel[0][None, None], 1, "same", "channels_last")
        )
        second = ops.conv(second, self.preprocess_1[0][None, None], 1, "same", "channels_last")
        states = [normalize(first, ("preprocess", 0), 1), normalize(second, ("preprocess", 1), 1)]
        sums: list[list[Any]] = [[] for _ in range(2 + self.nodes)]
        for source in range(2 + self.nodes):
            if source >= 2:
                states.append(self._node(sums[source], source, states, normalize))
            for targets, outputs in self._outputs(states[source], source, weights, normalize, training).items():
                for target, output in zip(targets, outputs, strict=True):
                    sums[target].append(output)
        normalize.finish()
        return ops.concatenate([states[state] for state in self.concat], axis=-1)

    def _nothing(self) -> Any:
        """Zero, of which kernels that no path is left of have a gradient, as optimizers expect."""
        return sum(keras.ops.sum(weight) for weight in self.trainable_weights if 0 in weight.shape)

    def _node(self, parts: list[Any], state: int, states: list[Any], normalize: CellNormalization) -> Any:
        if not parts:
            zeros = keras.ops.zeros_like(states[0])
            return zeros[:, ::2, ::2] if self.reduction else zeros
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return normalize(total, ("node", state - 2), 1) if self.wiring.normalized_nodes else total

    def _outputs(
        self, x: Any, source: int, weights: Any, normalize: CellNormalization, training: Any
    ) -> dict[tuple[int, ...], list[Any]]:
        """What the operations that read a state add to later ones, for all operations with the same targets together."""
        ops, rectified = keras.ops, None
        found: dict[tuple[int, ...], Any] = {}
        for operation in self.operations:
            places = self.wiring.of(operation, source)
            if not places:
                continue
            paths = [self.wiring.paths[i] for i in places]
            stride = self.wiring.stride(paths[0])
            weighted = self.wiring.weighted(operation)
            if places[0] in weighted:
                rectified = ops.relu(x) if rectified is None else rectified
                start = weighted.index(places[0])
                y = self._convolved(rectified, operation, slice(start, start + len(places)), places, stride, normalize)
                y = ops.reshape(y, (-1, *ops.shape(y)[1:3], len(places), self.channels))
            else:
                y = operations_of.pooled(x, operation, stride) if operation in POOLS else x
                if operation in POOLS and self.wiring.normalized_pools:
                    y = normalize(y, (operation, source), 1)
                y = y[:, :, :, None, :]
            if self.drop_path and training and not (operation == "skip_connect" and stride == 1):
                y = self._dropped(y, len(places))
            if weights is not None:
                column = self.operations.index(operation)
                share = ops.stack([weights[path.edge, column] for path in paths])
                y = y * ops.cast(share, y.dtype)[:, None]
            targets = tuple(path.target for path in paths)
            found[targets] = y if targets not in found else found[targets] + y
        return {targets: _each(y, len(targets)) for targets, y in found.items()}

    def _convolved(
        self, x: Any, operation: str, part: slice, places: list[int], stride: int, normalize: CellNormalization
    ) -> Any:
        """Outputs of all paths of one operation that read one state, beside each other."""
        count, key = len(places), self.wiring.keys[places[0]]
        if operation == "skip_connect":
            return normalize(operations_of.factorized(x, self.skip_connect_pointwise[part]), (*key, 0), count)
        if operation == "conv_7x1_1x7":
            y = operations_of.asymmetric(x, self.conv_7x1_1x7_kernel[part], stride)
            return normalize(y, (*key, 0), count)
        depthwise = getattr(self, f"{operation}_depthwise")[part]
        pointwise = getattr(self, f"{operation}_pointwise")[part]
        dilation = 2 if operation.startswith("dil") else 1
        y = operations_of.separable(x, depthwise[:, 0], pointwise[:, 0], stride, dilation)
        y = normalize(y, (*key, 0), count)
        if STAGES[operation] == 2:
            y = operations_of.separable_each(keras.ops.relu(y), depthwise[:, 1], pointwise[:, 1])
            y = normalize(y, (*key, 1), count)
        return y

    def _dropped(self, y: Any, count: int) -> Any:
        """Each path of each sample left out or strengthened."""
        ops = keras.ops
        keep = 1 - ops.cast(self.drop_rate, "float32")
        draws = keras.random.uniform((ops.shape(y)[0], 1, 1, count, 1), seed=self.seeds)
        return y * ops.cast(ops.floor(draws + keep) / keep, y.dtype)

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
        if set(config) == {"genes"}:
            new = wiring_of_genes([(name, int(state)) for name, state in config["genes"]], self.reduction)
        elif "paths" in config and set(config) <= {"paths", "weighted"}:
            new = in_order([Path(*path) for path in config["paths"]])
        else:
            raise ValueError(f"Layer '{self.name}' can change its `genes` or `paths`. Received: {dict(config)}")
        if missing := sorted(set(new) - set(self.wiring.paths)) or len(set(new)) < len(new):
            raise ValueError(
                f"Layer '{self.name}' has weights for each operation on each edge once at most; it lacks {missing} of "
                f"{list(new)}."
            )
        wiring = Wiring(new, self.nodes, self.reduction, self.wiring.normalized_pools, self.wiring.normalized_nodes)
        _check_wiring(wiring, self.concat)
        return {"wiring": wiring, "weighted": self.weighted and config.get("weighted", "paths" in config)}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what stays of arrays of the shapes of the layer's variables after a choice of operations."""
        old, new, found = self.wiring, self.reconfigured(config)["wiring"], dict(values)
        rows = gather(list(old.rows), list(new.rows))
        for name in {"gamma", "beta", "moving_mean", "moving_variance"} & set(values):
            found[name] = values[name][rows]
        for operation in self.operations:
            places = gather(
                [old.keys[i] for i in old.weighted(operation)], [new.keys[i] for i in new.weighted(operation)]
            )
            for name in (n for n in values if n.startswith(operation)):
                found[name] = values[name][places]
        return found

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


def _each(y: Any, count: int) -> list[Any]:
    """Summands for each target; one that is the same for all may stand for all."""
    if y.shape[3] == 1:
        return [y[:, :, :, 0]] * count
    return keras.ops.unstack(y, count, axis=3)


def _checked_operations(operations: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown or len(set(operations)) < len(operations) or not set(operations) - {"none"}:
        raise ValueError(
            f"Expected some of the operations {', '.join(OPERATIONS)}, each once. Received: {list(operations)}"
        )
    return tuple(operations)


def _check_wiring(wiring: Wiring, concat: Sequence[int]) -> None:
    for path in wiring.paths:
        if not 0 <= path.source < path.target < 2 + wiring.nodes or path.operation not in OPERATIONS:
            raise ValueError(
                f"A cell of {wiring.nodes} nodes cannot have {path}: a path leads from a state before its target, which is one "
                f"of 2 to {1 + wiring.nodes}, by one of the operations {', '.join(OPERATIONS)}."
            )
    if bad := [state for state in concat if not 0 <= state < 2 + wiring.nodes]:
        raise ValueError(
            f"A cell of {wiring.nodes} nodes has states 0 to {1 + wiring.nodes}, and cannot put out {bad}."
        )
