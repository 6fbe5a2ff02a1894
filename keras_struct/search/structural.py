"""Hyperparameters of networks that change their structure, tuned by any tuner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner as kt
import numpy as np


class StructuralHyperModel(kt.HyperModel):
    """A network that grows, prunes or relaxes while it trains, and hyperparameters of how it does.

    Works with any tuner. The best epoch's weights are kept with their structure, so that `get_best_models` gives networks of
    the widths that they had.

    Args:
        build: Takes the hyperparameters, returns a `StructuralModel`, not compiled.
        strategy: Takes the hyperparameters, returns a strategy; for example,
            `lambda hp: NorthSelect(EffectiveDimension(hp.Float("gamma", 0.8, 1.0)))`.
        optimizer: As `keras.Model.compile`, or a function of the hyperparameters.
        loss: As `keras.Model.compile`.
        metrics: As `keras.Model.compile`.
        objective: Whose best epoch is reported; what is best is known by its name, as KerasTuner has it.
        **compile_options: As `StructuralModel.compile`.

    Examples:
        >>> space = tuners.StructuralHyperModel(
        ...     lambda hp: StructuralModel([keras.Input((4,)), GrowableDense(8, activation="relu"), keras.layers.Dense(1)]),
        ...     lambda hp: NorthSelect(EffectiveDimension(hp.Float("gamma", 0.8, 1.0)), max_units=32),
        ...     loss="mse",
        ... )
    """

    def __init__(
        self,
        build: Callable[[Any], Any],
        strategy: Callable[[Any], Any] | None = None,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
        objective: str = "val_loss",
        **compile_options: Any,
    ) -> None:
        super().__init__()
        self._network, self._strategy, self._optimizer = build, strategy, optimizer
        self._compiled = {"loss": loss, "metrics": None if metrics is None else list(metrics), **compile_options}
        self.objective = kt.Oracle(objective).objective

    def build(self, hp):
        """Return the network, compiled with its strategy."""
        model = self._network(hp)
        strategy = None if self._strategy is None else self._strategy(hp)
        given = self._optimizer
        optimizer = given(hp) if callable(given) and not isinstance(given, keras.optimizers.Optimizer) else given
        model.compile(_fresh(optimizer), strategy=strategy, **self._compiled)
        return model

    def fit(self, hp, model, *args, **kwargs):
        """Train, and return the scores of the best epoch, with the number of parameters at the end."""
        history = model.fit(*args, **kwargs)
        name = self.objective.name
        if name not in history.history:
            raise ValueError(
                f"The objective '{name}' is not among the scores {sorted(history.history)}. Give `validation_data` to search, or "
                "another `objective`."
            )
        course = np.asarray(history.history[name])
        epoch = int(course.argmax() if self.objective.direction == "max" else course.argmin())
        scores = {metric: float(values[epoch]) for metric, values in history.history.items()}
        return {**scores, "parameters": float(model.count_params())}


def _fresh(optimizer: Any) -> Any:
    """An optimizer of its own for each trial."""
    return optimizer if isinstance(optimizer, str) else type(optimizer).from_config(optimizer.get_config())
