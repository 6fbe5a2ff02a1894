"""Models with a second output that only training sees."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.model.structural_model import StructuralModel


@keras.saving.register_keras_serializable("keras_struct")
class AuxiliaryModel(StructuralModel):
    """A model with two outputs for the same targets. The second one adds to the loss; metrics and predictions are of the first.

    Args:
        inputs: As `keras.Model`.
        outputs: The output, and the auxiliary one.
        **kwargs: As `keras.Model`; and `auxiliary`, by what the loss of the second output is multiplied, 0.4 by default.

    References:
        Szegedy et al., *Going Deeper with Convolutions*, CVPR 2015, section 5.
    """

    def __init__(self, inputs, outputs=None, name=None, **kwargs):
        auxiliary = kwargs.pop("auxiliary", 0.4)
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.auxiliary = float(auxiliary)
        self.output_names: list[str] = list(self.output_names)[:1]

    def call(self, inputs, training=None, mask=None):
        """Compute both outputs in training, the first one else."""
        outputs = super().call(inputs, training=training, mask=mask)
        return outputs if training else outputs[0]

    def compute_output_spec(self, inputs, training=None, mask=None):
        """Return shape and dtype of what `call` returns."""
        outputs = super().compute_output_spec(inputs, training=training, mask=mask)
        return outputs if training else outputs[0]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Add the losses of both outputs."""
        if not isinstance(y_pred, list | tuple):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        penalties: Any = sum(self.losses)
        first, second = (
            super(AuxiliaryModel, self).compute_loss(x, y, each, sample_weight, training) for each in y_pred
        )
        return first + self.auxiliary * (second - penalties)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Compute metrics of the first output."""
        first = y_pred[0] if isinstance(y_pred, list | tuple) else y_pred
        return super().compute_metrics(x, y, first, sample_weight)

    def get_config(self):
        """Return the configuration."""
        return {**super().get_config(), "auxiliary": self.auxiliary}
