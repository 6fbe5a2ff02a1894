"""Grow a network, and train static ones of three sizes with the same budget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_struct import strategies
from keras_struct.cli.choices import STRATEGIES
from keras_struct.datasets import Dataset
from keras_struct.layers import GrowableDense
from keras_struct.measure.statistics.flops import flops, parameters
from keras_struct.models import StructuralModel
from keras_struct.triggers import EffectiveDimension

SMALL_DATA = 10_000
DEFAULT_GROWTH = 4


@dataclass(frozen=True)
class Settings:
    """What an experiment is about.

    Attributes:
        hidden: Units of each hidden layer at the start.
        max_units: Largest width of a layer.
        strategy: Key of `STRATEGIES`.
        gamma: Threshold factor of the effective dimension.
        epochs: Passes over the training data.
        batch_size: Samples in a batch.
        learning_rate: Of Adam.
        seed: Seed of weights, order and growth.
    """

    hidden: tuple[int, ...]
    max_units: int
    strategy: str
    gamma: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int

    @classmethod
    def from_options(cls, options: Any, data: Dataset) -> Settings:
        """Fill in what the command line left open."""
        small = len(data.x_train) < SMALL_DATA
        gamma = options.gamma if options.gamma is not None else (0.97 if min(options.hidden) >= 34 else 0.8)
        largest = options.max_units or DEFAULT_GROWTH * max(options.hidden)
        if largest < max(options.hidden):
            raise ValueError(
                f"--max-units {largest} is smaller than --hidden {max(options.hidden)}: choose a larger one"
            )
        rate = options.learning_rate if options.learning_rate is not None else (3e-3 if small else 3e-4)
        batch = options.batch_size or (64 if small else 512)
        return cls(options.hidden, largest, options.strategy, gamma, options.epochs, batch, rate, options.seed)


@dataclass
class Row:
    """One trained network of the comparison.

    Attributes:
        network: What it is.
        widths: Its hidden layers.
        accuracy: On the test data, after the last epoch.
        parameters: Number of parameters.
        flops: Floating point operations of one sample's inference.
        seconds: Training time, compilation included.
        curve: Test accuracy after each epoch.
        model: The network itself.
    """

    network: str
    widths: tuple[int, ...]
    accuracy: float
    parameters: int
    flops: int
    seconds: float
    curve: list[float]
    model: Any = field(repr=False, default=None)


def run(data: Dataset, settings: Settings, verbose: int | str = 1, say: Any = print) -> list[Row]:
    """Train the growing network and three static ones.

    Args:
        data: Images or vectors with integer labels.
        settings: The experiment.
        verbose: As in Keras's `fit`.
        say: Takes a line of text before each network.

    Returns:
        Rows for the grown network and static ones of its initial, its final and the maximal size.
    """
    say(f"growing from {settings.hidden} units")
    grown = train("grown", growing_model(data, settings), data, settings, verbose)
    grown.widths = tuple(layer.units for layer in grown.model.layers if isinstance(layer, GrowableDense))
    rows = [grown]
    sizes = {"initial": settings.hidden, "final": grown.widths, "maximal": (settings.max_units,) * len(settings.hidden)}
    for name, widths in sizes.items():
        say(f"static network of {name} size, {widths} units")
        rows.append(
            train(f"static, {name} size", static_model(data, widths, settings), data, settings, verbose, widths)
        )
    return rows


def growing_model(data: Dataset, settings: Settings) -> StructuralModel:
    """The network that sizes itself, compiled."""
    keras.utils.set_random_seed(settings.seed)
    hidden = [
        GrowableDense(units, max_units=settings.max_units, activation="relu", name=f"hidden_{i}")
        for i, units in enumerate(settings.hidden, start=1)
    ]
    ends = (keras.Input(data.input_shape), keras.layers.Flatten()), keras.layers.Dense(data.num_classes, "softmax")
    model = StructuralModel([*ends[0], *hidden, ends[1]])
    kind = getattr(strategies, STRATEGIES[settings.strategy])
    strategy = kind(EffectiveDimension(gamma=settings.gamma), max_units=settings.max_units, seed=settings.seed)
    _compile(model, settings, strategy=strategy)
    return model


def static_model(data: Dataset, widths: Sequence[int], settings: Settings) -> keras.Model:
    """A plain Keras network of fixed widths, compiled."""
    keras.utils.set_random_seed(settings.seed)
    model = keras.Sequential([keras.Input(data.input_shape), keras.layers.Flatten()])
    for units in widths:
        model.add(keras.layers.Dense(units, activation="relu"))
    model.add(keras.layers.Dense(data.num_classes, activation="softmax"))
    _compile(model, settings)
    return model


def _compile(model: Any, settings: Settings, **structural: Any) -> None:
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **structural)


def train(
    name: str, model: Any, data: Dataset, settings: Settings, verbose: int | str, widths: Sequence[int] = ()
) -> Row:
    """Train one network and measure it."""
    start = time.perf_counter()
    history = model.fit(
        data.x_train,
        data.y_train,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        validation_data=(data.x_test, data.y_test),
        verbose=verbose,
    )
    seconds = time.perf_counter() - start
    curve = [float(value) for value in history.history["val_accuracy"]]
    return Row(name, tuple(widths), curve[-1], parameters(model), flops(model), seconds, curve, model)


def table(rows: Sequence[Row]) -> str:
    """The comparison as text, one line for each network."""
    lines = [f"{'network':<22} {'widths':<14} {'accuracy':>8} {'parameters':>11} {'FLOPs':>11} {'seconds':>8}"]
    for row in rows:
        widths = "-".join(map(str, row.widths))
        lines.append(
            f"{row.network:<22} {widths:<14} {row.accuracy:>8.4f} {row.parameters:>11,} {row.flops:>11,} {row.seconds:>8.1f}"
        )
    return "\n".join(lines)
