"""Rotated MNIST: fixed symmetries, residual pathway priors and the two searches (thesis Tables 3 and 4).

    python benchmarks/equivariance/rotmnist.py --protocol d --data-dir DATA --budget 0.02 --seeds 3 --resume d.jsonl
    python benchmarks/equivariance/rotmnist.py --protocol e --data-dir DATA --budget 0.02 --seeds 3 --resume e.jsonl
    python benchmarks/equivariance/rotmnist.py --protocol d --resume d.jsonl --report

Protocol `d`: Adam 0.01, 100 epochs; C1, C4, D4 networks, RPP (C1 with L2 1e-6, beside D4), EquiNAS_D (six groups), Random Z
(gradients of mixtures shuffled) and Random Static (the best of random mixtures), and Retrain of what EquiNAS_D found. Protocol
`e`: SGD 0.1, 50 generations of half an epoch, and networks trained for as many epochs; C1, C4, D4, RPP, networks that start as
those of a larger group (prior), EquiNAS_E, Random Select, Random Static and Retrain (five architectures each). Batch 64; a tenth
of the 12000 training images is kept for validation. `--budget` scales epochs and generations, `--width` the fields, `--train` and
`--test` the images. The table goes to `benchmarks/results/equivariance_rotmnist_<protocol>.md`, published figures beside.
"""

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
from trials import Trials, circumstances, spread

from keras_struct import datasets
from keras_struct.applications import EquivariantCNN
from keras_struct.layers import GroupConv2D
from keras_struct.search import EquiNASD, EquiNASE
from keras_struct.symmetry.equinas_d import randomize

SIX = ["C1", "C2", "C4", "D1", "D2", "D4"]
LOSS = "sparse_categorical_crossentropy"
RESULTS = Path(__file__).parent.parent / "results"
PUBLISHED = {
    "d": {"EquiNAS_D": 2.29, "RPP": 2.89, "D4": 2.97, "C4": 2.43, "C1": 3.97},
    "e": {
        "EquiNAS_E": 1.78,
        "RPP": 2.18,
        "D4": 1.78,
        "C4": 1.64,
        "C1": 5.02,
        "C4 (prior D4)": 1.93,
        "C1 (prior D4)": 3.40,
        "C1 (prior C4)": 2.96,
    },
}
PRIORS = {"C4 (prior D4)": ("C4", "D4"), "C1 (prior D4)": ("C1", "D4"), "C1 (prior C4)": ("C1", "C4")}
METHODS = {
    "d": ["C1", "C4", "D4", "RPP", "EquiNAS_D", "Random Z", "Random Static", "Retrain"],
    "e": ["C1", "C4", "D4", "RPP", *PRIORS, "EquiNAS_E", "Random Select", "Random Static", "Retrain"],
}


def network(method, width):
    if method in PRIORS:
        group, prior = PRIORS[method]
        model = EquivariantCNN(groups=prior, width=width)
        for name in [layer.name for layer in model.layers if isinstance(layer, GroupConv2D)]:
            model.relax(name, group)
        return model
    if method in ("C1", "C4", "D4"):
        return EquivariantCNN(groups=method, width=width)
    if method == "RPP":
        model = EquivariantCNN(groups=[["C1", "D4"]] * 8, width=width, mixing="sum")
        return with_prior(model, 1e-6)
    return EquivariantCNN(groups=[SIX] * 8, width=width)


