"""Searches for cells on CIFAR-10, reduced: what each method finds, trained again (thesis Table 5, Figures 19 and 26).

    python benchmarks/nas/cifar10.py --data-dir DATA --seeds 3 --resume table.jsonl
    python benchmarks/nas/cifar10.py --resume table.jsonl --report
    python benchmarks/nas/cifar10.py --data-dir DATA --long 48 --seeds 1 --methods DARTS DARTS-PRIME --resume long.jsonl
    python benchmarks/nas/cifar10.py --resume long.jsonl --report

A trial is a search and one training, from new weights, of the cells that it chose last. As in the thesis all methods pass as
often over the images, of which DARTS, PR, CRB and ADMM have half for the weights and those with a schedule ten elevenths. Images
are shifted and mirrored. `Random` are cells that are drawn. `--long` searches for so many epochs and evaluates the cells of eight
moments.
Full size: `--full --samples 50000 --image-size 32 --channels 16 --layers 8 --batch-size 64 --epochs 50 --rate 3e-4 --test 10000
--train-samples 50000 --train-channels 36 --train-layers 20 --train-batch-size 96 --train-rate 0.025 --train-epochs 600`.
`--data cifar100` searches on CIFAR-100.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
from trials import Trials, circumstances, spread

from keras_struct import datasets
from keras_struct.applications import darts_network, darts_supernet
from keras_struct.callbacks import DropPathSchedule
from keras_struct.nas.genotypes import PRIMITIVES, Genotype
from keras_struct.search import Admm, ConstantSchedule, Darts, FimtSchedule, Proximity

LOSS = "sparse_categorical_crossentropy"
RESULTS = Path(__file__).parent.parent / "results"
PUBLISHED = {
    "cifar10": {
        "DARTS": ("2.82 ± 0.19", "2.78 ± 0.28"),
        "CS10": ("2.80 ± 0.09", "3.41 ± 0.40"),
        "FIMT": ("2.79 ± 0.12", "3.49 ± 0.31"),
        "PR": ("2.77 ± 0.03", "3.50 ± 0.15"),
        "DARTS-PRIME": ("2.62 ± 0.07", "3.70 ± 0.27"),
        "CRB": ("3.58 ± 0.79", "1.77 ± 0.25"),
        "ADMM": ("2.89 ± 0.05", "3.13 ± 0.30"),
        "Random": ("3.29 ± 0.15", "3.2"),
    },
    "cifar100": {
        "DARTS": ("19.49 ± 0.60", "2.02 ± 0.15"),
        "FIMT": ("19.44 ± 1.26", "2.22 ± 0.22"),
        "PR": ("19.04 ± 0.85", "2.24 ± 0.31"),
        "DARTS-PRIME": ("17.44 ± 0.57", "3.16 ± 0.42"),
    },
}
METHODS = ["DARTS", "DARTS-PRIME", "CS10", "FIMT", "PR", "CRB", "ADMM", "Random"]


def images(options):
    """The data set, each image reduced to means of squares of pixels, and standardized."""
    data = datasets.standardized(datasets.load(options.data, data_dir=options.data_dir))
    factor, size = data.x_train.shape[1] // options.image_size, options.image_size

    def reduced(x):
        x = x[..., None] if x.ndim == 3 else x
        return x[:, : factor * size, : factor * size].reshape(-1, size, factor, size, factor, x.shape[-1]).mean((2, 4))

    order = np.random.default_rng(0).permutation(len(data.x_train))
    kept = order[: max(options.samples, options.train_samples)]
    x, y = reduced(data.x_train[kept]), data.y_train[kept]
    return x, y, reduced(data.x_test[: options.test]), data.y_test[: options.test], data.num_classes


def drawn(seed):
    """A genotype drawn uniformly: two different sources for each node, any operation but none."""
    rng = np.random.default_rng(seed)

    def genes():
        sources = [s for node in range(4) for s in rng.choice(node + 2, 2, replace=False)]
        return tuple((PRIMITIVES[int(rng.integers(1, len(PRIMITIVES)))], int(s)) for s in sources)

    return Genotype(genes(), (2, 3, 4, 5), genes(), (2, 3, 4, 5))


def searched(options, method, x, y, classes, seed):
    """A search of a method, done."""
    activation = "crb" if method == "CRB" else "softmax"
    supernet = darts_supernet(x.shape[1:], classes, options.channels, options.layers, activation=activation)
    settings = {"architecture_optimizer": keras.optimizers.Adam(options.rate, 0.5, 0.999), "seed": seed}
    if method == "CS10":
        settings["schedule"] = ConstantSchedule(10)
    if method in ("FIMT", "DARTS-PRIME"):
        settings["schedule"] = FimtSchedule()
    if method in ("PR", "DARTS-PRIME"):
        settings["penalty"] = Proximity(options.strength)
    if method == "ADMM":
        settings["penalty"] = Admm()
    search = Darts(supernet, LOSS, **settings)
    search.fit(
        x[: options.samples],
        y[: options.samples],
        batch_size=options.batch_size,
        epochs=options.long or options.epochs,
        augment=datasets.ImageAugmentation(options.image_size // 8),
        verbose=0,
    )
    return search


def evaluated(options, genotype, data, seed):
    """Error in percent, and parameters, of the network of a genotype that is trained from new weights."""
    x, y, x_test, y_test, classes = data
    keras.utils.set_random_seed(seed)
    model = darts_network(
        genotype,
        x.shape[1:],
        classes,
        options.train_channels,
        options.train_layers,
        auxiliary=0.4 if options.full else 0.0,
        drop_path=options.full,
    )
    batches = datasets.AugmentedBatches(
        x[: options.train_samples],
        y[: options.train_samples],
        options.train_batch_size,
        datasets.ImageAugmentation(options.image_size // 8, cutout=options.image_size // 2 if options.full else 0),
        seed,
    )
    rate = keras.optimizers.schedules.CosineDecay(options.train_rate, options.train_epochs * len(batches))
    model.compile(keras.optimizers.SGD(rate, 0.9, clipnorm=5.0), LOSS, metrics=["accuracy"])
    callbacks = [DropPathSchedule(0.2)] if options.full else []
    model.fit(batches, epochs=options.train_epochs, shuffle=False, callbacks=callbacks, verbose=0)
    accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"]
    return 100 * (1 - float(accuracy)), model.count_params()


def trial(options, data, method, seed):
    """One search, and what it found trained again."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if method == "Random":
        genotype, found = drawn(seed), {}
    else:
        search = searched(options, method, *data[:2], data[4], seed)
        genotype, record = search.genotype(), search.record
        found = {
            "alpha_steps": int(keras.ops.convert_to_numpy(search.trained.architecture_steps)),
            "entropy": record.entropy,
            "skips_by_epoch": record.skips,
        }
        if options.long:
            found["moments"] = moments(options, record, data, seed)
    error, parameters = evaluated(options, genotype, data, seed)
    skips = sum(name == "skip_connect" for name, _ in (*genotype.normal, *genotype.reduce))
    return {"error": error, "parameters": parameters, "skips": skips, "genotype": genotype.to_json(), **found}


