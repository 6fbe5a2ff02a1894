"""Turn an ordinary network into an equivariant one."""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_copies import copied, copy_state
from keras_struct.core.model.convert import structural_kind
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.core.surgery.trace import trace
from keras_struct.symmetry import groups as symmetries
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.group_norm import GroupBatchNormalization
from keras_struct.symmetry.group_pooling import GroupPooling2D
from keras_struct.symmetry.groups import Group
from keras_struct.symmetry.sampling import sampling_problem

_KEPT = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Concatenate,
    keras.layers.Identity,
    keras.layers.SpatialDropout2D,
    keras.layers.Dropout,
    keras.layers.ZeroPadding2D,
    keras.layers.UpSampling2D,
    keras.layers.Rescaling,
)
_AUGMENTATION = (
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.RandomCrop,
    keras.layers.RandomContrast,
    keras.layers.RandomBrightness,
    keras.layers.CenterCrop,
    keras.layers.Resizing,
    keras.layers.Normalization,
)
_GLOBAL = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


ENOUGH_FIELDS = 8
"""With fewer fields in a layer a network often learns nothing."""


def to_equivariant(
    model: keras.Model, group: str | Group, frame: str | Group | None = None, width: float = 1.0, verbose: int = 1
) -> StructuralModel:
    """Return an equivariant network of the same build and the same widths, with fresh weights, and invariant outputs.

    Convolutions become `GroupConv2D`, batch normalisations `GroupBatchNormalization`; a `GroupPooling2D` follows the global
    pooling (or replaces `Flatten`, together with a global average); dense layers behind it stay. A convolution of `filters`
    channels becomes one of `filters / |frame|` fields, so that a step costs what it did. Few of its channels are independent
    then: with D4 one in eight. How many that leaves in each layer is printed, and fewer than 8 are warned of.

    Args:
        model: A Functional or Sequential network of convolutions, normalisations, poolings, pointwise activations, sums and
            concatenations, global pooling or `Flatten`, and dense layers.
        group: What the network is to be invariant to.
        frame: A group that holds it, if layers are to be constrained further; by default the group itself.
        width: Factor of the channels of all convolutions: 2 leaves twice as many fields, and a step costs up to four times as
            much. With the order of the frame as `width`, there are as many fields as there were channels.
        verbose: 1 to print how many independent fields each convolution has, 0 not to.

    Returns:
        The network, not compiled.

    Raises:
        ValueError: If the network is not built, has a layer that has no equivariant form, or a number of filters, times `width`,
            that is no multiple of the order of the frame.

    Examples:
        >>> convolution = keras.layers.Conv2D(32, 3, padding="same", name="conv")
        >>> pooling = keras.layers.GlobalAveragePooling2D()
        >>> plain = keras.Sequential([keras.Input((8, 8, 1)), convolution, pooling, keras.layers.Dense(2)])
        >>> model = to_equivariant(plain, "C4")
        Independent fields under C4: conv 8 of 32 channels.
        >>> from keras_struct.symmetry import equivariance_error
        >>> max(equivariance_error(model, np.random.rand(2, 8, 8, 1), "C4").values()) < 1e-5
        True
    """
    trace(model)
    kind = structural_kind(model, StructuralModel)
    chosen = symmetries.get(group)
    outer = chosen if frame is None else symmetries.get(frame)
    symmetries.check_within(chosen, outer)
    if not width > 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    functional = internals.functional_of(model)
    converter = _Converter(chosen, outer, width)
    values = {id(tensor): keras.Input(tensor.shape[1:], name=f"{model.name}_input") for tensor in functional.inputs}
    converter.images |= {id(value) for value in values.values()}
    inputs = [values[id(tensor)] for tensor in functional.inputs]
    for node in internals.nodes_in_order(functional):
        ins, outs = internals.node_tensors(node)
        result = converter.convert(node.operation, [values[id(tensor)] for tensor in ins])
        values.update({id(tensor): result for tensor in outs})
    converter.keep_settings()
    outputs = [values[id(tensor)] for tensor in functional.outputs]
    converter.tell_fields(verbose)
    return kind(_single(inputs), _single(outputs), name=model.name)