def with_prior(model, penalty):
    """An L2 penalty on the free kernels of residual pathways."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "MixedEquivariantConv":
            layer["config"]["kernel_regularizers"] = {
                "C1": keras.regularizers.serialize(keras.regularizers.L2(penalty))
            }
    return type(model).from_config(config)


def fitted(model, data, epochs, rate=None):
    optimizer = keras.optimizers.Adam(0.01) if rate is None else keras.optimizers.SGD(rate)
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=epochs, verbose=0)
    return model


def error(model, data):
    return 100 * (
        1 - float(model.evaluate(data.x_test, data.y_test, batch_size=500, verbose=0, return_dict=True)["accuracy"])
    )


def trial(options, data, method, seed):
    keras.utils.set_random_seed(seed)
    epochs = max(1, round(100 * options.budget)) if options.protocol == "d" else max(1, round(25 * options.budget))
    if method in ("C1", "C4", "D4", "RPP", *PRIORS):
        model = fitted(network(method, options.width), data, epochs, None if options.protocol == "d" else 0.1)
        return {"error": error(model, data), "parameters": model.count_params()}
    if options.protocol == "e":
        return evolved(options, data, method, seed, epochs)
    if method == "Random Static":
        found, kept = [], len(data.x_train) // 10
        for i in range(max(1, round(25 * options.budget))):
            model = network(method, options.width)
            randomize(model, seed=100 * seed + i)
            fitted(model, dataclasses.replace(data, x_train=data.x_train[kept:], y_train=data.y_train[kept:]), epochs)
            scores = model.evaluate(data.x_train[:kept], data.y_train[:kept], verbose=0, return_dict=True)
            found.append((-scores["accuracy"], error(model, data)))
        return {"error": float(np.mean([e for _, e in sorted(found)[:5]])), "tried": len(found)}
    search = EquiNASD(
        network(method, options.width), LOSS, shuffle="groups" if method == "Random Z" else "none", seed=seed
    )
    search.fit(data.x_train, data.y_train, epochs=epochs, verbose=0)
    model = search.model
    if method == "Retrain":
        model = search.fresh_network(seed=seed)
        model.fit(data.x_train, data.y_train, batch_size=64, epochs=epochs, verbose=0)
    model.compile(loss=LOSS, metrics=["accuracy"])
    return {"error": error(model, data), "mixtures": search.mixture(), "parameters": model.count_params()}


def evolved(options, data, method, seed, epochs):
    kept = len(data.x_train) // 10
    generations = max(1, round(50 * options.budget))
    selection = "random" if method == "Random Select" else "pareto"
    search = EquiNASE(
        EquivariantCNN(width=options.width), LOSS, generations=generations, selection=selection, seed=seed
    )
    inside, outside = (data.x_train[kept:], data.y_train[kept:]), (data.x_train[:kept], data.y_train[:kept])
    if method in ("Random Static", "Retrain"):
        count = max(1, round(30 * options.budget))
        if method == "Random Static":
            groups = search.random_architectures(count, seed)
        else:
            search.fit(*inside, validation_data=outside, verbose=0)
            groups = [one.groups for one in sorted(search.population, key=lambda one: -one.accuracy)[:5]]
        return trained_anew(search, groups, data, inside, outside, epochs, seed)
    search.fit(*inside, validation_data=outside, verbose=0)
    errors = [error(search.load(one), data) for one in search.population]
    return {
        "error": float(np.mean(errors)),
        "best": min(errors),
        "architectures": [one.groups for one in search.population],
    }


def trained_anew(search, architectures, data, inside, outside, epochs, seed):
    """Mean test error of the five that are best on validation data."""
    found = []
    for i, groups in enumerate(architectures):
        model = search.fresh_network(groups, seed=100 * seed + i)
        model.fit(*inside, batch_size=64, epochs=epochs, verbose=0)
        accuracy = model.evaluate(*outside, batch_size=500, verbose=0, return_dict=True)["accuracy"]
        found.append((-accuracy, error(model, data), groups))
    found.sort()
    return {"error": float(np.mean([e for _, e, _ in found[:5]])), "architectures": [g for *_, g in found[:5]]}


def report(options):
    trials = Trials(options.resume)
    given = json.loads(Path(f"{options.resume}.settings").read_text())
    lines = [
        f"# Rotated MNIST, protocol {options.protocol} (thesis Table {'4' if options.protocol == 'd' else '3'})",
        "",
        f"`python benchmarks/equivariance/rotmnist.py --protocol {options.protocol} {given}`",
        "",
        f"{circumstances()} Test error in %, mean ± standard deviation over the seeds; published: at the full budget.",
        "",
        "| method | test error | seeds | published |",
        "|---|---|---|---|",
    ]
    groups = trials.grouped("method")
    for method in METHODS[options.protocol]:
        if rows := groups.get((method,)):
            published = PUBLISHED[options.protocol].get(method, "-")
            lines.append(f"| {method} | {spread([row['error'] for row in rows], 2)} | {len(rows)} | {published} |")
    if rows := groups.get(("EquiNAS_D",)):
        lines += [
            "",
            "Shares of the groups in what EquiNAS_D found, mean over the seeds:",
            "",
            f"| layer | {' | '.join(SIX)} |",
        ]
        lines.append("|---|" + "---|" * len(SIX))
        for layer in rows[0]["mixtures"]:
            shares = [np.mean([row["mixtures"][layer][group] for row in rows]) for group in SIX]
            lines.append(f"| {layer} | {' | '.join(f'{share:.3f}' for share in shares)} |")
    (RESULTS / f"equivariance_rotmnist_{options.protocol}{options.suffix}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=list(METHODS), default="d")
    parser.add_argument("--data-dir")
    parser.add_argument("--budget", type=float, default=1.0, help="factor of epochs, generations and random networks")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the fields")
    parser.add_argument("--train", type=int, default=12000)
    parser.add_argument("--test", type=int, default=50000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--resume", default="rotmnist.jsonl")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--suffix", default="", help="of the name of the table")
    options = parser.parse_args()
    if not options.report:
        data = datasets.load("rotated_mnist", data_dir=options.data_dir)
        cut = {"x_train": options.train, "y_train": options.train, "x_test": options.test, "y_test": options.test}
        data = dataclasses.replace(data, **{name: getattr(data, name)[:count] for name, count in cut.items()})
        mean, deviation = data.x_train.mean(), data.x_train.std()
        data = dataclasses.replace(
            data, x_train=(data.x_train - mean) / deviation, x_test=(data.x_test - mean) / deviation
        )
        names = ("budget", "width", "train", "test", "seeds")
        given = " ".join(f"--{name} {getattr(options, name)}" for name in names)
        Path(f"{options.resume}.settings").write_text(json.dumps(given))
        trials = Trials(options.resume)
        for seed in range(1, options.seeds + 1):
            for method in options.methods or METHODS[options.protocol]:
                key = {"protocol": options.protocol, "method": method, "seed": seed}
                trials.run(key, partial(trial, options, data, method, seed))
    report(options)


if __name__ == "__main__":
    main()
