"""`keras-struct freenet`: networks without layers against dense ones of equal parameters, write a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.cli.freenet_report import freenet_files
from keras_struct.cli.inputs import load_data
from keras_struct.cli.runs import Run
from keras_struct.core.model.parts import parts_of
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.export import to_compact
from keras_struct.layers import FreeNet
from keras_struct.strategies import FreeEvolve

LOSS = "sparse_categorical_crossentropy"


def freenet_command(options: Any) -> Run:
    """Carry out the command.

    Args:
        options: What the parser read.

    Raises:
        ValueError: If training ends before the first evaluation.
    """
    if options.epochs <= options.warmup:
        raise ValueError(
            f"Edges are looked at after each epoch that follows --warmup {options.warmup}, and --epochs {options.epochs} has "
            "none such. Train longer, or take a smaller --warmup."
        )
    data = load_data(options, options.seed)
    say = (lambda line: None) if options.quiet else (lambda line: print(line, flush=True))
    rows, model = _trials(data, options, say)
    state = parts_of(model).runner.policy_state or {}
    head = f"{data.name}, {options.epochs} epochs, test accuracy, mean of {options.repeats}"
    return Run(
        model,
        {"data": data.name, "trials": rows, "history": state["history"], "shares": state["shares"]},
        "freenet.json",
        lambda facts: {"compact.keras": to_compact(model), **freenet_files(facts, model)},
        f"{head}\n\n{table(rows)}\n\n",
    )


def _trials(data: Any, options: Any, say: Callable[[str], None]) -> tuple[list[dict[str, Any]], Any]:
    """Train all networks; returns what they reached, and the largest FreeNet of the first seed."""
    rows, largest = [], None
    for repeat in range(options.repeats):
        seed = options.seed + repeat
        for neurons in sorted(options.neurons):
            free = free_network(data, neurons, options, seed)
            dense = dense_network(data, neurons, options, seed)
            for kind, model in (("FreeEvolve", free), ("dense", dense)):
                row = {"kind": kind, "neurons": neurons, "seed": seed, **_trained(model, data, options)}
                rows.append(row)
                edges = f", {row['edges']} edges" if "edges" in row else ""
                say(f"{kind}, {neurons} neurons, seed {seed}: test accuracy {row['curve'][-1]:.4f}{edges}")
            if repeat == 0:
                largest = free
    return rows, largest


def free_network(data: Any, neurons: int, options: Any, seed: int) -> Any:
    """A FreeNet between an encoder and a softmax, compiled."""
    keras.utils.set_random_seed(seed)
    x = keras.Input(data.input_shape)
    free = FreeNet(neurons, name="free")(keras.layers.Flatten()(x))
    model = StructuralModel(x, _dense(data.num_classes, "softmax", name="decoder")(free))
    steps = -(-len(data.x_train) // options.batch_size)
    strategy = FreeEvolve(options.epsilon, steps, options.warmup * steps, value=options.value, seed=seed)
    probe = data.x_train[: strategy.samples]
    model.compile(_optimizer(options), LOSS, metrics=["accuracy"], strategy=strategy, probe=probe)
    return model


def dense_network(data: Any, neurons: int, options: Any, seed: int) -> keras.Model:
    """One hidden layer with as many parameters as a FreeNet has at first, compiled."""
    keras.utils.set_random_seed(seed)
    units = dense_units(neurons, int(np.prod(data.input_shape)), data.num_classes)
    layers = [keras.Input(data.input_shape), keras.layers.Flatten(), _dense(units, "relu")]
    model = keras.Sequential([*layers, _dense(data.num_classes, "softmax")])
    model.compile(_optimizer(options), LOSS, metrics=["accuracy"])
    return model


def _dense(units: int, activation: str, **options: Any) -> keras.layers.Layer:
    """A dense layer whose biases start as those of a FreeNet do."""
    return keras.layers.Dense(units, activation, bias_initializer="random_uniform", **options)


def dense_units(neurons: int, features: int, classes: int) -> int:
    """Return how many hidden units a dense network needs to have about as many parameters as a FreeNet with all edges.

    >>> dense_units(100, 784, 10)
    106
    """
    parameters = (features + 1) * neurons + neurons * (neurons - 1) // 2 + (neurons + 1) * classes
    return round((parameters - classes) / (features + 1 + classes))


def _optimizer(options: Any) -> Any:
    return keras.optimizers.Adam(options.learning_rate)


def _trained(model: Any, data: Any, options: Any) -> dict[str, Any]:
    test = (data.x_test, data.y_test)
    batches = {"batch_size": options.batch_size, "epochs": options.epochs, "validation_data": test}
    history = model.fit(data.x_train, data.y_train, verbose=0, **batches).history
    found: dict[str, Any] = {"curve": [float(value) for value in history["val_accuracy"]]}
    if not isinstance(model, StructuralModel):
        return {**found, "parameters": model.count_params()}
    free = model.get_layer("free")
    return {**found, "parameters": to_compact(model).count_params(), "edges": free.edges, "depth": free.depth}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The comparison as text, one line for each number of neurons."""
    lines = [f"{'neurons':>7} {'edges':>8} {'parameters':>11} {'FreeEvolve':>11} {'dense':>8} {'difference':>11}"]
    for neurons, free, dense in by_neurons(rows):
        accuracy, other = (float(np.mean([row["curve"][-1] for row in part])) for part in (free, dense))
        edges, parameters = (float(np.mean([row[key] for row in free])) for key in ("edges", "parameters"))
        lines.append(
            f"{neurons:>7} {edges:>8,.0f} {parameters:>11,.0f} {accuracy:>11.4f} {other:>8.4f} {accuracy - other:>+11.4f}"
        )
    return "\n".join(lines)


def by_neurons(rows: Sequence[dict[str, Any]]) -> list[tuple[int, list[dict[str, Any]], list[dict[str, Any]]]]:
    """For each number of neurons the trials of both kinds, in the order of seeds."""
    return [
        (
            neurons,
            *([r for r in rows if (r["neurons"], r["kind"]) == (neurons, kind)] for kind in ("FreeEvolve", "dense")),
        )
        for neurons in sorted({row["neurons"] for row in rows})
    ]