def moments(options, record, data, seed):
    """Errors of the cells at eight moments of a search."""
    found = []
    for epoch in np.linspace(0, options.long, 9).round().astype(int)[1:]:
        genes = record.genes[epoch]
        genotype = Genotype(tuple(genes["alpha_normal"]), (2, 3, 4, 5), tuple(genes["alpha_reduce"]), (2, 3, 4, 5))
        error, parameters = evaluated(options, genotype, data, seed)
        skips = [sum(name == "skip_connect" for name, _ in each) for each in (genotype.normal, genotype.reduce)]
        found.append({"epoch": int(epoch), "error": error, "parameters": parameters, "skips": skips})
    return found


def report(options, trials, settings):
    """The table, with what the thesis reports, and pictures."""
    name = ("long_" if settings["long"] else "") + settings["data"] + options.suffix
    lines = [
        f"# Searches for cells on {settings['data']}, reduced",
        "",
        f"{circumstances()} Means ± standard deviations over seeds.",
        "",
        f"Command: `{settings['command']}`",
        "",
        f"{settings['samples']} images of {settings['image_size']} x {settings['image_size']} to search on, C = "
        f"{settings['channels']}, L = {settings['layers']}, batches of {settings['batch_size']}, "
        f"{settings['long'] or settings['epochs']} epochs, learning rate of α {settings['rate']:g}; networks of C = "
        f"{settings['train_channels']}, L = {settings['train_layers']}, {settings['train_epochs']} epochs on "
        f"{settings['train_samples']} images, {settings['test']} to test on.",
        "",
        "| method | searches | test error (%) | parameters (thousands) | skips of 16 | α steps | s of a trial "
        "| published error (%) | published parameters (M) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (method,), rows in trials.grouped("method").items():
        cells = [
            spread([r["error"] for r in rows], 2),
            spread([r["parameters"] / 1000 for r in rows], 1),
            spread([float(r["skips"]) for r in rows], 1),
            spread([float(r["alpha_steps"]) for r in rows], 0) if "alpha_steps" in rows[0] else "",
            spread([r["seconds"] for r in rows], 0),
            *PUBLISHED[settings["data"]].get(method, ("", "")),
        ]
        lines.append(f"| {method} | {len(rows)} | " + " | ".join(cells) + " |")
    if settings["long"]:
        lines += long_table(trials.rows)
        draw_long(trials.rows, RESULTS / f"nas_{name}.png")
    else:
        sizes, errors = zip(*[(r["parameters"], r["error"]) for r in trials.rows], strict=True)
        lines += [
            "",
            f"Correlation of error and number of parameters over these networks: {np.corrcoef(sizes, errors)[0, 1]:.2f} "
            f"(Figure 26 of the thesis: larger networks err less). Picture: `nas_{name}.png`.",
        ]
        draw_sizes(trials, RESULTS / f"nas_{name}.png")
    lines += [
        "",
        "Published: K. Maile, thesis, Table 5, C = 16 and L = 8 to search, C = 36 and L = 20 to train, 600 epochs.",
    ]
    lines += [f"\n{options.remark}"] if options.remark else []
    (RESULTS / f"nas_{name}.md").write_text("\n".join(lines) + "\n")


def long_table(rows):
    """Errors and skip connections over a long search."""
    lines = []
    for row in rows:
        lines += ["", f"{row['key']['method']}, seed {row['key']['seed']}:", ""]
        lines += [
            "| after epoch | skips, normal cell | reduction cell | parameters (thousands) | test error (%) |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {m['epoch']} | {m['skips'][0]} of 8 | {m['skips'][1]} of 8 | {m['parameters'] / 1000:.1f} | {m['error']:.2f} |"
            for m in row["moments"]
        ]
    return lines


def draw_sizes(trials, path):
    """Error against number of parameters."""
    from matplotlib.figure import Figure

    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (method,), rows in trials.grouped("method").items():
        axes.scatter([r["parameters"] / 1000 for r in rows], [r["error"] for r in rows], label=method)
    axes.set(xlabel="parameters (thousands)", ylabel="test error (%)")
    axes.legend()
    figure.savefig(path, dpi=110)


def draw_long(rows, path):
    """Skip connections and errors over long searches."""
    from matplotlib.figure import Figure

    figure = Figure((8, 6), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    for row in rows:
        label = f"{row['key']['method']}, seed {row['key']['seed']}"
        top.plot(row["skips_by_epoch"], label=label)
        bottom.plot([m["epoch"] for m in row["moments"]], [m["error"] for m in row["moments"]], "o-", label=label)
    top.set(ylabel="skip connections of 16")
    bottom.set(xlabel="epoch of the search", ylabel="test error after training (%)")
    top.legend()
    figure.savefig(path, dpi=110)


def main():
    """Run what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", choices=["cifar10", "cifar100"])
    parser.add_argument("--data-dir")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    for name, default in {
        "samples": 4000,
        "image-size": 16,
        "channels": 8,
        "layers": 5,
        "batch-size": 32,
        "epochs": 6,
        "train-samples": 8000,
        "train-channels": 12,
        "train-layers": 5,
        "train-batch-size": 64,
        "train-epochs": 10,
        "test": 5000,
        "long": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate of α")
    parser.add_argument("--strength", type=float, default=0.1, help="ρ of proximity")
    parser.add_argument("--train-rate", type=float, default=0.05)
    parser.add_argument(
        "--full", action="store_true", help="cutout, drop-path and auxiliary head when networks are trained"
    )
    parser.add_argument("--resume", default="nas_cifar10.jsonl")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--suffix", default="", help="of the names of the files of --report")
    parser.add_argument("--remark", default="", help="what --report says below the table")
    options = parser.parse_args()
    trials, kept = Trials(options.resume), Path(f"{options.resume}.settings")
    if options.report:
        return report(options, trials, json.loads(kept.read_text()))
    kept.write_text(json.dumps({**vars(options), "command": " ".join(["python", *sys.argv])}))
    data = images(options)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for method in options.methods:
            trials.run({"method": method, "seed": seed}, lambda m=method, s=seed: trial(options, data, m, s))
    return None


if __name__ == "__main__":
    main()
