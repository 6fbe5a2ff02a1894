"""Lets the probability of dropped paths rise while a network trains."""

from __future__ import annotations

import keras

from keras_struct.nas.darts_cell import DartsCell


class DropPathSchedule(keras.callbacks.Callback):
    """Leaves out more and more paths of cells, from none in the first epoch on.

    Args:
        rate: Probability that would be reached after the last epoch; in epoch e of n it is `rate · e / n`.
        epochs: n; by default that of `fit`.

    Raises:
        ValueError: If the rate is not from 0 up to 1, or no cell drops paths.

    References:
        Larsson, Maire, Shakhnarovich, *FractalNet*, ICLR 2017; Zoph et al., *Learning Transferable Architectures for Scalable
        Image Recognition*, CVPR 2018 (scheduled drop-path).
    """

    def __init__(self, rate: float = 0.2, epochs: int | None = None) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be from 0 up to 1. Received: rate={rate}")
        self.rate, self.epochs = rate, epochs

    def on_train_begin(self, logs=None):
        """Find the cells."""
        self._cells = [layer for layer in self.model.layers if isinstance(layer, DartsCell) and layer.drop_path]
        if not self._cells:
            raise ValueError(
                "DropPathSchedule found no cell that drops paths. Build the network with darts_network(..., drop_path=True)."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Set the rate of this epoch."""
        epochs = self.params["epochs"] if self.epochs is None else self.epochs
        for cell in self._cells:
            cell.drop_rate.assign(self.rate * min(1.0, epoch / epochs))
