"""Networks of DARTS cells: supernets to search in, and networks of a genotype."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import keras

from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.nas.architecture import Activation, ArchitectureWeights
from keras_struct.nas.auxiliary import AuxiliaryModel
from keras_struct.nas.darts_cell import DartsCell
from keras_struct.nas.genotypes import PRIMITIVES, Genotype

_NORM = {"momentum": 0.9, "epsilon": 1e-5}


def darts_supernet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    init_channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    activation: Activation = "softmax",
    operations: Sequence[str] | None = None,
    reductions: Collection[int] | None = None,
    temperature: float = 1.0,
    classifier_activation: Any = "softmax",
    name: str = "darts_supernet",
) -> StructuralModel:
    """Build a network of cells with all operations on all edges, for `search.Darts` and `search.DartsPrime`.

    Args:
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        init_channels: Channels of a node in the first cells; they double at each reduction.
        layers: Number of cells.
        nodes: Nodes of a cell.
        activation: How weights of operations come of α, as `layers.ArchitectureWeights`; with `"crb"` nodes are normalised.
        operations: What to choose among; by default all of `search.PRIMITIVES`, with `"crb"` without `none`.
        reductions: Which cells halve resolution; by default those a third and two thirds of the way, for three cells or more.
        temperature: Of `"gumbel"`.
        classifier_activation: Of the output; `None` for logits.
        name: Name of the model.

    Returns:
        A `StructuralModel`; its layers `alpha_normal` and `alpha_reduce` hold the weights of the operations.

    Raises:
        ValueError: If there are too few cells, or sizes are odd where they are halved.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.1 and appendix A.

    >>> supernet = applications.darts_supernet((32, 32, 3), 10, init_channels=4, layers=3)
    >>> sum(int(np.prod(weight.shape)) for weight in supernet.trainable_weights)
    72854
    """
    halved = _reductions(layers, reductions)
    if operations is None:
        operations = PRIMITIVES[1:] if activation == "crb" else PRIMITIVES
    inputs = keras.Input(input_shape)
    weights = [
        ArchitectureWeights(nodes, operations, activation, temperature=temperature, name=f"alpha_{kind}")(inputs)
        for kind in ("normal", "reduce")
    ]
    first = second = _stem(inputs, 3 * init_channels)
    channels, after = init_channels, False
    for i in range(layers):
        reduction = i in halved
        channels *= 2 if reduction else 1
        options: dict[str, Any] = {"nodes": nodes, "operations": operations, "normalize_nodes": activation == "crb"}
        cell = DartsCell(channels, reduction, after, **options, name=f"cell_{i}")
        first, second, after = second, cell([first, second, weights[reduction]]), reduction
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(second)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="classifier")(pooled)
    return StructuralModel(inputs, outputs, name=name)


def darts_network(
    genotype: Genotype | str,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    init_channels: int = 36,
    layers: int = 20,
    auxiliary: float = 0.0,
    drop_path: bool = False,
    stem: str = "cifar",
    reductions: Collection[int] | None = None,
    classifier_activation: Any = "softmax",
    name: str = "darts_network",
) -> StructuralModel:
    """Build the network of a genotype, with fresh weights.

    Args:
        genotype: What was found, or its text.
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        init_channels: Channels of a node in the first cells; they double at each reduction.
        layers: Number of cells.
        auxiliary: Weight in the loss of a second classifier behind the second reduction, in training only; 0.4 in the paper.
        drop_path: Whether operations are left out at random in training. The probability rises with
            `callbacks.DropPathSchedule`.
        stem: `"cifar"`: one convolution; `"imagenet"`: three of stride 2, which the images must be large enough for.
        reductions: As `darts_supernet`.
        classifier_activation: Of both outputs; `None` for logits.
        name: Name of the model.

    Returns:
        A `StructuralModel`.

    Raises:
        ValueError: If the genotype is none, there are too few cells, or sizes are odd where they are halved.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.2 and appendix A.

    >>> network = applications.darts_network(search.DARTS_V2, init_channels=8, layers=4)
    >>> sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    29642
    """
    found = Genotype.parse(genotype) if isinstance(genotype, str) else genotype
    halved = _reductions(layers, reductions)
    if stem not in ("cifar", "imagenet"):
        raise ValueError(f"`stem` must be 'cifar' or 'imagenet'. Received: stem={stem!r}")
    inputs = keras.Input(input_shape)
    if stem == "cifar":
        first = second = _stem(inputs, 3 * init_channels)
    else:
        first, second = _large_stem(inputs, init_channels)
    channels, after, head = init_channels, stem == "imagenet", None
    for i in range(layers):
        reduction = i in halved
        channels *= 2 if reduction else 1
        genes, concat = (found.reduce, found.reduce_concat) if reduction else (found.normal, found.normal_concat)
        cell = DartsCell(channels, reduction, after, genes, concat, drop_path=drop_path, name=f"cell_{i}")
        first, second, after = second, cell([first, second]), reduction
        if i == max(halved, default=-1):
            head = second
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(second)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="classifier")(pooled)
    if not auxiliary or head is None:
        return StructuralModel(inputs, outputs, name=name)
    other = _auxiliary(head, num_classes, classifier_activation, stem)
    return AuxiliaryModel(inputs, [outputs, other], auxiliary=auxiliary, name=name)


def _reductions(layers: int, given: Collection[int] | None) -> set[int]:
    if given is None and layers < 3:
        raise ValueError(
            f"A DARTS network halves resolution a third and two thirds of the way, and needs 3 cells at least. Received: "
            f"layers={layers}. Say which cells do with `reductions`, for example reductions=[]."
        )
    found = {layers // 3, 2 * layers // 3} if given is None else set(given)
    if not found <= set(range(layers)):
        raise ValueError(f"`reductions` must be among the cells 0 to {layers - 1}. Received: {sorted(found)}")
    return found


def _stem(x: Any, channels: int) -> Any:
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name="stem")(x)
    return keras.layers.BatchNormalization(**_NORM, name="stem_norm")(x)


def _large_stem(x: Any, channels: int) -> tuple[Any, Any]:
    """Three convolutions of stride 2, each normalised."""
    layers = keras.layers
    states = []
    for i, width in enumerate((channels // 2, channels, channels)):
        x = layers.ReLU(name=f"stem_relu_{i}")(x) if i else x
        x = layers.ZeroPadding2D(1, name=f"stem_pad_{i}")(x)
        x = layers.Conv2D(width, 3, 2, use_bias=False, name=f"stem_{i}")(x)
        x = layers.BatchNormalization(**_NORM, name=f"stem_norm_{i}")(x)
        states.append(x)
    return states[1], states[2]


def _auxiliary(x: Any, num_classes: int, activation: Any, stem: str) -> Any:
    """The second classifier; where images are smaller than 8 x 8, or may be, it takes the mean of all there is."""
    layers = keras.layers
    x = layers.ReLU(name="auxiliary_relu_0")(x)
    smallest = min(extent or 0 for extent in x.shape[1:3])
    if smallest >= 8:
        x = layers.AveragePooling2D(5, 2 if stem == "imagenet" else 3, name="auxiliary_pool")(x)
    x = layers.Conv2D(128, 1, use_bias=False, name="auxiliary_0")(x)
    x = layers.ReLU(name="auxiliary_relu_1")(layers.BatchNormalization(**_NORM, name="auxiliary_norm_0")(x))
    x = layers.Conv2D(768, 2, padding="valid" if smallest >= 8 else "same", use_bias=False, name="auxiliary_1")(x)
    if stem != "imagenet":  # as published
        x = layers.BatchNormalization(**_NORM, name="auxiliary_norm_1")(x)
    x = layers.ReLU(name="auxiliary_relu_2")(x)
    x = (
        layers.GlobalAveragePooling2D(name="auxiliary_mean")(x)
        if smallest != 8
        else layers.Flatten(name="auxiliary_flat")(x)
    )
    return layers.Dense(num_classes, activation=activation, name="auxiliary_classifier")(x)
