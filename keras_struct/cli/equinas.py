"""`keras-struct equinas`: search the symmetry of images, write a folder."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.applications import EquivariantCNN
from keras_struct.cli.equinas_report import search_files
from keras_struct.cli.inputs import as_images, load_data
from keras_struct.cli.runs import Run
from keras_struct.data.splits import stratified_split
from keras_struct.search import EquiNASD, EquiNASE
from keras_struct.visualization import plot_mixtures, plot_population

LOSS = "sparse_categorical_crossentropy"
VALIDATION = 0.1


def equinas_command(options: Any) -> Run:
    """Carry out the command.

    Args:
        options: What the parser read.

    Raises:
        ValueError: If the data are no square images of at least 8 x 8.
    """
    data = load_data(options, options.seed)
    x, x_test = (_images(part) for part in (data.x_train, data.x_test))
    keras.utils.set_random_seed(options.seed)
    verbose = 0 if options.quiet else 1
    search = _descend if options.mode == "d" else _evolve
    model, found, figure = search(options, (x, data.y_train), data.num_classes, verbose)
    accuracy = float(model.evaluate(x_test, data.y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"])
    facts = {"data": data.name, "accuracy": accuracy, **found}
    told = f"{data.name}: test accuracy {accuracy:.4f}. "
    return Run(model, facts, "search.json", lambda facts: search_files(facts, figure), told)


def _images(x: np.ndarray) -> np.ndarray:
    wanted = "equinas needs square images of at least 8 x 8"
    return as_images(x, lambda height, width: height == width >= 8, wanted)


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
