"""Train functions and optimizers around edits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend import train_functions
from keras_struct.core.backend.tensorflow import functions


def slot_scope() -> Any:
    """Scope in which an optimizer builds its variables: outside of a function that is being traced."""
    return tf.init_scope()


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
