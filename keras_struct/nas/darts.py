"""DARTS and DARTS-PRIME: the weights of operations are trained by gradient descent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import cos, pi
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.reconfiguring import Reconfigure
from keras_struct.nas.architecture import ArchitectureWeights
from keras_struct.nas.darts_cell import DartsCell
from keras_struct.nas.genotypes import Genotype, RecurrentGenotype
from keras_struct.nas.language_callbacks import RateByLength
from keras_struct.nas.penalties import Proximity
from keras_struct.nas.recording import SearchRecord
from keras_struct.nas.text_batches import PairedText
from keras_struct.search.alternating import AlternatingModel
from keras_struct.search.backup import SearchBackup
from keras_struct.search.batches import Augmentation, PairedBatches, divided
from keras_struct.search.penalty import Penalty
from keras_struct.search.schedules import ArchitectureSchedule, FimtSchedule


class Darts:
    """Searches among operations by gradient descent: weights on one part of the data, the weights of operations on the other.

    Without arguments it is first-order DARTS: in every step the architecture moves, then the weights. The same machinery
    with a schedule, a penalty or clipped weights gives the other methods; `DartsPrime` is one of them.

    Args:
        model: A supernet: what `applications.darts_supernet` returns, or any `StructuralModel` with `ArchitectureWeights` or
            `MixedOp` layers. What follows has other defaults where it is a language model: of
            `applications.darts_language_supernet`.
        loss: As `keras.Model.compile`.
        optimizer: Of the weights; by default SGD with momentum 0.9 whose learning rate falls from 0.025 to 0.001 along a cosine,
            epoch by epoch; of language models SGD with learning rate 20 times the length of a piece of text over its mean.
        architecture_optimizer: Of α; by default Adam with learning rate 3e-4 and betas 0.5 and 0.999; 3e-3 and 0.9 and 0.999.
        metrics: As `keras.Model.compile`, on the batches of the weights.
        schedule: When the architecture moves, such as `FimtSchedule()` or `ConstantSchedule(10)`; by default in every step.
        penalty: What is added to its loss, such as `Proximity()` or `Admm()`.
        split: Share of the samples for the architecture; by default 1/2; with a schedule of r steps of the weights for each
            of the architecture 1/(r + 1), such as one in eleven for r = 10.
        second_order: Whether the gradient of the architecture is that after a step of the weights.
        weight_decay: L2 penalty of the weights, added to their gradients as they are (not decoupled); by default 3e-4; 5e-7.
        architecture_decay: The same for α; by default 1e-3, for weights that are clipped (CRB) none.
        clip_norm: Norm that the gradient of all weights is clipped to; by default 5; 0.25.
        seed: Of division, batches and draws.

    Attributes:
        anneals: Whether the learning rate falls from epoch to epoch.
        recurrent: Whether it is a language model.
        record: `SearchRecord`: α, genotypes, schedule and indicators over time.

    Raises:
        ValueError: If the model has no architecture weights, or a number is out of range.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019.

    Differs from the authors' code in that the data are shuffled before they are divided.

    Examples:
        >>> operations = ["max_pool_3x3", "skip_connect", "dil_conv_3x3"]
        >>> small = {"layers": 2, "nodes": 1, "operations": operations, "reductions": [1]}
        >>> supernet = applications.darts_supernet((8, 8, 1), 2, init_channels=2, **small)
        >>> found = search.Darts(supernet, "sparse_categorical_crossentropy")
        >>> images = np.random.rand(32, 8, 8, 1).astype("float32")
        >>> history = found.fit(images, np.arange(32) % 2, batch_size=8, epochs=1, verbose=0)
        >>> type(found.genotype()).__name__, len(found.genotype().normal)
        ('Genotype', 2)
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any = None,
        architecture_optimizer: Any = None,
        metrics: Sequence[Any] | None = ("accuracy",),
        schedule: ArchitectureSchedule | None = None,
        penalty: Penalty | None = None,
        split: float | None = None,
        second_order: bool = False,
        weight_decay: float | None = None,
        architecture_decay: float | None = None,
        clip_norm: float | Literal["default"] | None = "default",
        seed: int = 0,
    ) -> None:
        self.model, self.seed = model, seed
        self.layers = architecture_layers(model)
        if not self.layers:
            raise ValueError(
                "Darts trains weights of operations, and the model has none. Take applications.darts_supernet(...), or put "
                "MixedOp layers into a StructuralModel."
            )
        self.recurrent = set(self.layers) == {"alpha_recurrent"}
        rate, momentum, decay, clip, adam = (20.0, 0.0, 5e-7, 0.25, (3e-3, 0.9)) if self.recurrent else _IMAGES
        weight_decay = decay if weight_decay is None else weight_decay
        clip_norm = clip if clip_norm == "default" else clip_norm
        if not weight_decay >= 0 or not (architecture_decay is None or architecture_decay >= 0):
            raise ValueError(
                f"Weight decay must not be negative. Received: {weight_decay} and {architecture_decay} for α"
            )
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"`clip_norm` must be positive, or None. Received: clip_norm={clip_norm}")
        self.schedule, self.penalty = schedule, penalty
        self.split = (0.5 if schedule is None else schedule.share_of_samples) if split is None else split
        self._clipped = [layer for layer in self.layers.values() if layer.activation == "crb"]
        if architecture_decay is None:
            architecture_decay = 0.0 if self._clipped else 1e-3
        self.anneals = optimizer is None and not self.recurrent
        weights = keras.optimizers.SGD(rate, momentum) if optimizer is None else keras.optimizers.get(optimizer)
        chooses = keras.optimizers.Adam(*adam, 0.999) if architecture_optimizer is None else architecture_optimizer
        if penalty is not None:
            penalty.watch(list(self.layers.values()))
        model.compile(weights, loss, metrics=None if metrics is None else list(metrics))
        self.trained = AlternatingModel(
            model,
            [layer.alpha for layer in self.layers.values()],
            keras.optimizers.get(chooses),
            seed=seed,
            schedule=schedule,
            penalty=penalty,
            clip_norm=clip_norm,
            weight_decay=weight_decay,
            architecture_decay=architecture_decay,
            unrolled=second_order,
            after_step=self._prune if self._clipped else None,
        )
        self.trained.compile(
            model.optimizer, loss, metrics=None if metrics is None else list(metrics), jit_compile=False
        )
        self.record = SearchRecord(self.layers, None if schedule is None else schedule.shown)

    def _prune(self) -> None:
        for layer in self._clipped:
            layer.prune()

    def remove_pruned(self) -> int:
        """Take operations that were pruned for ever out of the cells. Returns how many cells changed; CRB only."""
        if not self._clipped:
            return 0
        edits, network = [], parts_of(self.model).live.network
        for path, layer in network.layers.items():
            if isinstance(layer, DartsCell) and layer.weighted:
                weights = self.model.weights_of(path)
                alive = keras.ops.convert_to_numpy(weights.mask) > 0
                kept = [p for p in layer.paths if alive[p.edge, layer.operations.index(p.operation)]]
                if len(kept) < len(layer.paths):
                    edits.append(
                        Reconfigure(path, {"paths": [[p.operation, p.source, p.target] for p in kept]}, "copied")
                    )
        parts_of(self.model).editor.apply(edits, reason="pruned")
        return len(edits)

    def weights(self) -> dict[str, np.ndarray]:
        """Return the activated weights of operations of each layer now."""
        return {name: layer.values() for name, layer in self.layers.items()}

    def choices(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Return the genes that the weights of each layer mean now."""
        return {name: layer.genes() for name, layer in self.layers.items()}

    def genotype(self, which: Literal["final", "best"] = "final") -> Genotype | RecurrentGenotype:
        """Return the cells that the weights mean.

        Args:
            which: `"final"`: now; `"best"`: after the epoch with the smallest loss on the data for validation, as the authors'
                code has it for recurrent cells.

        Raises:
            ValueError: If the model is no supernet of DARTS cells, α holds NaN, or there were no data for validation.
        """
        if which not in ("final", "best"):
            raise ValueError(f"`which` must be 'final' or 'best'. Received: which={which!r}")
        genes: dict[str, Any] = self.choices()
        if which == "best":
            losses = self.record.validation
            if not np.isfinite(losses).any():
                raise ValueError(
                    "The best genotype is that of the smallest loss on `validation_data`, and fit had none that was finite. "
                    f"Received losses: {losses}"
                )
            genes = self.record.genes[int(np.nanargmin(losses)) + 1]
        if self.recurrent:
            return RecurrentGenotype(genes["alpha_recurrent"], tuple(range(1, 1 + len(genes["alpha_recurrent"]))))
        if set(self.layers) != {"alpha_normal", "alpha_reduce"}:
            raise ValueError(
                f"A genotype consists of a normal and a reduction cell. This model has the weights {sorted(self.layers)}: see "
                "`choices()`."
            )
        normal, reduce = (genes[f"alpha_{kind}"] for kind in ("normal", "reduce"))
        concat = [range(2, 2 + len(part) // 2) for part in (normal, reduce)]
        return Genotype(normal, tuple(concat[0]), reduce, tuple(concat[1]))

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 64,
        epochs: int = 50,
        validation_data: Any = None,
        architecture_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Any] = (),
        backup: str | os.PathLike | None = None,
        augment: Augmentation | None = None,
        verbose: Any = "auto",
        initial_epoch: int = 0,
    ) -> Any:
        """Search.

        Args:
            x: Inputs, shape `(samples, ...)`. They are divided at random into those for the weights and those for the
                architecture. Or `PairedBatches` or `PairedText`, without `y`.
            y: Their targets.
            batch_size: Of both batches of a step.
            epochs: Passes over the samples for the weights.
            validation_data: As `keras.Model.fit`: to look at, not trained on.
            architecture_data: Inputs and targets for the architecture, instead of a part of `x` and `y`.
            callbacks: As `keras.Model.fit`.
            backup: A folder; a search that was killed goes on from there when it is called again in the same way.
            augment: Changes the inputs of each batch: takes them and a `numpy.random.Generator`.
            verbose: As `keras.Model.fit`; the progress bar shows steps of the architecture, and what the schedule looks at.
            initial_epoch: As `keras.Model.fit`.

        Returns:
            The Keras history.

        Raises:
            ValueError: If the samples for weights or architecture fill no batch, or there are no targets.
        """
        data = x if isinstance(x, (PairedBatches, PairedText)) else None
        if data is None and (y is None or isinstance(x, keras.utils.PyDataset)):
            raise ValueError(
                "A search needs inputs and targets in arrays, or batches for both the weights and the architecture: "
                f"PairedBatches or PairedText. Received: x={type(x).__name__}, y={type(y).__name__}"
            )
        if data is None:
            x, y = np.asarray(x), np.asarray(y)
            if architecture_data is None:
                inside, outside = divided(len(x), self.split, batch_size, self.seed)
                architecture_data, x, y = (x[outside], y[outside]), x[inside], y[inside]
            data = PairedBatches(x, y, batch_size, self.seed, architecture_data, augment)
        self.trained.total.assign(float(epochs * len(data)))
        listed = [_Epochs(self, data, epochs), self.record.callback(backup), *callbacks]
        if isinstance(data, PairedText):
            listed.append(RateByLength(data))
        if backup is not None:
            first = data[0][0]
            self.trained(first[: len(first) // 2])
            listed.append(SearchBackup(backup))
        options = {"epochs": epochs, "verbose": verbose, "initial_epoch": initial_epoch}
        return self.trained.fit(data, validation_data=validation_data, callbacks=listed, shuffle=False, **options)

    def evaluate(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Evaluate the supernet, as `keras.Model.evaluate`. It does not rank what the search would find."""
        return self.trained.evaluate(x, y, **kwargs)


class DartsPrime(Darts):
    """DARTS that moves the architecture when the weights have settled, and pulls it towards a discrete one.

    `Darts` with `FimtSchedule` and `Proximity`; either can be used alone there.

    Args:
        model: As `Darts`.
        loss: As `Darts`.
        ratio: r of `FimtSchedule`.
        strength: ρ of `Proximity`; by default 0.1, for language models 1.
        **kwargs: As `Darts`.

    References:
        Maile et al., *DARTS-PRIME: Regularization and Scheduling Improve Constrained Optimization in Differentiable NAS*, 2021
        (thesis chapter 5).
    """

    def __init__(
        self, model: Any, loss: Any, ratio: float = 10.0, strength: float | None = None, **kwargs: Any
    ) -> None:
        if strength is None:
            strength = 1.0 if "alpha_recurrent" in architecture_layers(model) else 0.1
        super().__init__(model, loss, schedule=FimtSchedule(ratio), penalty=Proximity(strength), **kwargs)


_IMAGES = (0.025, 0.9, 3e-4, 5.0, (3e-4, 0.5))
"""Learning rate, momentum, weight decay and norm to clip to; learning rate and beta of α."""


class _Epochs(keras.callbacks.Callback):
    """Tells the data which epoch it is, sets the learning rate, and takes pruned operations out of the cells."""

    def __init__(self, search: Darts, data: Any, epochs: int) -> None:
        super().__init__()
        self.search, self.data, self.epochs = search, data, epochs

    def on_epoch_begin(self, epoch, logs=None):
        """Give this epoch its order and learning rate."""
        self.data.epoch = epoch
        self.search.trained.reset_states()
        if self.search.anneals:
            self.search.model.optimizer.learning_rate = 0.001 + 0.012 * (1 + cos(pi * epoch / self.epochs))

    def on_test_begin(self, logs=None):
        """Begin data for validation without the states of the last batch."""
        self.search.trained.reset_states()

    def on_epoch_end(self, epoch, logs=None):
        """Take out what has been pruned in this epoch."""
        if self.search.remove_pruned():
            self.model.make_train_function(force=True)
            self.model.test_function = None


def architecture_layers(model: Any) -> dict[str, ArchitectureWeights]:
    """Return the layers of a model that hold weights of operations, by name."""
    return {layer.name: layer for layer in internals.inner_layers(model) if isinstance(layer, ArchitectureWeights)}
