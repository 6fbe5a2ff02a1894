"""`keras-struct equinas`: search the symmetry of images, write a folder."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_struct.applications import EquivariantCNN
from keras_struct.cli.folders import write_run
from keras_struct.cli.grow import versions
from keras_struct.cli.inputs import load_data
from keras_struct.cli.report import image, page, pairs
from keras_struct.datasets.splits import stratified_split
from keras_struct.search import EquiNASD, EquiNASE
from keras_struct.visualization import plot_mixtures, plot_population, png

LOSS = "sparse_categorical_crossentropy"
VALIDATION = 0.1


def equinas_command(options: Any, out: Path, command: str = "") -> Path:
    """Carry out the command.

    Args:
        options: What the parser read.
        out: Folder in which a folder for this run is made.
        command: The command line, to be recorded.

    Returns:
        The folder that was written.

    Raises:
        ValueError: If the data are no square images of at least 8 x 8.
    """
    data = load_data(options, options.seed)
    x, x_test = (_images(part) for part in (data.x_train, data.x_test))
    keras.utils.set_random_seed(options.seed)
    verbose = 0 if options.quiet else 1
    run = _descend if options.mode == "d" else _evolve
    model, found, figure = run(options, (x, data.y_train), data.num_classes, verbose)
    accuracy = float(model.evaluate(x_test, data.y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"])
    settings = {k: v for k, v in vars(options).items() if k not in ("command", "quiet", "backend")}
    facts = {
        "data": data.name,
        "command": command,
        "settings": settings,
        "versions": versions(),
        "accuracy": accuracy,
        **found,
    }
    picture = png(figure)
    files: dict[str, str | bytes] = {
        "search.json": json.dumps(facts, indent=1, default=str),
        "search.png": picture,
        "report.html": _report(facts, picture),
    }
    folder = write_run(out, model, files)
    print(f"\n{data.name}: test accuracy {accuracy:.4f}. Written to {folder}{os.sep}: open report.html")
    return folder


def _images(x: np.ndarray) -> np.ndarray:
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] != x.shape[2] or x.shape[1] < 8:
        raise ValueError(
            f"equinas needs square images of at least 8 x 8, of shape (samples, height, width); received {x.shape}."
        )
    return x


def _backbone(options: Any, x: np.ndarray, classes: int, groups: Any) -> Any:
    """The network, with as many poolings as the images can bear."""
    halvings = min(3, int(np.log2(x.shape[1])) - 1)
    size = 5 if x.shape[1] >= 16 else 3
    return EquivariantCNN(
        x.shape[1:], classes, groups, width=options.width, kernel_size=size, pooled=(3, 5, 7)[:halvings]
    )


def _descend(options: Any, data: Any, classes: int, verbose: int) -> tuple[Any, dict[str, Any], Any]:
    model = _backbone(options, data[0], classes, [list(options.groups)] * 8)
    rate = keras.optimizers.Adam(options.learning_rate or 0.01)
    search = EquiNASD(model, LOSS, rate, metrics=["accuracy"], seed=options.seed)
    x, y = data
    search.fit(x, y, batch_size=options.batch_size, epochs=options.epochs, backup=options.resume, verbose=verbose)
    model.compile(loss=LOSS, metrics=["accuracy"])
    return model, {"mixtures": search.mixtures}, plot_mixtures(search.mixtures)


def _evolve(options: Any, data: Any, classes: int, verbose: int) -> tuple[Any, dict[str, Any], Any]:
    (x, y), model = data, _backbone(options, data[0], classes, "D4")
    inside, outside = stratified_split(y, VALIDATION, options.seed)
    search = EquiNASE(
        model,
        LOSS,
        keras.optimizers.SGD(options.learning_rate or 0.1),
        generations=options.generations,
        groups=options.groups,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    search.fit(x[inside], y[inside], (x[outside], y[outside]), folder=options.resume, verbose=verbose)
    found = {"architectures": search.history, "best": search.best().record()}
    return search.load(search.best()), found, plot_population(search.history)


def _report(facts: dict[str, Any], picture: bytes) -> str:
    title = f"A network that found its symmetry: {facts['data']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>Test accuracy {facts['accuracy']:.4f}.</p>",
        "<h2>What was found</h2>",
        f"<div class=scroll>{_mixtures(facts['mixtures'][-1]) if 'mixtures' in facts else _architectures(facts)}</div>",
        "<h2>On the way</h2>",
        image(picture, "Shares of the groups by epoch, or networks of all generations"),
        "<h2>Settings</h2>",
        f"<div class=scroll>{pairs(facts['settings'] | {'command': facts['command']})}</div>",
        f"<footer>{escape(', '.join(f'{k} {v}' for k, v in facts['versions'].items()))}</footer>",
    ]
    return page(title, body)


def _mixtures(last: dict[str, dict[str, float]]) -> str:
    groups = list(next(iter(last.values())))
    rows = [
        f"<tr><td>{escape(n)}</td>{''.join(f'<td>{shares[g]:.3f}</td>' for g in groups)}</tr>"
        for n, shares in last.items()
    ]
    return f"<table><tr><th>layer</th>{''.join(f'<th>{g}</th>' for g in groups)}</tr>{''.join(rows)}</table>"


def _architectures(facts: dict[str, Any]) -> str:
    stayed = [one for one in facts["architectures"][-1] if one["selected"]]
    rows = []
    for one in sorted(stayed, key=lambda one: -one["accuracy"]):
        cells = f"<td>{one['accuracy']:.4f}</td><td>{one['parameters']:,}</td>"
        rows.append(f"<tr><td class=text>{escape(' '.join(one['groups']))}</td>{cells}</tr>")
    return f"<table><tr><th>groups of the layers</th><th>validation accuracy</th><th>parameters</th></tr>{''.join(rows)}</table>"
