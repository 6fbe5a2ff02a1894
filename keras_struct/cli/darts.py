"""`keras-struct darts`: search a cell for images or a text, train its network, write a folder."""

from __future__ import annotations

import json
from typing import Any, Literal

import keras
import numpy as np

from keras_struct import datasets, search
from keras_struct.applications import darts_network, darts_supernet
from keras_struct.cli.darts_report import search_files
from keras_struct.cli.darts_text import find_recurrent, is_text, tell_undecided
from keras_struct.cli.inputs import as_images, load_data
from keras_struct.cli.runs import Run

LOSS = "sparse_categorical_crossentropy"


def darts_command(options: Any) -> Run:
    """Carry out the command.

    Args:
        options: What the parser read.

    Raises:
        ValueError: If the data are neither a text nor images whose sizes halve twice, or there are too few.
    """
    found, model, result = (find_recurrent if is_text(options.data) else _find_cells)(options, _settings(options))
    genotype: Any = found.genotype()
    facts = {
        "genotype": str(genotype),
        "genotype_json": genotype.to_json(),
        "parameters": model.count_params(),
        "record": json.loads(found.record.to_json()),
        **result,
    }
    told = f"{facts['data']}: {facts['result']} "
    return Run(model, facts, "search.json", lambda facts: search_files(facts, found.record, genotype), told)


def _find_cells(options: Any, settings: dict[str, Any]) -> tuple[search.Darts, Any, dict[str, Any]]:
    """Search cells for images, and train their network."""
    data = load_data(options, options.seed)
    (x, x_test), y = (_images(part) for part in (data.x_train, data.x_test)), data.y_train
    x, y = x[: options.samples], y[: options.samples]
    keras.utils.set_random_seed(options.seed)
    verbose = 0 if options.quiet else 1
    activation: Literal["crb", "softmax"] = "crb" if options.method == "crb" else "softmax"
    supernet = darts_supernet(
        x.shape[1:], data.num_classes, options.channels, options.layers, options.nodes, activation=activation
    )
    adam = keras.optimizers.Adam(options.architecture_rate or 3e-4, 0.5, 0.999)
    found = search.Darts(supernet, LOSS, architecture_optimizer=adam, **settings)
    augment = datasets.ImageAugmentation(max(1, x.shape[1] // 8)) if options.augment else None
    found.fit(
        x,
        y,
        batch_size=options.batch_size,
        epochs=options.epochs,
        backup=options.resume,
        augment=augment,
        verbose=verbose,
    )
    genotype: Any = found.genotype()
    print(f"\nFound {genotype}")
    tell_undecided(found.record, options.epochs)
    model = darts_network(
        genotype,
        x.shape[1:],
        data.num_classes,
        options.train_channels or 2 * options.channels,
        options.train_layers or options.layers,
    )
    rate = keras.optimizers.schedules.CosineDecay(0.025, max(1, options.train_epochs * len(x) // options.batch_size))
    model.compile(keras.optimizers.SGD(rate, 0.9, global_clipnorm=5.0), LOSS, metrics=["accuracy"])
    batches = datasets.AugmentedBatches(x, y, options.batch_size, augment or (lambda images, _: images), options.seed)
    history = model.fit(batches, epochs=options.train_epochs, shuffle=False, verbose=verbose)
    accuracy = float(model.evaluate(x_test, data.y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"])
    return (
        found,
        model,
        {
            "data": data.name,
            "accuracy": accuracy,
            "result": f"Test accuracy {accuracy:.4f} with {model.count_params():,} parameters.",
            "training": {name: [float(v) for v in values] for name, values in history.history.items()},
        },
    )


def _images(x: np.ndarray) -> np.ndarray:
    wanted = "darts halves images twice and needs sizes that are multiples of 4, of 8 or more"
    return as_images(x, lambda *extents: all(extent % 4 == 0 and extent >= 8 for extent in extents), wanted)


def _settings(options: Any) -> dict[str, Any]:
    """Schedule, penalty and seed of a search."""
    settings: dict[str, Any] = {"seed": options.seed}
    strength = options.strength or (1.0 if is_text(options.data) else 0.1)
    if options.method in ("darts-prime", "fimt"):
        settings["schedule"] = search.FimtSchedule(options.ratio)
    elif options.method in ("constant", "crb"):
        settings["schedule"] = search.ConstantSchedule(max(1, round(options.ratio)))
    if options.method in ("darts-prime", "proximity"):
        settings["penalty"] = search.Proximity(strength)
    elif options.method == "admm":
        settings["penalty"] = search.Admm(options.strength or 0.1)
    return settings
