"""What `compile` and `fit` keep in a model: functions, arguments and the loss."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.trainers.compile_utils import CompileLoss

from keras_struct.core.backend.keras_internals.graph import functional_of, structured_ends


def forget_compiled_functions(model: Any) -> None:
    """Have `fit`, `evaluate` and `predict` trace their steps again, also in the middle of a running `fit`."""
    training = getattr(model, "train_function", None) is not None
    model.train_function = model.test_function = model.predict_function = None
    if training:
        model.make_train_function()


def start_at_epoch(model: Any, epoch: int) -> None:
    """Let a `fit` that is about to begin start at an epoch, as `BackupAndRestore` does."""
    model._initial_epoch = epoch


def compile_arguments(model: Any) -> dict[str, Any]:
    """Arguments that a model was compiled with, as they were given."""
    return dict(model._compile_config.config)


def loss_function(model: Any) -> Any:
    """What `fit` minimises, as a function of inputs, targets, outputs and sample weights; `None` without a loss.

    A model with a `compute_loss` of its own computes it itself. Otherwise the losses given to `compile` are put together
    again, so that no metric of the model sees the batch.
    """
    if type(model).compute_loss is not _plain_compute_loss(model):
        return lambda x, y, outputs, weights: model.compute_loss(x, y, outputs, weights, training=False)
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    if not config or config.get("loss") is None:
        return None
    combined = CompileLoss(config["loss"], config.get("loss_weights"), output_names=functional_of(model).output_names)
    return lambda x, y, outputs, weights: combined(y, outputs, weights)


def _plain_compute_loss(model: Any) -> Any:
    return next(kind for kind in type(model).__mro__ if kind is keras.Model).compute_loss


class BuiltByNetwork:
    """For models that train a `network` on other batches than it takes: Keras does not try these out before the first step.

    Loss and metrics are built for what the network outputs. Where it is not Functional they are built in the first step,
    which TensorFlow then traces twice, as variables were made in it.
    """

    network: Any
    _compile_metrics: Any
    _compile_loss: Any

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build loss and metrics for a batch."""
        parts = [part for part in (self._compile_metrics, self._compile_loss) if part is not None and not part.built]
        if not parts or functional_of(self.network) is None:
            return
        if data_batch is None:
            _, _, data = next(iter(iterator))
            data_batch = data[0] if isinstance(data, (list, tuple)) else next(data)
        outputs = structured_ends(self.network)[1]
        samples = keras.tree.flatten(outputs)[0].shape[0]

        def symbolic(array: Any) -> Any:
            return keras.KerasTensor((samples, *array.shape[1:]), keras.backend.standardize_dtype(array.dtype))

        targets = keras.tree.map_structure(symbolic, keras.utils.unpack_x_y_sample_weight(data_batch)[1])
        for part in parts:
            part.build(targets, outputs)

    _maybe_symbolic_build = _symbolic_build