def _single(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


class _Converter:
    """Carries out the layers of a network in their equivariant form.

    Attributes:
        images: Ids of tensors that are images, not features in the frame.
        flat: Ids of tensors that are invariant.
        channels: How many channels each convolution has, by name.
    """

    def __init__(self, group: Group, frame: Group, width: float) -> None:
        self.group, self.frame, self.width = group, frame, width
        self.channels: dict[str, int] = {}
        self.images: set[int] = set()
        self.flat: set[int] = set()
        self.copies: dict[int, tuple[Any, Any]] = {}

    def convert(self, layer: Any, inputs: list[Any]) -> Any:
        """Return what the equivariant form of a layer makes of its inputs."""
        kinds = [id(tensor) in self.images for tensor in inputs]
        result = self._convert(layer, inputs, all(kinds))
        if all(kinds) and isinstance(layer, _KEPT):
            self.images.add(id(result))
        if all(id(tensor) in self.flat for tensor in inputs):
            self.flat.add(id(result))
        return result

    def _convert(self, layer: Any, inputs: list[Any], image: bool) -> Any:
        if image and isinstance(layer, _AUGMENTATION):
            result = self._copied(layer)(inputs[0])
            self.images.add(id(result))
            return result
        if any(id(tensor) in self.flat for tensor in inputs):
            return self._copied(layer)(*inputs if len(inputs) == 1 else (inputs,))
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.Conv2DTranspose):
            return self._convolution(layer, image)(inputs[0])
        if isinstance(layer, keras.layers.BatchNormalization) and not image:
            names = ("momentum", "epsilon", "center", "scale")
            options = {name: getattr(layer, name) for name in names}
            return GroupBatchNormalization(self.group, self.frame, name=layer.name, **options)(inputs[0])
        if isinstance(layer, _GLOBAL) and not image:
            return self._invariant(self._copied(layer)(inputs[0]), f"{layer.name}_orbits")
        if isinstance(layer, keras.layers.Flatten) and not image:
            pooled = keras.layers.GlobalAveragePooling2D(name=layer.name)(inputs[0])
            return self._invariant(pooled, f"{layer.name}_orbits")
        if isinstance(layer, _KEPT):
            self._check_sampling(layer, inputs[0])
            return self._copied(layer)(inputs[0] if len(inputs) == 1 else inputs)
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has no equivariant form here. Convolutions, normalisations, "
            "poolings, pointwise activations, sums and concatenations have, and behind global pooling or Flatten everything."
        )

    def tell_fields(self, verbose: int) -> None:
        """Say how many channels of each convolution are independent, and warn of few."""
        order = self.group.order
        counts = [f"{name} {channels // order} of {channels} channels" for name, channels in self.channels.items()]
        if verbose and counts:
            print(f"Independent fields under {self.group}: {', '.join(counts)}.")
        few = {name: n // order for name, n in self.channels.items() if n // order < ENOUGH_FIELDS}
        if few:
            wanted = self.width * max(ENOUGH_FIELDS * order / self.channels[name] for name in few)
            listed = ", ".join(f"'{name}' {fields}" for name, fields in few.items())
            warnings.warn(
                f"With the symmetry {self.group} at these widths few independent fields remain: {listed}. A layer with fewer "
                f"than {ENOUGH_FIELDS} often learns nothing. Pass width={ceil(wanted)} for at least {ENOUGH_FIELDS} in each "
                "layer (more channels, and a slower step), or a smaller `group`.",
                stacklevel=3,
            )

    def _copied(self, layer: Any) -> Any:
        """A layer that stays; one that is called several times is copied once."""
        if id(layer) not in self.copies:
            self.copies[id(layer)] = (layer, copied(layer))
        return self.copies[id(layer)][1]

    def keep_settings(self) -> None:
        """Give layers that stay what was adapted, such as means and vocabularies; trained weights start afresh."""
        for layer, copy in self.copies.values():
            kept = isinstance(layer, keras.layers.Layer) and not copy.trainable_variables
            if kept and [v.shape for v in layer.variables] == [v.shape for v in copy.variables]:
                copy_state(layer, copy)

    def _check_sampling(self, layer: Any, x: Any) -> None:
        """Warn of poolings whose windows lie unevenly."""
        if not isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
            return
        extents = x.shape[2:4] if layer.data_format == "channels_first" else x.shape[1:3]
        if problem := sampling_problem(self.group, extents, layer.pool_size, layer.strides, layer.padding):
            warnings.warn(f"Layer '{layer.name}' does not keep {self.group}: {problem}", stacklevel=5)

    def _invariant(self, tensor: Any, name: str) -> Any:
        result = GroupPooling2D(self.group, self.frame, name=name)(tensor)
        self.flat.add(id(result))
        return result

    def _convolution(self, layer: Any, image: bool) -> GroupConv2D:
        channels = round(layer.filters * self.width)
        if layer.groups != 1 or channels % self.frame.order or abs(channels - layer.filters * self.width) > 1e-6:
            times = "" if self.width == 1 else f" times width={self.width:g}"
            raise ValueError(
                f"Convolution '{layer.name}' has {layer.filters} filters{times} in {layer.groups} groups: expected a multiple of "
                f"{self.frame.order}, the order of {self.frame}, in one."
            )
        self.channels[layer.name] = channels
        names = ("strides", "padding", "data_format", "dilation_rate", "activation", "use_bias", "name")
        options = {name: getattr(layer, name) for name in names}
        fields, before = channels // self.frame.order, None if image else self.group
        return GroupConv2D(fields, layer.kernel_size, self.group, before, self.frame, **options)
