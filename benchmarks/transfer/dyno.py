"""Adapt a trained VGG-11 to another task: static, DYNO, surgical fine-tuning, and both (thesis chapter 7, Figure 35).

    python benchmarks/transfer/dyno.py --task cifar --data-dir DATA --seeds 3 --resume cifar.jsonl
    python benchmarks/transfer/dyno.py --task mnist --data-dir DATA --seeds 3 --resume mnist.jsonl
    python benchmarks/transfer/dyno.py --report cifar.jsonl mnist.jsonl

`cifar`: CIFAR-10, classes 0 to 4, then 5 to 9. `mnist`: MNIST, then rotated MNIST (12000 images for training, each turned by
a random angle). A VGG-11 of a quarter of the standard widths is trained on the first task, gets a new classifier, and is
trained on the second for the same number of steps by each method: batch 64, Adam 3e-4 with weight decay 1e-3, DYNO with
δ = 0.03, ε = 0.01, a look after every 50 steps, 100 candidates a unit; Auto-RGN measured every 50 steps on 3 batches.
`DYNO, φ* = 1` takes the effective dimension before the change of data for 1, as the authors' code does; `DYNO` measures it on
the first samples of the second task. The table and the plot go to `benchmarks/results/transfer.*`.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
from scipy.ndimage import rotate
from trials import Trials, circumstances, spread

from keras_struct import AutoRGN, applications, datasets, transfer
from keras_struct.statistics import flops
from keras_struct.strategies import Dyno

BATCH, RATE, DECAY, EVERY = 64, 3e-4, 1e-3, 50
METHODS = ["static", "DYNO", "DYNO, φ* = 1", "SFT", "DYNO+SFT", "DYNO+SFT, φ* = 1"]
RESULTS = Path(__file__).parent.parent / "results"
TITLES = {"cifar": "CIFAR-10, classes 0-4 to 5-9", "mnist": "MNIST to rotated MNIST"}


def tasks(name, data_dir, test):
    """Training and test data of the first and of the second task."""
    data = datasets.load("cifar10" if name == "cifar" else "mnist", data_dir=data_dir)
    if name == "cifar":
        return [_classes(data, range(5), test), _classes(data, range(5, 10), test)]
    upright = [np.pad(x[..., None], ((0, 0), (2, 2), (2, 2), (0, 0))) for x in (data.x_train, data.x_test[:test])]
    turned = [_rotated(x, seed) for seed, x in enumerate((upright[0][-12000:], upright[1]))]
    labels = [data.y_train, data.y_test[:test]]
    return [
        (upright[0][:-12000], labels[0][:-12000], upright[1], labels[1]),
        (turned[0], labels[0][-12000:], turned[1], labels[1]),
    ]


def _classes(data, wanted, test):
    train, held = np.isin(data.y_train, wanted), np.isin(data.y_test, wanted)
    x, y = data.x_test[held][:test], data.y_test[held][:test]
    return data.x_train[train], data.y_train[train] - wanted[0], x, y - wanted[0]


def _rotated(images, seed):
    angles = np.random.default_rng(seed).uniform(0, 360, len(images))
    return np.stack([rotate(x, a, reshape=False, order=1) for x, a in zip(images, angles, strict=True)])


def compiled(model, strategy=None):
    optimizer = keras.optimizers.Adam(RATE, weight_decay=DECAY)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy)
    return model


def steps_of(data, steps, seed):
    """Indices of the samples of so many batches, shuffled again in each epoch."""
    rng, count = np.random.default_rng(seed), len(data[0])
    order = np.concatenate([rng.permutation(count) for _ in range(-(-steps * BATCH // count))])
    return order[: steps * BATCH]


def train(model, data, steps, seed, callbacks=()):
    chosen = steps_of(data, steps, seed)
    model.fit(data[0][chosen], data[1][chosen], batch_size=BATCH, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def accuracy(model, data):
    return float(model.evaluate(data[2], data[3], batch_size=500, verbose=0, return_dict=True)["accuracy"])


class Cost(keras.callbacks.Callback):
    """Operations of a forward pass, from step to step."""

    def __init__(self):
        super().__init__()
        self.course = []

    def on_train_begin(self, logs=None):
        self.course = [[0, flops(self.model)]]

    def on_structure_change(self, event, logs=None):
        if self.course[-1][0] != event.step:
            self.course.append([event.step, None])
        self.course[-1][1] = flops(self.model)


def pretrained(options, data, seed):
    keras.utils.set_random_seed(seed)
    shape, count = data[0].shape[1:], int(data[1].max()) + 1
    model = compiled(applications.VGG11(input_shape=shape, num_classes=count, width=options.width))
    return train(model, data, options.pretraining, seed)


def adapted(options, source, data, method, seed):
    """What came of one method."""
    keras.utils.set_random_seed(seed)
    model = transfer(source, num_classes=int(data[1].max()) + 1)
    before = dict(model.structure.axes)
    strategy = None
    if "DYNO" in method:
        start = 1.0 if "φ* = 1" in method else None
        strategy = Dyno(every=EVERY, max_units=options.max_units, seed=seed, start=start)
    compiled(model, strategy)
    cost, callbacks = Cost(), []
    if "SFT" in method:
        callbacks = [AutoRGN(data[0], data[1], batch_size=BATCH, batches=3, every=EVERY, seed=seed)]
    start = time.perf_counter()
    train(model, data, options.steps, seed, [*callbacks, cost])
    seconds = time.perf_counter() - start
    return {
        "accuracy": accuracy(model, data),
        "flops": flops(model),
        "parameters": model.count_params(),
        "before": before,
        "course": cost.course,
        "log": [[e.step, e.axis, e.before, e.after] for e in model.structure_log],
        "training": seconds,
    }


def turnover(row, axis, sign):
    """Units grown (1) or pruned (-1) on an axis, relative to its width before."""
    changes = [sign * (after - before) for _, name, before, after in row["log"] if name == axis]
    return sum(change for change in changes if change > 0) / row["before"][axis]


def report(files):
    rows = [row for file in files for row in Trials(file).rows]
    settings = json.loads(Path(f"{files[0]}.settings").read_text())
    lines = [
        "# Transfer of a trained VGG-11 (thesis Figure 35)",
        "",
        *(f"`python benchmarks/transfer/dyno.py --task {task} {settings}`  " for task in TITLES),
        "",
        f"{circumstances()} Mean ± standard deviation over the seeds. FLOPs of a forward pass and parameters relative to the "
        "network before the transfer; units grown and pruned relative to the widths before it. All methods make the same number "
        "of steps.",
    ]
    for task, title in TITLES.items():
        mine = [row for row in rows if row["key"]["task"] == task]
        lines += ["", f"## {title}", ""]
        lines += ["| method | test accuracy | FLOPs | parameters | grown | pruned | events | s |", "|---|" + "---|" * 7]
        static = next(row for row in mine if row["key"]["method"] == "static")
        for method in METHODS:
            found = [row for row in mine if row["key"]["method"] == method]
            width = sum(static["before"].values())
            moved = [
                [
                    sum(turnover(row, axis, sign) * count for axis, count in row["before"].items()) / width
                    for row in found
                ]
                for sign in (1, -1)
            ]
            lines.append(
                f"| {method} | {spread([row['accuracy'] for row in found], 4)} "
                f"| {spread([row['flops'] / static['flops'] for row in found], 2)} "
                f"| {spread([row['parameters'] / static['parameters'] for row in found], 2)} "
                f"| {np.mean(moved[0]):.2f} | {np.mean(moved[1]):.2f} | {np.mean([len(row['log']) for row in found]):.0f} "
                f"| {np.mean([row['training'] for row in found]):.0f} |"
            )
        axes = list(static["before"])
        lines += [
            "",
            "Units grown and pruned, by layer:",
            "",
            f"| method | | {' | '.join(axes)} |",
            "|---|---|" + "---|" * len(axes),
        ]
        for method in (name for name in METHODS if "DYNO" in name):
            found = [row for row in mine if row["key"]["method"] == method]
            for what, sign in (("grown", 1), ("pruned", -1)):
                shares = [np.mean([turnover(row, axis, sign) for row in found]) for axis in axes]
                lines.append(f"| {method} | {what} | {' | '.join(f'{share:.2f}' for share in shares)} |")
    (RESULTS / "transfer.md").write_text("\n".join(lines) + "\n")
    plot(rows, RESULTS / "transfer.png")
    print("\n".join(lines))


def plot(rows, path):
    """The four columns of Figure 35, and a row of plots for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(TITLES), 4, figsize=(18, 4 * len(TITLES)), layout="constrained", squeeze=False)
    colors = dict(zip(METHODS, plt.get_cmap("tab10").colors, strict=False))
    for panel, (task, title) in zip(panels, TITLES.items(), strict=True):
        mine = [row for row in rows if row["key"]["task"] == task]
        for method in METHODS:
            found = [row for row in mine if row["key"]["method"] == method]
            cost, score = ([row[key] for row in found] for key in ("flops", "accuracy"))
            spreads = {"xerr": np.std(cost) / 1e6, "yerr": np.std(score)}
            panel[0].errorbar(
                np.mean(cost) / 1e6, np.mean(score), fmt="o", color=colors[method], label=method, **spreads
            )
            for row in found:
                steps, course = zip(*row["course"], strict=True)
                end = max(point[0] for other in mine for point in other["course"])
                panel[1].step(
                    (*steps, end), np.array([*course, course[-1]]) / 1e6, where="post", color=colors[method], alpha=0.7
                )
        panel[0].set(title=f"{title}", xlabel="FLOPs of the result / million", ylabel="test accuracy")
        panel[0].legend(fontsize=7)
        panel[1].set(title="inference cost in training", xlabel="step", ylabel="FLOPs / million")
        for place, kind in ((2, "DYNO"), (3, "DYNO+SFT")):
            for offset, method in ((-0.2, kind), (0.2, f"{kind}, φ* = 1")):
                _bars(panel[place], [row for row in mine if row["key"]["method"] == method], offset, colors[method])
            panel[place].set(title=f"{kind}: grown (up), pruned (down)", ylabel="relative to the width before")
            panel[place].legend(fontsize=7)
    figure.savefig(path, dpi=80)


