"""What a network costs: floating point operations of one forward pass, and parameters, in total and by layer.

The convention is that of TensorFlow's profiler, so that the numbers can be checked against it: an addition, a
multiplication or a comparison is one operation, hence a multiply-add two, and biases count.

==========================================  ==========================================================================
Dense, Conv*, EinsumDense and the like      2 x fan-in x output entries, + 1 an entry for the bias; fan-in of a
                                            convolution = kernel positions x input channels / groups, padding included
Conv*Transpose                              2 x kernel positions x filters x input entries, + bias
activations                                 0 for what acts on single entries (ReLU, sigmoid, tanh, GELU, ...);
                                            softmax 5 an entry; PReLU 3
BatchNormalization                          2 an entry (at inference it is one factor and one offset a channel)
LayerNormalization, GroupNormalization      6 an entry; LayerNormalization + 1 for its scale and + 1 for its offset
RMSNormalization, UnitNormalization         4 and 3 an entry
pooling                                     window x output entries; global pooling 1 an input entry
Add, Multiply, ... of n tensors             n - 1 an output entry; Average n
SimpleRNN, LSTM, GRU                        matrix products, sums, biases and gate arithmetic, times the steps
MultiHeadAttention                          projections with biases, scores with their scaling, softmax, weighted sum
Embedding, reshaping, dropout, noise        0
==========================================  ==========================================================================

Per-channel constants, such as the factor of a batch normalisation, are left out: they can be computed once. A masked
layer counts as the dense layer it is computed as.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from keras_struct.measure.statistics.flops_counter import FlopsCounter, symbolic_inputs
from keras_struct.measure.statistics.flops_registry import register_flops
from keras_struct.measure.statistics.layer_calls import LayerCall, Shape, has_graph

__all__ = ["LayerCall", "flops", "flops_per_layer", "parameters", "parameters_per_layer", "register_flops"]


def flops(
    model_or_layer: Any,
    input_shape: Shape | Sequence[Shape] | None = None,
    batch_size: int = 1,
    unknown: str = "error",
) -> int:
    """Floating point operations of one forward pass at inference; a multiply-add is two.

    The shapes are those the network has now; nothing is remembered between calls.

    Args:
        model_or_layer: A functional or sequential model, or a single layer.
        input_shape: Shape of the input without its batch axis, or a list of shapes where there are several inputs.
            Needed where the model does not state it (such as images of any size), and for a layer in no model.
        batch_size: Samples in the batch; positive.
        unknown: What becomes of layers with weights that no rule is known for: "error", or "zero" to count them as
            free, with one warning that names them.

    Returns:
        The number of operations, of the whole batch.

    Raises:
        ValueError: If shapes are missing or do not fit, or if a layer with weights is unknown; `register_flops` teaches
            it.
        TypeError: If a layer's own count is not a whole number of 0 or more.

    References:
        TensorFlow, `tensorflow/python/profiler/internal/flops_registry.py`: the convention. Differs where the profiler
        knows no count (recurrent loops, grouped convolutions and some einsums), and for transposed convolutions with
        "valid" padding, where we count the products there are.

    >>> import keras
    >>> flops(keras.layers.Dense(3), input_shape=(5,))              # 2 * 5 * 3 + 3
    33
    """
    counter = FlopsCounter(unknown)
    tensors = symbolic_inputs(model_or_layer, input_shape, batch_size)
    total = counter.total(model_or_layer, tensors)
    _warn_about(counter.uncounted)
    return total


def flops_per_layer(
    model: Any,
    input_shape: Shape | Sequence[Shape] | None = None,
    batch_size: int = 1,
    unknown: str = "error",
) -> dict[str, int]:
    """Floating point operations of one forward pass, layer by layer; their sum is `flops(model)`.

    Args:
        model: A functional or sequential model.
        input_shape: As for `flops`.
        batch_size: As for `flops`.
        unknown: As for `flops`.

    Returns:
        Operations by the name of the layer, in the order of the pass; a layer of a nested model is called
        `"outer/inner"`. A layer that is called several times is counted as often. Input layers are left out.

    Raises:
        ValueError: As `flops`; also if `model` has no graph of layers.
    """
    if not has_graph(model):
        raise ValueError(
            f"flops_per_layer needs a functional or sequential model, not {type(model).__name__}, whose calls of "
            "layers are not known. For one layer use flops(layer, input_shape)."
        )
    counter = FlopsCounter(unknown)
    counts = counter.by_layer(model, symbolic_inputs(model, input_shape, batch_size))
    _warn_about(counter.uncounted)
    return counts


def parameters(model_or_layer: Any, trainable_only: bool = False) -> int:
    """Number of weights of a model or layer; weights that are shared count once.

    Args:
        model_or_layer: A model or layer that is built.
        trainable_only: Leave out the weights that are not trained, such as moving averages.

    Raises:
        ValueError: If it is not built, so that it has no weights yet.
    """
    return sum(prod(weight.shape) for weight in _weights(model_or_layer, trainable_only))


def parameters_per_layer(model: Any, trainable_only: bool = False) -> dict[str, int]:
    """Number of weights, layer by layer; their sum is `parameters(model)`.

    Args:
        model: A model that is built.
        trainable_only: Leave out the weights that are not trained, such as moving averages.

    Returns:
        Numbers by the name of the layer; a layer of a nested model is called `"outer/inner"`. Weights that several
        layers share are counted with the first. Weights that a model owns itself are listed under its name.

    Raises:
        ValueError: If the model is not built.
    """
    import keras

    counted: set[int] = set()
    counts: dict[str, int] = {}
    for path, layer in _layers(model):
        new = [weight for weight in _weights(layer, trainable_only) if id(weight) not in counted]
        counted.update(map(id, new))
        if new or not isinstance(layer, keras.Model):
            counts[path] = counts.get(path, 0) + sum(prod(weight.shape) for weight in new)
    return counts


def _weights(layer: Any, trainable_only: bool) -> list[Any]:
    """The weights of `layer`, each once."""
    if not layer.built:
        raise ValueError(
            f"'{layer.name}' has no weights yet, so they cannot be counted: call it on data, or build it with an input "
            "shape."
        )
    weights = layer.trainable_weights if trainable_only else layer.weights
    return list({id(weight): weight for weight in weights}.values())


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and layer, those of nested models first and then the model itself, for what it owns beside its layers."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{prefix}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            yield prefix + layer.name, layer
    yield prefix.rstrip("/") or model.name, model


def _warn_about(uncounted: Sequence[str]) -> None:
    if uncounted:
        warnings.warn(
            f"The floating point operations of these layers are not known and counted as 0: {', '.join(uncounted)}. "
            "`register_flops` teaches them.",
            stacklevel=3,
        )
