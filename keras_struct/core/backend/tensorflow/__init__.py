"""What the library does on TensorFlow: elastic variables, compiled steps that survive edits, and gradients."""

import tensorflow as tf

from keras_struct.core.backend.tensorflow.differentiation import differentiate, gradients, vjp, weight_gradients
from keras_struct.core.backend.tensorflow.operations import (
    add_bias,
    batch_normalization,
    compiled,
    convolved,
    entries,
    gathered,
    outside,
    samples_between,
)
from keras_struct.core.backend.tensorflow.training import (
    after_edit,
    before_edit,
    prepare_optimizer,
    refuse_distribution,
    skipping,
    slot_scope,
    tapped_train_function,
)
from keras_struct.core.backend.tensorflow.variables import (
    ElasticVariable,
    follow_reference,
    read,
    read_all,
    retire,
    set_elastic,
    watch,
    write,
)

__all__ = [
    "DOUBLE",
    "ELASTIC",
    "JIT",
    "READS_VARIABLES",
    "RUN_ERRORS",
    "ElasticVariable",
    "add_bias",
    "after_edit",
    "batch_normalization",
    "before_edit",
    "compiled",
    "convolved",
    "differentiate",
    "entries",
    "follow_reference",
    "gathered",
    "gradients",
    "outside",
    "prepare_optimizer",
    "read",
    "read_all",
    "refuse_distribution",
    "retire",
    "samples_between",
    "set_elastic",
    "skipping",
    "slot_scope",
    "tapped_train_function",
    "vjp",
    "watch",
    "weight_gradients",
    "write",
]

ELASTIC = True
JIT: bool | str = False  # XLA compiles each new width again, so it is off unless requested
DOUBLE = True
READS_VARIABLES = True  # compiled steps see new values of any variable
RUN_ERRORS: tuple[type[Exception], ...] = (tf.errors.OpError,)  # what compiled functions raise
