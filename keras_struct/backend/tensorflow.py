"""Elastic variables on TensorFlow: their shape is unknown along unit axes, so that compiled steps survive edits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager.context import context
from tensorflow.python.eager.execute import execute

from keras_struct.backend import keras_internals as internals
from keras_struct.backend import tensorflow_functions as functions
from keras_struct.backend import train_functions

ELASTIC = True
JIT: bool | str = False  # XLA compiles each new width anew, so it is off unless asked for
DOUBLE = True
READS_VARIABLES = True  # compiled steps see new values of any variable
RUN_ERRORS: tuple[type[Exception], ...] = (tf.errors.OpError,)  # what compiled functions raise


class ElasticVariable(keras.Variable):
    """Keras variable of a structural model: compiled functions that read it are known, and it may be of unknown extent.

    Layers that are traced see the static shape, unknown along unit axes. Otherwise operations that compare shapes would see
    a number here and none in the activations: convolutions, for one, would take the two for different and fall back to a
    path that is three times slower. Whoever else asks for the shape, such as an optimizer, sees the present one.
    """

    @property
    def value(self) -> Any:
        """As of any Keras variable."""
        if not tf.executing_eagerly():
            functions.note_value(self)
        return super().value

    @property
    def shape(self) -> tf.TensorShape:
        """The present shape; to layers that are being traced the static one."""
        if tf.executing_eagerly():
            return super().shape
        if internals.in_layer_call() or functions.takes_any_width():
            return self._value.shape
        functions.note_shape(self)
        return super().shape


def watch(variables: Iterable[Any]) -> None:
    """Know from now on which compiled functions read some variables."""
    for variable in variables:
        if type(variable) is keras.Variable:
            variable.__class__ = ElasticVariable


def retire(replaced: Sequence[tuple[Any, Any]], reshaped: Iterable[Any], changed: Iterable[Any] = ()) -> None:
    """Let compiled functions, whoever holds them, follow an edit, or fail where they cannot.

    Args:
        replaced: Variables with the objects that were behind them.
        reshaped: Variables of another shape.
        changed: Variables of layers that compute something else now.
    """
    stale = {id(variable) for variable, _ in replaced} | set(map(id, changed))
    functions.trace_again(stale, set(map(id, reshaped)))
    for _, holder in replaced:
        functions.retire(holder)


def slot_scope() -> Any:
    """Scope in which an optimizer builds its variables: outside of a function that is being traced."""
    return tf.init_scope()


def follow_reference(slot: Any, reference: Any) -> None:
    """Give a new variable of an optimizer the same open axes as its weight has."""
    if isinstance(reference, ElasticVariable) and tf.executing_eagerly():
        static = reference._value.shape
        if static.rank == len(slot.shape):
            set_elastic(slot, [axis for axis, extent in enumerate(static) if extent is None])


def prepare_optimizer(optimizer: Any) -> None:
    """Make an optimizer fit for a model on one device whose widths change.

    It resets its gradient accumulators to zeros of their present shape, not of that when traced. And it no longer sums its
    gradients over devices, of which there is one: TensorFlow registers a gradient of that sum for each trace, and keeps it,
    with everything that was traced, for ever.
    """
    for opt in internals.optimizer_chain(optimizer):
        if opt._distribution_strategy.num_replicas_in_sync == 1:
            object.__setattr__(opt, "_all_reduce_sum_gradients", list)
        if getattr(opt, "_accumulated_gradients", None):
            object.__setattr__(opt, "_backend_reset_gradient_accumulators", lambda opt=opt: _reset_accumulators(opt))


def _reset_accumulators(optimizer: Any) -> None:
    for accumulator in optimizer._accumulated_gradients:
        if accumulator is not None:
            accumulator.value.assign(tf.zeros_like(accumulator.value))


def read(variable: Any) -> np.ndarray:
    """Copy the value of a Keras variable."""
    holder = variable._value
    return tf.raw_ops.ReadVariableOp(resource=holder.handle, dtype=holder.dtype).numpy()


def read_all(variables: Sequence[Any]) -> list[np.ndarray]:
    """Read the values of Keras variables, where they are on one device in one operation: it is starting one that costs time.

    The arrays are views that must not be written to; they stay as they are when the variables change.
    """
    if len(variables) < 2:
        return [read(variable) for variable in variables]
    holders = [variable._value for variable in variables]
    attributes = ("N", len(holders), "dtypes", [holder.dtype.as_datatype_enum for holder in holders])
    try:
        handles = [holder.handle for holder in holders]
        values = execute(b"_ReadVariablesOp", len(holders), handles, attributes, context())
    except tf.errors.OpError:  # on several devices, or in a TensorFlow that has it no more
        return [read(variable) for variable in variables]
    return [np.asarray(value) for value in values]


def write(variable: Any, value: np.ndarray) -> bool:
    """Give a Keras variable a value of any shape.

    Returns:
        Whether a compiled step that uses the variable must be traced anew.
    """
    holder = variable._value
    fits = _fits(holder.shape, value.shape)
    if fits:
        array = np.ascontiguousarray(value, dtype=holder.dtype.as_numpy_dtype)
        tf.raw_ops.AssignVariableOp(resource=holder.handle, value=array)
    else:
        variable._value = _holder(variable, tf.convert_to_tensor(value, dtype=holder.dtype), value.shape)
    internals.set_shape(variable, value.shape)
    return not fits


def _fits(static: tf.TensorShape, shape: tuple[int, ...]) -> bool:
    """Whether a static shape, unknown along unit axes, allows for a shape."""
    return static.rank == len(shape) and all(
        wanted is None or wanted == extent for wanted, extent in zip(static, shape, strict=True)
    )


def set_elastic(variable: Any, axes: Iterable[int]) -> bool:
    """Make the shape of a variable unknown along `axes` and known elsewhere; its value stays bit-identical.

    Returns:
        Whether the object behind the variable was replaced.
    """
    holder, loose = variable._value, set(axes)
    shape = [None if axis in loose else extent for axis, extent in enumerate(variable.shape)]
    if holder.shape.as_list() == shape:
        return False
    watch([variable])
    variable._value = _holder(variable, holder.read_value(), shape)
    return True


def _holder(variable: Any, value: Any, shape: Any) -> tf.Variable:
    old = variable._value
    return tf.Variable(
        value,
        shape=tf.TensorShape(shape),
        dtype=old.dtype,
        trainable=variable.trainable,
        name=variable.name,
        aggregation=old.aggregation,
        synchronization=old.synchronization,
    )


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


def before_edit(model: Any) -> None:
    """Nothing to do: variables always hold the current values."""


def after_edit(model: Any, layers: Iterable[Any]) -> None:
    """Nothing to do: Keras variables are the only holders of values."""


def refuse_distribution(model: Any) -> None:
    """Raise when the model lives under a distribution strategy.

    Raises:
        ValueError: Under `tf.distribute`.
    """
    if tf.distribute.has_strategy() or getattr(model, "_distribute_strategy", None) is not None:
        raise ValueError(
            "A model whose structure changes cannot be trained under a tf.distribute strategy: an edit would have to "
            "change every replica at once. Build and compile the model outside of the strategy's scope."
        )


def tapped_train_function(model: Any, remember: Callable[[Any], None], whole: bool) -> Callable:
    """Return a compiled train function that also keeps its (last) batch, without targets unless `whole`."""

    def kept(data):
        return data if whole else keras.utils.unpack_x_y_sample_weight(data)[:1]

    single = model.steps_per_execution == 1 and not model.run_eagerly
    run = _one_step(model, kept) if single else model._make_function(lambda data: (model.train_step(data), kept(data)))

    def train_function(iterator):
        logs, batch = run(iterator)
        remember(batch)
        return logs

    return train_function


def _one_step(model: Any, kept: Callable) -> Callable:
    """A step on a batch that is taken before: results of a function that takes it itself cost Keras more than the taking."""
    step = tf.function(
        tf.autograph.experimental.do_not_convert(lambda data: model.train_step(data)),
        reduce_retracing=True,
        jit_compile=model.jit_compile,
    )
    traced: list[Any] = []  # what batches are like, and the function of such

    def of_batches_of(spec: Any) -> Callable:
        if not traced or traced[0] != spec or functions.is_stale(traced[1]):
            traced[:] = spec, step.get_concrete_function(_without_optionals(spec))
        return traced[1]

    def run(iterator):
        data = _without_optionals(next(iterator))
        if isinstance(iterator, tf.data.Iterator) and not tf.config.functions_run_eagerly():
            return of_batches_of(iterator.element_spec)(data), kept(data)
        return step(data), kept(data)

    return run


def _without_optionals(data: Any) -> Any:
    """Batches, or what they are like, with `None` for parts that are missing."""
    missing = (tf.experimental.Optional, tf.OptionalSpec)
    return keras.tree.map_structure(lambda part: None if isinstance(part, missing) else part, data)


def skipping(model: Any, run: Callable, leaves_out: Callable[[], bool]) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch."""

    def skip(iterator):
        train_functions.pass_over(model, iterator)
        return {}

    return train_functions.skipping(run, leaves_out, skip)


