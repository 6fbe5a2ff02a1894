"""Searches for recurrent cells on the characters, or words, of a text: what each method finds, trained again (thesis Table 6).

    python benchmarks/nas/text.py --data tinyshakespeare --data-dir DATA --seeds 3 --resume text.jsonl
    python benchmarks/nas/text.py --resume text.jsonl --report
    python benchmarks/nas/text.py --data ptb --data-dir DATA ...

A trial is a search and one training, from new weights, of the cell that it chose last. `Random` are cells that are drawn,
`DARTS V2` is the published one. Full size, on Penn Treebank: `--data ptb --samples 0 --units 300 --batch-size 256 --length 35
--epochs 50 --learning-rate 20 --dropout 0.75 --train-units 850 --train-batch-size 64 --train-epochs 1200`.
"""

import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
from trials import Trials, circumstances, spread

from keras_struct import datasets
from keras_struct.applications import darts_language_model, darts_language_supernet
from keras_struct.callbacks import AveragedWeights, FreshStates, RateByLength
from keras_struct.search import (
    ACTIVATIONS,
    DARTS_RNN_V2,
    Admm,
    ConstantSchedule,
    Darts,
    FimtSchedule,
    PairedText,
    Proximity,
    RecurrentGenotype,
)

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RESULTS = Path(__file__).parent.parent / "results"
PUBLISHED = {"DARTS": "66.2 ± 6.1", "DARTS-PRIME": "61.1 ± 2.2"}
METHODS = ["DARTS", "DARTS-PRIME", "Random", "CS10", "FIMT", "PR", "CRB", "ADMM", "DARTS V2"]


def drawn(seed):
    """A genotype drawn uniformly: any activation but none of any node before."""
    rng = np.random.default_rng(seed)
    genes = tuple((ACTIVATIONS[int(rng.integers(1, 5))], int(rng.integers(0, i + 1))) for i in range(8))
    return RecurrentGenotype(genes, tuple(range(1, 9)))


def left_out(options):
    """Shares of entries that are left out."""
    return {
        "dropout": options.dropout,
        "input_dropout": options.dropout,
        "recurrent_dropout": options.dropout / 3,
        "embedding_dropout": options.dropout / 3.75,
    }


def searched(options, method, text, seed):
    """A search of a method, done."""
    activation = "crb" if method == "CRB" else "softmax"
    shape = (len(text.vocabulary), options.units)
    supernet = darts_language_supernet(
        *shape, activation=activation, batch_size=options.batch_size, **left_out(options)
    )
    settings = {"seed": seed}
    if method == "CS10":
        settings["schedule"] = ConstantSchedule(10)
    if method in ("FIMT", "DARTS-PRIME"):
        settings["schedule"] = FimtSchedule()
    if method in ("PR", "DARTS-PRIME"):
        settings["penalty"] = Proximity(1.0)
    if method == "ADMM":
        settings["penalty"] = Admm()
    search = Darts(supernet, LOSS, keras.optimizers.SGD(options.learning_rate), **settings)
    search.fit(
        PairedText(words(options, text), text.valid, options.batch_size, options.length, vary=True, seed=seed),
        epochs=options.epochs,
        validation_data=datasets.TextBatches(text.valid, options.batch_size, options.length),
        verbose=0,
    )
    return search


def words(options, text):
    """What is trained on."""
    return text.train[: options.samples or None]


def trained(options, genotype, text, seed):
    """Perplexity on the text to test on, and parameters, of the language model of a genotype."""
    keras.utils.set_random_seed(seed)
    size = options.train_batch_size
    model = darts_language_model(
        genotype, len(text.vocabulary), options.train_units, size, word_dropout=0.0, **left_out(options)
    )
    batches = datasets.TextBatches(words(options, text), size, options.length, vary=True, seed=seed)
    model.compile(keras.optimizers.SGD(options.learning_rate, global_clipnorm=0.25), LOSS)
    model.fit(
        batches,
        epochs=options.train_epochs,
        validation_data=datasets.TextBatches(text.valid, size, options.length),
        shuffle=False,
        callbacks=[RateByLength(batches), FreshStates(), AveragedWeights()],
        verbose=0,
    )
    loss = model.evaluate(datasets.TextBatches(text.test, size, options.length), callbacks=[FreshStates()], verbose=0)
    return math.exp(float(loss)), model.count_params()


