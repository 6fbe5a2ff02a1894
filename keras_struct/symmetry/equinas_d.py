"""EquiNAS_D: the mixture of symmetries of each layer is trained by gradient descent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.search.alternating import AlternatingModel, Shuffle
from keras_struct.search.backup import SearchBackup
from keras_struct.search.batches import PairedBatches
from keras_struct.symmetry.mixed_conv import MixedEquivariantConv


class EquiNASD:
    """Trains mixtures of symmetries: in every step the mixtures z on a batch B, then the weights Ψ on a batch A.

    The network that comes out is trained already. `fresh_network` gives one of the same mixtures, frozen, to train again.

    Args:
        model: A network with `MixedEquivariantConv` layers, such as
            `applications.EquivariantCNN(groups=[["C1", "C4", "D4"]] * 8)`.
        loss: As `keras.Model.compile`.
        optimizer: Of the weights Ψ; by default Adam with learning rate 0.01.
        mixture_optimizer: Of the mixtures; by default Adam with learning rate 0.01.
        metrics: As `keras.Model.compile`, on batch A.
        shuffle: `"groups"` shuffles gradients over groups: the ablation Random Z.
        seed: Of batches and shuffling.

    Attributes:
        mixtures: The share of each group in each layer, at the start and after each epoch.

    Raises:
        ValueError: If the model has no layer with a mixture to train.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis section 4.4.2,
        algorithm 2).

    Differs from the authors' code, which trains the weights first and adds gradients of both batches for the mixtures. Both
    batches come from the training data, as there.

    Examples:
        >>> lifting = layers.MixedEquivariantConv(2, 3, ["C1", "D4"], lifting=True, activation="relu", name="conv1")
        >>> x = layers.GroupPooling2D("D4")(lifting(inputs := keras.Input((8, 8, 1))))
        >>> outputs = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
        >>> found = search.EquiNASD(keras.Model(inputs, outputs), "sparse_categorical_crossentropy")
        >>> images = np.random.rand(16, 8, 8, 1)
        >>> history = found.fit(images, np.arange(16) % 2, batch_size=8, epochs=2, verbose=0)
        >>> len(found.mixtures), sorted(found.mixtures[-1]["conv1"])
        (3, ['C1', 'D4'])
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Any,
        optimizer: Any = None,
        mixture_optimizer: Any = None,
        metrics: Sequence[Any] | None = None,
        shuffle: Shuffle = "none",
        seed: int = 0,
    ) -> None:
        self.model, self.seed = model, seed
        self.layers = mixed_layers(model)
        if not self.layers:
            raise ValueError(
                "EquiNASD trains mixtures of symmetries, and the model has no MixedEquivariantConv with mixing='softmax'. Build "
                "one, for example applications.EquivariantCNN(groups=[['C1', 'C4', 'D4']] * 8)."
            )
        self._loss, self._metrics = loss, metrics
        self.mixtures: list[dict[str, dict[str, float]]] = []
        z = keras.optimizers.Adam(0.01) if mixture_optimizer is None else keras.optimizers.get(mixture_optimizer)
        self._trained = AlternatingModel(model, [layer.alpha for layer in self.layers.values()], z, shuffle, seed)
        psi = keras.optimizers.Adam(0.01) if optimizer is None else keras.optimizers.get(optimizer)
        self._trained.compile(psi, loss, metrics=metrics)

    def mixture(self) -> dict[str, dict[str, float]]:
        """Return the share of each group in each layer now."""
        return {name: layer.mixture() for name, layer in self.layers.items()}

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 64,
        epochs: int = 100,
        validation_data: Any = None,
        callbacks: Sequence[Any] = (),
        backup: str | os.PathLike | None = None,
        verbose: Any = "auto",
        initial_epoch: int = 0,
    ) -> Any:
        """Search.

        Args:
            x: Training inputs, shape `(samples, ...)`.
            y: Their targets.
            batch_size: Of both batches.
            epochs: Passes of batch A over the data.
            validation_data: As `keras.Model.fit`.
            callbacks: As `keras.Model.fit`.
            backup: A folder; a search that was killed goes on from there when it is called again in the same way.
            verbose: As `keras.Model.fit`.
            initial_epoch: As `keras.Model.fit`.

        Returns:
            The Keras history.
        """
        data = PairedBatches(x, y, batch_size, self.seed)
        if not self.mixtures:
            self.mixtures.append(self.mixture())
        listed = [_Recording(self, data), *callbacks]
        if backup is not None:
            self._trained(np.asarray(x[:1]))
            listed.append(SearchBackup(backup))
        options = {"epochs": epochs, "verbose": verbose, "initial_epoch": initial_epoch}
        return self._trained.fit(data, validation_data=validation_data, callbacks=listed, shuffle=False, **options)

    def evaluate(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Evaluate the network, as `keras.Model.evaluate`."""
        return self._trained.evaluate(x, y, **kwargs)

    def fresh_network(self, optimizer: Any = None, seed: int = 0) -> keras.Model:
        """Return a network of the same mixtures with fresh weights, compiled and not trained; the mixtures stay as they are.

        Args:
            optimizer: By default Adam with learning rate 0.01.
            seed: Of the weights.
        """
        keras.utils.set_random_seed(seed)
        fresh = type(self.model).from_config(self.model.get_config())
        for name, layer in mixed_layers(fresh).items():
            layer.alpha.assign(keras.ops.convert_to_numpy(self.layers[name].alpha))
            layer.alpha.trainable = False
        psi = keras.optimizers.Adam(0.01) if optimizer is None else keras.optimizers.get(optimizer)
        fresh.compile(psi, self._loss, metrics=self._metrics)
        return fresh


class _Recording(keras.callbacks.Callback):
    """Keeps the mixtures of each epoch, and tells the data which epoch it is."""

    def __init__(self, search: EquiNASD, data: PairedBatches) -> None:
        super().__init__()
        self.search, self.data = search, data

    def on_epoch_begin(self, epoch, logs=None):
        """Give this epoch its order."""
        self.data.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        """Keep the mixtures."""
        self.search.mixtures.append(self.search.mixture())


def mixed_layers(model: Any) -> dict[str, MixedEquivariantConv]:
    """Return the layers of a model that have a mixture to train, by name."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found.update({f"{layer.name}/{name}": inner for name, inner in mixed_layers(layer).items()})
        elif isinstance(layer, MixedEquivariantConv) and layer.alpha is not None:
            found[layer.name] = layer
    return found


def randomize(model: Any, seed: int = 0) -> None:
    """Draw the mixtures of a model from a flat Dirichlet distribution, and freeze them: the ablation Random Static."""
    rng = np.random.default_rng(seed)
    for layer in mixed_layers(model).values():
        shares = rng.dirichlet(np.ones(len(layer.groups)))
        layer.alpha.assign(np.log(np.maximum(shares, 1e-12)))
        layer.alpha.trainable = False
