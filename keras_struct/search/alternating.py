"""Two sets of weights that are trained in turns, within one compiled step."""

from __future__ import annotations

from typing import Any, Literal

import keras

from keras_struct.backend import current

Shuffle = Literal["none", "groups"]


class AlternatingModel(keras.Model):
    """Trains a network so that in every step its architecture weights move first, on a batch B, then the others, on a batch A.

    Only the gradient of batch B by the architecture weights is used for these, and only that of batch A by the others.

    Args:
        network: The network.
        architecture: Its architecture weights, a list of variables.
        architecture_optimizer: Optimizer of these; `None` leaves them as they are.
        shuffle: `"groups"` shuffles the entries of each gradient by architecture weights, as an ablation.
        seed: Of the shuffling.
    """

    def __init__(
        self,
        network: Any,
        architecture: list[Any],
        architecture_optimizer: Any = None,
        shuffle: Shuffle = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.architecture_optimizer = architecture_optimizer
        self._chosen = {id(variable) for variable in architecture}
        self.shuffle = shuffle
        self.seeds = keras.random.SeedGenerator(seed)
        if architecture_optimizer is not None:
            architecture_optimizer.build(self.architecture)

    @property
    def architecture(self) -> list[Any]:
        """The architecture weights."""
        return [v for v in self.network.trainable_variables if id(v) in self._chosen]

    @property
    def others(self) -> list[Any]:
        """The other trainable weights."""
        return [v for v in self.network.trainable_variables if id(v) not in self._chosen]

    def call(self, inputs, training=None):
        """Compute the network's outputs."""
        return self.network(inputs, training=training)

    def compile(self, optimizer, loss, **kwargs):
        """Configure training of the other weights; as `keras.Model.compile`."""
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        self.optimizer.build(self.others)

    def train_step(self, data):
        """Architecture weights on batch B, the second half of the samples, then the others on batch A, the first half."""
        pair = keras.utils.unpack_x_y_sample_weight(data)[:2]
        (x, y), (x_other, y_other) = (keras.tree.map_structure(half, pair) for half in (_first_half, _second_half))
        if self.architecture_optimizer is not None:
            _, _, gradients = self.differentiate(x_other, y_other, self.architecture)
            self.architecture_optimizer.apply([self._shuffled(g) for g in gradients], self.architecture)
        outputs, loss, gradients = self.differentiate(x, y, self.others)
        self.optimizer.apply(gradients, self.others)
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(x, y, outputs, None)

    def differentiate(self, x: Any, y: Any, variables: list[Any]) -> tuple[Any, Any, list[Any]]:
        """Outputs, loss and gradients by some variables, in training mode."""

        def loss_of() -> tuple[Any, Any]:
            outputs = self.network(x, training=True)
            return self.compute_loss(x, y, outputs, None, training=True), outputs

        return current().differentiate(loss_of, variables)

    def _shuffled(self, gradient: Any) -> Any:
        return keras.random.shuffle(gradient, seed=self.seeds) if self.shuffle == "groups" else gradient


def _first_half(samples: Any) -> Any:
    return samples[: keras.ops.shape(samples)[0] // 2]


def _second_half(samples: Any) -> Any:
    return samples[keras.ops.shape(samples)[0] // 2 :]
