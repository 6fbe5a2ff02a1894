"""Sensitivity of NORTH* on MNIST: threshold factor, batch size, learning rate (thesis section 6.3.5, Figures 33 and 34).

    python benchmarks/neurogenesis/hyperparameters.py --data-dir DATA --seeds 2 --resume hyperparameters.jsonl

The MLP and the settings of `mnist.py`, with one of them changed at a time: the factor gamma of the effective dimension and of
the orthogonality gap; the batch size (the buffer stays); the learning rate. A tenth of the training split is held out, and
its accuracy is reported. The table goes to `benchmarks/results/neurogenesis_hyperparameters.md`.
"""

import argparse
from pathlib import Path

import keras
import mnist
import numpy as np
from trials import Trials, circumstances, grown, spread, strategy

from keras_struct import datasets
from keras_struct.triggers import EffectiveDimension, OrthogonalityGap

RESULTS = Path(__file__).parent.parent / "results"
NORTH, STATIC = ("NorthSelect", "NorthRandom"), ("Small Static", "Big Static")
CASES = [
    *({"name": n, "metric": m, "gamma": g} for n in NORTH for m in ("ED", "OG") for g in (0.9, 0.97, 0.99)),
    *({"name": n, "batch": b} for n in NORTH + STATIC for b in (128, 512, 2048)),
    *({"name": n, "rate": r} for n in NORTH + STATIC for r in (1e-4, 3e-4, 1e-3, 3e-3)),
]


def trial(data, seed, epochs, name, metric="ED", gamma=0.97, batch=mnist.BATCH, rate=mnist.RATE):
    x, y = data.x_train.reshape(len(data.x_train), -1), data.y_train
    held = np.random.default_rng(seed).permutation(len(x)) < len(x) // 10
    keras.utils.set_random_seed(seed)
    model = mnist.build(mnist.STATIC.get(name, mnist.START))
    trigger = (EffectiveDimension if metric == "ED" else OrthogonalityGap)(gamma=gamma)
    chosen = None if name in mnist.STATIC else strategy(name, mnist.LARGEST, seed, trigger=trigger)
    probe = mnist.BUFFER if chosen is not None else None
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=chosen, probe=probe)
    model.fit(x[~held], y[~held], batch_size=batch, epochs=epochs, verbose=0)
    accuracy = model.evaluate(x[held], y[held], batch_size=2000, verbose=0, return_dict=True)["accuracy"]
    return {"accuracy": float(accuracy), **grown(model)}


def report(trials, options):
    lines = [
        "# Sensitivity of NORTH* on MNIST (Figures 33 and 34)",
        "",
        f"`python benchmarks/neurogenesis/hyperparameters.py --seeds {options.seeds} --epochs {options.epochs}`",
        "",
        f"{circumstances()} Mean ± standard deviation over the seeds 1 to {options.seeds}.",
        "",
        "| strategy | changed | layer 1 | layer 2 | validation accuracy | trials |",
        "|---|---|---|---|---|---|",
    ]
    for (name, changed), rows in trials.grouped("name", "changed").items():
        first, second = (spread([row["widths"][f"layer{i}"] for row in rows], 0) for i in (1, 2))
        lines.append(
            f"| {name} | {changed} | {first} | {second} | {spread([r['accuracy'] for r in rows], 4)} | {len(rows)} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--resume", default="hyperparameters.jsonl", help="file with the trials that are done")
    options = parser.parse_args()
    data, trials = datasets.load("mnist", data_dir=options.data_dir), Trials(options.resume)
    for seed in range(1, options.seeds + 1):
        for case in CASES:
            changed = ", ".join(
                f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in case.items() if k != "name"
            )
            key = {"name": case["name"], "changed": changed, "seed": seed, "epochs": options.epochs}
            trials.run(key, lambda case=case, seed=seed: trial(data, seed, options.epochs, **case))
    text = report(trials, options)
    (RESULTS / "neurogenesis_hyperparameters.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