def compiled(function: Callable) -> Callable:
    """Compile a function of tensors, sparse and ragged ones among them; a change of width does not trace it anew.

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


def gradients(function: Callable, *args: Any) -> tuple[dict[Any, Any], Any]:
    """Differentiate a loss with respect to tensors that are met on the way to it.

    Args:
        function: Takes `watch(key, tensor)`, which returns the tensor to go on with, and the arguments; returns the loss
            and anything else.
        *args: The arguments.

    Returns:
        The gradient of the loss with respect to each watched tensor, by key, and the anything else.
    """
    watched: dict[Any, Any] = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(key: Any, tensor: Any) -> Any:
            tape.watch(tensor)
            watched[key] = tensor
            return tensor

        loss, other = function(watch, *args)
    found = tape.gradient(loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {key: _whole(part) for key, part in found.items()}, other


def vjp(function: Callable, primals: list[Any], cotangent: Any) -> list[Any]:
    """Product of `cotangent` with the Jacobian of a function of some tensors."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        result = function(*primals)
    found = tape.gradient(
        result, primals, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [_whole(part) for part in found]


def _whole(gradient: Any) -> Any:
    """A gradient with all its rows: that of a look-up holds only those that were looked up."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


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


def outside(function: Callable) -> Any:
    """Run a function outside of the one that is being traced."""
    with tf.init_scope():
        return function()


def weight_gradients(model: Any, loss: Callable, batch: tuple[Any, Any, Any]) -> list[np.ndarray]:
    """Gradients of a loss on inputs, targets and sample weights by each trainable weight, in inference mode."""
    x, y, weights = batch
    held = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        value = loss(x, y, model(x, training=False), weights)
    found = tape.gradient(value, held, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.cast(tf.convert_to_tensor(part), tf.float64).numpy() for part in found]


def differentiate(function: Callable, variables: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Differentiate a loss by Keras variables.

    Args:
        function: Returns the loss and something else.
        variables: The variables.

    Returns:
        The something else, the loss, and its gradients by the variables alone.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        loss, other = function()
    held = [variable.value for variable in variables]
    return other, loss, tape.gradient(loss, held, unconnected_gradients=tf.UnconnectedGradients.ZERO)
