"""A trained network with a new head, for another task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.convert import convert_layers, structural_kind
from keras_struct.core.model.structural_model import StructuralModel

_PASSING = ("Activation", "Softmax", "Dropout", "Reshape", "Flatten", "Identity")
_POOLINGS = {"avg": "Average", "max": "Max"}


def transfer(
    model: keras.Model,
    num_classes: int | None = None,
    *,
    classes: Sequence[int] | None = None,
    features: str | None = None,
    pooling: str = "avg",
    dropout: float = 0.0,
    activation: str | Callable[[Any], Any] | None = "softmax",
    name: str | None = None,
) -> StructuralModel:
    """Give a trained network a new classifier, and leave its structure open for edits.

    The head is what comes after the features: the last dense layer, or a convolution of 1 x 1 in its place, with what follows
    it. A network without one (`include_top=False`) gets one behind its outputs. The features keep their weights; the new
    dense layer goes by the name of the old one, or `"predictions"`.

    Args:
        model: A built Functional or Sequential model with one output. It is left as it is.
        num_classes: Number of classes of the new task; the new classifier starts from `glorot_uniform` and zeros.
        classes: In place of `num_classes`: which classes of the old classifier to keep, in their new order; their weights
            are kept, too.
        features: Name of the layer whose output the new head reads, if it cannot be told from the network.
        pooling: `"avg"` or `"max"`: what makes vectors of feature maps.
        dropout: Rate of a dropout in front of the classifier.
        activation: Of the classifier; `None` for logits.
        name: Name of the new model; that of the old one by default.

    Returns:
        The new model, not compiled.

    Raises:
        ValueError: If the model is not built or has several outputs, not exactly one of `num_classes` and `classes` is given,
            a class does not exist, or there is no layer `features`.

    Examples:
        >>> mobile = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=7)
        >>> model = transfer(mobile, num_classes=5)
        >>> model.output_shape
        (None, 5)
    """
    if (num_classes is None) == (classes is None):
        raise ValueError(
            "Pass either `num_classes`, for a new classifier, or `classes`, to keep some of the old one's. Received: "
            f"num_classes={num_classes}, classes={classes}"
        )
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1. Received: num_classes={num_classes}")
    if pooling not in _POOLINGS:
        raise ValueError(f"`pooling` must be 'avg' or 'max'. Received: pooling={pooling!r}")
    outputs = _single_output(model)
    old = _classifier(outputs) if features is None else None
    kept = None if classes is None else _kept(old, classes)
    kind = structural_kind(model, StructuralModel)
    copy = convert_layers(model)
    inputs, copied = internals.structured_ends(copy)
    x = _features(copy, _only(copied), old, features)
    if len(x.shape) > 2:
        x = getattr(keras.layers, f"Global{_POOLINGS[pooling]}Pooling{len(x.shape) - 2}D")()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    units = num_classes if kept is None else len(kept[1])
    head = keras.layers.Dense(units, activation=activation, name=_name(copy, old))
    new = kind(inputs, head(x), name=model.name if name is None else name)
    if kept is not None:
        head.kernel.assign(kept[0])
        head.bias.assign(kept[1])
    return new


def _name(copy: Any, old: Any) -> str | None:
    """Name of the new classifier."""
    taken = {layer.name for layer in copy.layers}
    return old.name if old is not None else (None if "predictions" in taken else "predictions")


def _single_output(model: Any) -> Any:
    if internals.functional_of(model) is None:
        raise ValueError(
            "Only a built Functional or Sequential model has a graph from which a head can be taken. Received: "
            f"{type(model).__name__} '{getattr(model, 'name', model)}'"
        )
    return _only(internals.structured_ends(model)[1])


def _only(outputs: Any) -> Any:
    listed = keras.tree.flatten(outputs)
    if len(listed) != 1:
        raise ValueError(
            f"The model has {len(listed)} outputs: cut it to the one whose features the new task needs, as in "
            "keras.Model(model.inputs, model.outputs[0])."
        )
    return listed[0]


def _classifier(tensor: Any) -> Any:
    """The layer that classifies, found backwards from the output; `None` if there is none."""
    if len(tensor.shape) != 2:
        return None
    while True:
        operation, node = internals.made_by(tensor)
        if isinstance(operation, keras.layers.Dense) or _is_pointwise(operation):
            return operation
        if type(operation).__name__ not in _PASSING or node is None or len(node.input_tensors) != 1:
            return None
        tensor = node.input_tensors[0]


def _is_pointwise(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Conv2D) and set(operation.kernel_size) == {1} and operation.groups == 1


def _features(copy: Any, output: Any, old: Any, name: str | None) -> Any:
    """What the new head reads."""
    if name is not None:
        if name not in {layer.name for layer in copy.layers}:
            raise ValueError(
                f"`features` must be the name of a layer of the model; there is no '{name}'. The last ones are "
                f"{[layer.name for layer in copy.layers[-5:]]}."
            )
        return _only(copy.get_layer(name).output)
    if old is None:
        return output
    tensor = output
    while True:
        operation, node = internals.made_by(tensor)
        tensor = node.input_tensors[0]
        if operation.name == old.name:
            return tensor


def _kept(old: Any, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Weights of some of the old classes."""
    if old is None:
        raise ValueError("The model has no classifier of which `classes` could be kept. Pass `num_classes` instead.")
    kernel = np.array(keras.ops.convert_to_numpy(old.kernel))
    kernel = kernel.reshape(-1, kernel.shape[-1])
    chosen = [int(index) for index in np.ravel(classes)]
    if not chosen or not all(0 <= index < kernel.shape[1] for index in chosen) or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"`classes` must be different classes of the old classifier, 0 to {kernel.shape[1] - 1}. Received: {classes}"
        )
    bias = keras.ops.convert_to_numpy(old.bias) if old.use_bias else np.zeros(kernel.shape[1])
    return kernel[:, chosen], np.array(bias)[chosen]
