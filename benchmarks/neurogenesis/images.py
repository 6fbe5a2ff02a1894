"""Neurogenesis of VGG-11 and WideResNet-28 on CIFAR (thesis section 6.3.4, Figures 31 and 32).

    python benchmarks/neurogenesis/images.py --network vgg --data cifar10 --data-dir DATA --epochs 100 --resume vgg.jsonl

Networks start at a quarter of the standard widths; VGG-11 may grow to twice, WideResNet-28 to six times the standard. Batch
128, buffer of 128 inputs, Adam 3e-4 (VGG) or 3e-3 (WRN), the modified ReLU, no augmentation. NORTH* with each threshold
factor of `--gammas`; channels tied by residual connections grow together and are measured on their first layer, with the
residual connections off. Static networks: Small (the start), Medium (the standard), Big (the limit). `--steps-per-epoch`
shortens epochs. The table and a plot go to `benchmarks/results/neurogenesis_<network>_<data>.*`. What a step costs is
measured by `step_cost.py`.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from trials import Trials, circumstances, grown, spread, strategy

from keras_struct import applications, datasets
from keras_struct.core.model.parts import parts_of
from keras_struct.triggers import EffectiveDimension, WeightEffectiveDimension

BATCH, BUFFER = 128, 128
NETWORKS = {
    "vgg": {"build": applications.VGG11, "rate": 3e-4, "largest": 8},
    "wrn": {"build": applications.WideResNet28, "rate": 3e-3, "largest": 24},
}
STATIC = {"Small Static": 0.25, "Medium Static": 1.0}
RESULTS = Path(__file__).parent.parent / "results"


def choose(name, gamma, seed, model, times):
    """A strategy that lets each axis grow to some times its width at the start."""
    kind = WeightEffectiveDimension if name == "NorthWeight" else EffectiveDimension
    chosen = strategy(name, None, seed, trigger=None if gamma is None else kind(gamma=gamma))
    for axis, width in model.structure.axes.items():
        held = model.get_layer(axis)
        setattr(held, "max_filters" if hasattr(held, "max_filters") else "max_units", times * width)
    return chosen


def trial(data, options, name, gamma, seed):
    keras.utils.set_random_seed(seed)
    settings = NETWORKS[options.network]
    model = settings["build"](input_shape=data.input_shape, num_classes=data.num_classes, width=STATIC.get(name, 0.25))
    chosen = None if name in STATIC else choose(name, gamma, seed, model, settings["largest"])
    probe = BUFFER if chosen is not None and chosen.needs_inputs else None
    optimizer = keras.optimizers.Adam(settings["rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=chosen, probe=probe)
    start = time.perf_counter()
    rng, count = np.random.default_rng(seed), options.steps_per_epoch * BATCH if options.steps_per_epoch else None
    history = []
    for epoch in range(options.epochs):
        x, y = data.x_train, data.y_train
        if count:
            picked = rng.permutation(len(x))[:count]
            x, y = x[picked], y[picked]
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        test = model.evaluate(data.x_test[: options.test], data.y_test[: options.test], verbose=0, return_dict=True)
        history.append([epoch + 1, float(test["accuracy"]), model.count_params()])
    seconds = time.perf_counter() - start
    return {
        "accuracy": history[-1][1],
        "history": history,
        "steps": parts_of(model).progress.step,
        "time": seconds,
        **grown(model),
    }


def report(trials, options):
    lines = [
        f"# {options.network.upper()} on {options.data} (Figures 31 and 32)",
        "",
        f"`python benchmarks/neurogenesis/images.py --network {options.network} --data {options.data} --epochs "
        f"{options.epochs} --steps-per-epoch {options.steps_per_epoch} --seeds {options.seeds}`",
        "",
        f"{circumstances()} Start at 1/4 of the standard widths. Test accuracy on {options.test or 'all'} images.",
        "",
        "| strategy | γ | test accuracy | parameters | events | s | widths |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, gamma), rows in trials.grouped("name", "gamma").items():
        widths = " ".join(f"{np.mean([row['widths'][axis] for row in rows]):.0f}" for axis in rows[0]["widths"])
        numbers = [spread([row["accuracy"] for row in rows], 4), f"{np.mean([row['parameters'] for row in rows]):,.0f}"]
        numbers += [spread([row["events"] for row in rows], 0), spread([row["time"] for row in rows], 0)]
        lines.append(f"| {name} | {gamma or ''} | {' | '.join(numbers)} | {widths} |")
    return "\n".join(lines)


def plot(trials, path):
    """Accuracy against size, and widths of each layer over training."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = {k: rows[0] for k, rows in trials.grouped("name", "gamma").items() if k[0] not in STATIC}
    figure = Figure(figsize=(4 * (len(groups) + 1), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    front, *others = np.atleast_1d(figure.subplots(1, len(groups) + 1))
    for (name, gamma), rows in trials.grouped("name", "gamma").items():
        front.scatter([r["parameters"] for r in rows], [r["accuracy"] for r in rows], label=f"{name} {gamma or ''}")
    front.set(xlabel="parameters", ylabel="test accuracy", xscale="log")
    front.legend(fontsize=6)
    for axes, ((name, gamma), row) in zip(others, groups.items(), strict=True):
        for n, axis in enumerate(row["widths"]):
            points = [(s, w) for s, a, w in row["log"] if a == axis]
            points = [*points, (row["steps"], row["widths"][axis])]
            axes.step(*zip(*points, strict=True), where="post", label=axis, color=f"C{n % 10}")
        axes.set(title=f"{name} {gamma or ''}", xlabel="step", yscale="log")
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="vgg")
    parser.add_argument("--data", choices=["cifar10", "cifar100"], default="cifar10")
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps-per-epoch", type=int, default=0, help="0: the whole training split")
    parser.add_argument("--test", type=int, default=None, help="how many test images to use")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gammas", nargs="*", type=float, default=[0.9, 0.97, 0.99])
    parser.add_argument("--strategies", nargs="*", default=["NorthSelect", "NorthRandom", "NorthWeight", "GradMax"])
    parser.add_argument("--resume", default="images.jsonl", help="file with the trials that are done")
    options = parser.parse_args()
    data, trials = datasets.load(options.data, data_dir=options.data_dir), Trials(options.resume)
    for seed in range(1, options.seeds + 1):
        for name in [*STATIC, *options.strategies]:
            gammas = [0.99] if name == "NorthWeight" else options.gammas if name.startswith("North") else [None]
            for gamma in gammas:
                key = {"name": name, "gamma": gamma, "seed": seed, "epochs": options.epochs}
                trials.run(key, lambda name=name, gamma=gamma, seed=seed: trial(data, options, name, gamma, seed))
    text = report(trials, options)
    (RESULTS / f"neurogenesis_{options.network}_{options.data}.md").write_text(text + "\n")
    plot(trials, RESULTS / f"neurogenesis_{options.network}_{options.data}.png")
    print(text)


if __name__ == "__main__":
    main()