def trial(options, text, method, seed):
    """One search, and what it found trained again."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if method in ("Random", "DARTS V2"):
        genotype, found = drawn(seed) if method == "Random" else DARTS_RNN_V2, {}
    else:
        search = searched(options, method, text, seed)
        genotype = search.genotype()
        found = {
            "alpha_steps": int(keras.ops.convert_to_numpy(search.trained.architecture_steps)),
            "entropy": search.record.entropy,
            "validation": search.record.validation,
        }
    perplexity, parameters = trained(options, genotype, text, seed)
    return {"perplexity": perplexity, "parameters": parameters, "genotype": genotype.to_json(), **found}


def report(options, trials, settings):
    """The table, with what the thesis reports."""
    lines = [
        f"# Searches for recurrent cells on {settings['data']}, reduced",
        "",
        f"{circumstances()} Means ± standard deviations over seeds.",
        "",
        f"Command: `{settings['command']}`",
        "",
        f"{settings['samples'] or 'All'} characters or words to train on, {settings['units']} units, batches of "
        f"{settings['batch_size']}, pieces of about {settings['length']}, {settings['epochs']} epochs of search; language models "
        f"of {settings['train_units']} units, {settings['train_epochs']} epochs.",
        "",
        "| method | searches | test perplexity | valid perplexity of the supernet | α steps | s of a trial | published (words of "
        "Penn Treebank) |",
        "|---|---|---|---|---|---|---|",
    ]
    for (method,), rows in trials.grouped("method").items():
        searches = [row for row in rows if "alpha_steps" in row]
        cells = [
            spread([row["perplexity"] for row in rows], 3),
            spread([math.exp(row["validation"][-1]) for row in searches], 2) if searches else "",
            spread([float(row["alpha_steps"]) for row in searches], 0) if searches else "",
            spread([row["seconds"] for row in rows], 0),
            PUBLISHED.get(method, ""),
        ]
        lines.append(f"| {method} | {len(rows)} | " + " | ".join(cells) + " |")
    lines += ["", "What was found:", ""]
    for row in trials.rows:
        if row["key"]["method"] != "Random":
            genes = RecurrentGenotype.parse(row["genotype"]).recurrent
            lines.append(
                f"- {row['key']['method']}, seed {row['key']['seed']}: " + ", ".join(f"{n} {j}" for n, j in genes)
            )
    lines += [
        "",
        "Published: K. Maile, thesis, Table 6, 300 units to search, 850 units and 1200 epochs to train, words instead of "
        "characters: numbers do not compare with those of this table, orders might.",
    ]
    lines += [f"\n{options.remark}"] if options.remark else []
    (RESULTS / f"nas_text_{settings['data']}.md").write_text("\n".join(lines) + "\n")


def main():
    """Run what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sums", help="sums, ptb, or a text file")
    parser.add_argument("--data-dir")
    parser.add_argument("--methods", nargs="+", default=METHODS[:3], choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    for name, default in {
        "samples": 100_000,
        "units": 48,
        "batch-size": 64,
        "length": 25,
        "epochs": 8,
        "train-units": 64,
        "train-batch-size": 64,
        "train-epochs": 12,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=4.0)
    parser.add_argument("--dropout", type=float, default=0.1, help="of inputs and outputs; a third of it of states")
    parser.add_argument("--resume", default="nas_text.jsonl")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--remark", default="", help="what --report says below the table")
    options = parser.parse_args()
    trials, kept = Trials(options.resume), Path(f"{options.resume}.settings")
    if options.report:
        report(options, trials, json.loads(kept.read_text()))
        return
    kept.write_text(json.dumps({**vars(options), "command": " ".join(["python", *sys.argv])}))
    text = datasets.load_text(options.data, options.data_dir)
    for seed in range(options.seeds):
        for method in options.methods:
            trials.run({"method": method, "seed": seed}, lambda m=method, s=seed: trial(options, text, m, s))


if __name__ == "__main__":
    main()
