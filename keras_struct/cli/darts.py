"""`keras-struct darts`: search a cell for images, train its network, write a folder."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_struct import datasets, search
from keras_struct.applications import darts_network, darts_supernet
from keras_struct.cli.folders import write_run
from keras_struct.cli.grow import versions
from keras_struct.cli.report import image, page, pairs
from keras_struct.visualization import cell_dot, plot_collapse, plot_genotype, plot_operations, plot_schedule, png

LOSS = "sparse_categorical_crossentropy"


def darts_command(options: Any, out: Path, command: str = "") -> Path:
    """Carry out the command.

    Args:
        options: What the parser read.
        out: Folder in which a folder for this run is made.
        command: The command line, to be recorded.

    Returns:
        The folder that was written.

    Raises:
        ValueError: If the data are no images whose sizes halve twice, or there are too few.
    """
    data = datasets.load(options.data, data_dir=options.data_dir, seed=options.seed)
    (x, x_test), y = (_images(part) for part in (data.x_train, data.x_test)), data.y_train
    x, y = x[: options.samples], y[: options.samples]
    keras.utils.set_random_seed(options.seed)
    verbose = 0 if options.quiet else 1
    found = _search(options, x, y, data.num_classes, verbose)
    genotype = found.genotype()
    print(f"\nFound {genotype}")
    model = darts_network(
        genotype,
        x.shape[1:],
        data.num_classes,
        options.train_channels or 2 * options.channels,
        options.train_layers or options.layers,
    )
    rate = keras.optimizers.schedules.CosineDecay(0.025, max(1, options.train_epochs * len(x) // options.batch_size))
    model.compile(keras.optimizers.SGD(rate, 0.9, clipnorm=5.0), LOSS, metrics=["accuracy"])
    history = model.fit(x, y, batch_size=options.batch_size, epochs=options.train_epochs, verbose=verbose)
    accuracy = float(model.evaluate(x_test, data.y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"])
    facts = {
        "data": data.name,
        "command": command,
        "settings": {k: v for k, v in vars(options).items() if k not in ("command", "quiet", "backend")},
        "versions": versions(),
        "genotype": str(genotype),
        "genotype_json": genotype.to_json(),
        "accuracy": accuracy,
        "parameters": model.count_params(),
        "training": {name: [float(v) for v in values] for name, values in history.history.items()},
        "record": json.loads(found.record.to_json()),
    }
    folder = write_run(out, model, _files(facts, found.record, genotype))
    print(f"\n{data.name}: test accuracy {accuracy:.4f}. Written to {folder}{os.sep}: open report.html")
    return folder


def _images(x: np.ndarray) -> np.ndarray:
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or any(extent % 4 or extent < 8 for extent in x.shape[1:3]):
        raise ValueError(
            "darts halves images twice and needs sizes that are multiples of 4, of 8 or more: shape (samples, height, width). "
            f"Received {x.shape}."
        )
    return x


def _search(options: Any, x: np.ndarray, y: np.ndarray, classes: int, verbose: int) -> search.Darts:
    activation: Literal["crb", "softmax"] = "crb" if options.method == "crb" else "softmax"
    supernet = darts_supernet(
        x.shape[1:], classes, options.channels, options.layers, options.nodes, activation=activation
    )
    adam = keras.optimizers.Adam(options.architecture_rate or 3e-4, 0.5, 0.999)
    settings: dict[str, Any] = {"architecture_optimizer": adam, "seed": options.seed}
    if options.method in ("darts-prime", "fimt"):
        settings["schedule"] = search.FimtSchedule(options.ratio)
    elif options.method in ("constant", "crb"):
        settings["schedule"] = search.ConstantSchedule(max(1, round(options.ratio)))
    if options.method in ("darts-prime", "proximity"):
        settings["penalty"] = search.Proximity(options.strength)
    elif options.method == "admm":
        settings["penalty"] = search.Admm(options.strength)
    found = search.Darts(supernet, LOSS, **settings)
    found.fit(x, y, batch_size=options.batch_size, epochs=options.epochs, backup=options.resume, verbose=verbose)
    return found


def _files(facts: dict[str, Any], record: Any, genotype: Any) -> dict[str, str | bytes]:
    pictures = {
        "genotype.png": plot_genotype(genotype),
        "normal_weights.png": plot_operations(record, "alpha_normal"),
        "reduce_weights.png": plot_operations(record, "alpha_reduce"),
        "collapse.png": plot_collapse(record),
    }
    if record.schedule.get("F"):
        pictures["schedule.png"] = plot_schedule(record)
    return {
        "search.json": json.dumps(facts, indent=1, default=str),
        "genotype.txt": f"{genotype}\n",
        "normal.dot": cell_dot(genotype, "normal"),
        "reduce.dot": cell_dot(genotype, "reduce"),
        **{name: png(figure) for name, figure in pictures.items()},
        "report.html": _report(facts, pictures),
    }


_TEXTS = {
    "genotype.png": ("The cells", "Cells of the network that was found"),
    "normal_weights.png": (
        "Weights of the operations: normal cell",
        "Weights by epoch, for each edge of the normal cell",
    ),
    "reduce_weights.png": ("Reduction cell", "Weights by epoch, for each edge of the reduction cell"),
    "schedule.png": ("When the architecture moved", "Trace of the Fisher information and threshold by step"),
    "collapse.png": ("Signs of a collapse", "Chosen skip connections and entropy by epoch"),
}


def _report(facts: dict[str, Any], pictures: dict[str, Any]) -> str:
    title = f"A cell for {facts['data']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>Test accuracy {facts['accuracy']:.4f} with {facts['parameters']:,} parameters.</p>",
        f"<p><code>{escape(facts['genotype'])}</code></p>",
    ]
    for name, (head, text) in _TEXTS.items():
        if name in pictures:
            body += [f"<h2>{head}</h2>", image(pictures[name], text)]
    body += [
        "<h2>Settings</h2>",
        f"<div class=scroll>{pairs(facts['settings'] | {'command': facts['command']})}</div>",
        f"<footer>{escape(', '.join(f'{k} {v}' for k, v in facts['versions'].items()))}</footer>",
    ]
    return page(title, body)
