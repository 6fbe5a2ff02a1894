"""`keras-struct darts` on a text: search a recurrent cell, train its language model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import keras

from keras_struct import datasets, search
from keras_struct.applications import darts_language_model, darts_language_supernet
from keras_struct.callbacks import AveragedWeights, FreshStates, RateByLength


def is_text(data: str) -> bool:
    """Whether what `--data` names is a text."""
    return data in ("sums", "ptb") or Path(data).suffix == ".txt"


UNDECIDED = 0.02
"""How far weights must have come from uniform for a genotype to say anything; see `SearchRecord.decided`."""


def tell_undecided(record: search.SearchRecord, epochs: int) -> None:
    """Say so if the weights of the operations are still about uniform: what was chosen is chance then."""
    if record.decided < UNDECIDED:
        print(
            f"The weights of the operations are still about uniform ({record.decided:.1%} of the way to a choice after {epochs} "
            "epochs): this genotype is little more than chance. Published searches take 50 epochs of tens of thousands of "
            "images. Search longer with --epochs, or faster with a larger --architecture-rate."
        )


def find_recurrent(options: Any, settings: dict[str, Any]) -> tuple[search.Darts, Any, dict[str, Any]]:
    """Search a recurrent cell for a text, and train its language model.

    Args:
        options: What the parser read.
        settings: Schedule, penalty and seed of the search.

    Returns:
        The search, the language model, and what to tell of both.

    Raises:
        ValueError: If the text is too short.
    """
    text = datasets.load_text(options.data, options.data_dir, options.level)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    words, size, length = text.train[: options.samples], options.batch_size, options.length
    keras.utils.set_random_seed(options.seed)
    verbose = 0 if options.quiet else 1
    left_out = dict.fromkeys(("dropout", "input_dropout", "recurrent_dropout", "embedding_dropout"), options.dropout)
    activation: Literal["crb", "softmax"] = "crb" if options.method == "crb" else "softmax"
    supernet = darts_language_supernet(
        len(text.vocabulary), options.units, 2 * options.nodes, activation, batch_size=size, **left_out
    )
    adam = keras.optimizers.Adam(options.architecture_rate or 3e-3)
    sgd = keras.optimizers.SGD(options.learning_rate)
    found = search.Darts(supernet, loss, sgd, adam, **settings)
    found.fit(
        search.PairedText(words, text.valid, size, length, vary=True, seed=options.seed),
        epochs=options.epochs,
        validation_data=datasets.TextBatches(text.valid, size, length),
        backup=options.resume,
        verbose=verbose,
    )
    genotype: Any = found.genotype()
    print(f"\nFound {genotype}")
    tell_undecided(found.record, options.epochs)
    model = darts_language_model(genotype, len(text.vocabulary), options.units, size, word_dropout=0.0, **left_out)
    model.compile(keras.optimizers.SGD(options.learning_rate, global_clipnorm=0.25), loss, metrics=["accuracy"])
    batches = datasets.TextBatches(words, size, length, vary=True, seed=options.seed)
    history = model.fit(
        batches,
        epochs=options.train_epochs,
        validation_data=datasets.TextBatches(text.valid, size, length),
        shuffle=False,
        callbacks=[RateByLength(batches), FreshStates(), AveragedWeights()],
        verbose=verbose,
    )
    test = datasets.TextBatches(text.test, size, length)
    scores = model.evaluate(test, verbose=0, return_dict=True, callbacks=[FreshStates()])
    perplexity = math.exp(float(scores["loss"]))
    return (
        found,
        model,
        {
            "data": text.name,
            "perplexity": perplexity,
            "result": f"Test perplexity {perplexity:.3f} with {model.count_params():,} parameters.",
            "training": {name: [float(v) for v in values] for name, values in history.history.items()},
        },
    )
