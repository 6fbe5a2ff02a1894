"""The equivariant network in which symmetries are searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras

from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.group_norm import GroupBatchNormalization
from keras_struct.symmetry.group_pooling import GroupPooling2D
from keras_struct.symmetry.groups import Group, common_frame, get, intersection
from keras_struct.symmetry.mixed_conv import MixedEquivariantConv
from keras_struct.units.vgg import check_arguments, scaled

FIELDS = (16, 16, 16, 16, 32, 32, 32, 32)
"""Fields of the eight convolutions for a frame of D4."""
POOLED = (3, 5, 7)
"""After which convolutions the image is halved."""


def EquivariantCNN(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    groups: str | Group | Sequence[str | Group | Sequence[str | Group]] = "D4",
    frame: str | Group = "D4",
    width: float = 1.0,
    kernel_size: int = 5,
    pooled: Sequence[int] = POOLED,
    hidden: int = 64,
    pooling: Literal["exact", "paper"] = "exact",
    invariance: str | Group | None = None,
    mixing: Literal["softmax", "sum"] = "softmax",
    temperature: float | None = None,
    classifier_activation: Any = "softmax",
    name: str = "equivariant_cnn",
) -> StructuralModel:
    """Eight group convolutions with tied normalisation and ReLU, three poolings, group pooling and two dense layers.

    The convolutions are called `conv1` to `conv8`. Where a layer is given several groups, it is a `MixedEquivariantConv`. All
    layers are equally wide once expanded, whatever their groups.

    Args:
        input_shape: Height, width and channels of an image.
        num_classes: Number of classes.
        groups: One group for all layers, or one for each: a name, a `Group`, or a list of them for a mixture. Written
            `groups=[["C1", "D4"]] * 8`, all layers are mixtures.
        frame: A group that holds all of them.
        width: Factor of the numbers of fields, 16 for four layers and 32 for four, for a frame of D4; smaller frames have as
            many more.
        kernel_size: Odd size of the kernels.
        pooled: After which convolutions (from 1) the image is halved.
        hidden: Units of the dense layer in between.
        pooling: `"exact"`: windows of 2, or of 3 with padding where the axis is odd, which keep rotations and mirrors;
            `"paper"`: windows of 3 with padding throughout, as published, which do not.
        invariance: What the last group pooling is over; by default the intersection of all layers' groups, or the frame if the
            last convolution is a mixture.
        mixing: Of mixtures, as `MixedEquivariantConv`.
        temperature: Of mixtures that are drawn, as `MixedEquivariantConv`.
        classifier_activation: Of the output; `None` for logits.
        name: Name of the model.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If a group is unknown or lies outside of the frame, the number of groups is not that of the layers, or the
            images are too small.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.5), whose
        code has untied batch normalisation and no group pooling, and is not equivariant from end to end.

    Examples:
        >>> small = EquivariantCNN(width=1 / 8, groups="C4")
        >>> small.symmetries["conv8"].name
        'C4'
        >>> event, _ = small.relax("conv8", "C2")
    """
    check_arguments(input_shape, num_classes, width, smallest=2 ** len(pooled))
    outer = get(frame)
    chosen = _chosen(groups, len(FIELDS))
    over = get(invariance) if invariance is not None else _invariance(chosen, outer)
    inputs = x = keras.Input(input_shape)
    for i, (fields, group) in enumerate(zip(FIELDS, chosen, strict=True), 1):
        count = scaled(fields * 8 // outer.order, width)
        x = _convolution(
            x, count, kernel_size, group, chosen[i - 2] if i > 1 else None, outer, (mixing, temperature), f"conv{i}"
        )
        tied = group if isinstance(group, Group) else common_frame(group)
        x = GroupBatchNormalization(tied, outer, momentum=0.9, name=f"norm{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        if i in pooled:
            x = _halved(x, pooling, f"pool{i}")
    x = keras.layers.GlobalAveragePooling2D(name="positions")(x)
    x = GroupPooling2D(over, outer, name="orbits")(x)
    x = keras.layers.Dense(hidden, use_bias=False, name="hidden")(x)
    x = keras.layers.ReLU(name="hidden_relu")(keras.layers.BatchNormalization(momentum=0.9, name="hidden_norm")(x))
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return StructuralModel(inputs, outputs, name=name)


def _chosen(groups: Any, layers: int) -> list[Any]:
    """A group, or a tuple of groups, for each layer."""
    listed = [groups] * layers if isinstance(groups, str | Group) else list(groups)
    if len(listed) != layers:
        raise ValueError(
            f"`groups` must be one group, or one for each of the {layers} convolutions. Received: {groups}"
        )
    return [get(g) if isinstance(g, str | Group) else tuple(get(each) for each in g) for g in listed]


def _invariance(chosen: list[Any], frame: Group) -> Group:
    single = [group for group in chosen if isinstance(group, Group)]
    return intersection(single) if len(single) == len(chosen) else frame


def _convolution(x: Any, fields: int, size: int, group: Any, before: Any, frame: Group, mixing: Any, name: str) -> Any:
    options: dict[str, Any] = {"padding": "same", "use_bias": False, "name": name}
    if isinstance(group, Group):
        return GroupConv2D(fields, size, group, None if before is None else frame, frame, **options)(x)
    return MixedEquivariantConv(fields, size, group, before is None, frame, *mixing, **options)(x)


def _halved(x: Any, pooling: str, name: str) -> Any:
    if pooling == "paper":
        return keras.layers.AveragePooling2D(3, 2, "same", name=name)(x)
    if pooling != "exact":
        raise ValueError(f"`pooling` must be 'exact' or 'paper'. Received: pooling={pooling!r}")
    odd = [extent % 2 for extent in x.shape[1:3]]
    size = tuple(3 if uneven else 2 for uneven in odd)
    return keras.layers.AveragePooling2D(size, 2, "same", name=name)(x)