def _bars(panel, rows, offset, color):
    axes = list(rows[0]["before"])
    places = np.arange(len(axes)) + offset
    for sign in (1, -1):
        shares = np.array([[turnover(row, axis, sign) for axis in axes] for row in rows])
        label = rows[0]["key"]["method"] if sign == 1 else None
        panel.bar(
            places, sign * shares.mean(0), 0.4, yerr=shares.std(0), color=color, alpha=0.8, label=label, capsize=2
        )
    panel.axhline(0, color="black", linewidth=0.5)
    panel.set_xticks(np.arange(len(axes)), axes, rotation=60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TITLES))
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--pretraining", type=int, default=2000, help="steps on the first task")
    parser.add_argument("--steps", type=int, default=1000, help="on the second task")
    parser.add_argument("--max-units", type=int, default=1536, help="largest width of an axis")
    parser.add_argument("--test", type=int, default=10000, help="test images")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--resume", default="transfer.jsonl")
    parser.add_argument("--report", nargs="*", help="files of trials: write the table and the plot")
    options = parser.parse_args()
    if options.report:
        report(options.report)
        return
    trials = Trials(options.resume)
    names = ("seeds", "width", "pretraining", "steps", "max_units", "test")
    given = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names)
    Path(f"{options.resume}.settings").write_text(json.dumps(given))
    first, second = tasks(options.task, options.data_dir, options.test)
    for seed in range(1, options.seeds + 1):
        source = pretrained(options, first, seed)
        print(f"seed {seed}: {accuracy(source, first):.4f} on the first task", file=sys.stderr, flush=True)
        for method in options.methods:
            key = {"task": options.task, "method": method, "seed": seed}
            trials.run(key, partial(adapted, options, source, second, method, seed))


if __name__ == "__main__":
    main()
