"""Operations that Keras has not, or not as fast, and functions of tensors that are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_struct.core.backend.tensorflow import functions


def add_bias(outputs: Any, bias: Any, channels_first: bool = False) -> Any:
    """Add one number to each channel, by the operation that TensorFlow fuses with the one before it."""
    bias = tf.convert_to_tensor(bias)
    return tf.nn.bias_add(outputs, bias, "NC..." if channels_first else "N...C")


def batch_normalization(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise each channel of images by its own mean and variance.

    Args:
        x: Shape `(batch, height, width, channels)`.
        gamma: Factors, `(channels,)`.
        beta: What is added, `(channels,)`.
        epsilon: Added to the variances.

    Returns:
        The result, and mean and unbiased variance of each channel.
    """
    precise = [tf.cast(tf.convert_to_tensor(part), tf.float32) for part in (gamma, beta)]
    return tuple(tf.compat.v1.nn.fused_batch_norm(x, *precise, epsilon=epsilon, is_training=True))


def convolved(layer: Any, inputs: Any, kernel: Any) -> Any:
    """What a convolution makes of inputs with another kernel.

    Not every processor can convolve in groups without XLA, and Keras sees to that only where the number of channels is known.
    """
    if getattr(layer, "groups", 1) == 1:
        return layer.convolution_op(inputs, kernel)
    return tf.function(lambda: layer.convolution_op(inputs, kernel), jit_compile=True, autograph=False)()


def gathered(x: Any, indices: Any, axis: int) -> Any:
    """Entries of a tensor or variable at places that are counted from the start.

    Keras's own `take` also counts from the end, and computes more for that than the gathering costs.
    """
    return tf.gather(keras.ops.convert_to_tensor(x), indices, axis=axis)


def samples_between(tensor: Any, start: int, end: int) -> Any:
    """Samples of a batch of any kind, sparse ones included."""
    if not isinstance(tensor, tf.SparseTensor):
        return tensor[start:end]
    shape = [int(extent) for extent in tensor.shape]
    end = min(end, shape[0])
    return tf.sparse.slice(tensor, [start, *(0,) * (len(shape) - 1)], [end - start, *shape[1:]])


def entries(tensor: Any) -> Any:
    """Entries of a ragged tensor, all sequences in one; another tensor as it is."""
    return tensor.flat_values if isinstance(tensor, tf.RaggedTensor) else tensor


def outside(function: Callable) -> Any:
    """Run a function outside of the one that is being traced."""
    with tf.init_scope():
        return function()


def compiled(function: Callable) -> Callable:
    """Compile a function of tensors, sparse and ragged ones among them; a change of width does not trace it again.

    The first argument keeps its shape but for the number of samples; every extent of the others is left open. Where
    TensorFlow is told to run functions eagerly (`tf.config.run_functions_eagerly`), this one is, too.
    """
    run = tf.function(tf.autograph.experimental.do_not_convert(function))
    traced: dict[Any, Callable] = {}

    def call(inputs: Any, *others: Any) -> Any:
        tensors = tf.nest.map_structure(_tensor, (inputs, *others))
        if tf.config.functions_run_eagerly():
            return function(*tensors)
        key = tuple((type(t), t.dtype.as_datatype_enum, t.shape.rank) for t in tf.nest.flatten(tensors))
        if key not in traced or functions.is_stale(traced[key]):
            first = tf.nest.map_structure(lambda t: _spec(t, [None, *t.shape[1:]]), tensors[0])
            rest = tf.nest.map_structure(lambda t: _spec(t, [None] * t.shape.rank), tensors[1:])
            with functions.any_width():
                traced[key] = run.get_concrete_function(first, *rest)
        return traced[key](*tensors)

    return call


def _tensor(x: Any) -> Any:
    return x if isinstance(x, tf.SparseTensor | tf.RaggedTensor) else tf.convert_to_tensor(x)


def _spec(tensor: Any, shape: list[int | None]) -> tf.TypeSpec:
    if isinstance(tensor, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, tensor.dtype)
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec(shape, tensor.dtype, tensor.ragged_rank, tensor.row_splits.dtype)
    return tf.TensorSpec(shape, tensor.dtype)
