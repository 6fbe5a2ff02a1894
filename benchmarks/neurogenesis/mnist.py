"""Neurogenesis on MNIST: dynamic and preset growth of an MLP against static ones (thesis section 6.3.3, Figures 29 and 30).

    python benchmarks/neurogenesis/mnist.py --data-dir DATA --seeds 5 --resume mnist.jsonl

784-64-64-10 with the modified ReLU; Adam 3e-4, batch 512, 20 epochs, at most 784 units a layer, buffer of 1568 inputs
(Table 8). Dynamic strategies look after every step. Preset schedules go from 64 to 256 units a layer within three quarters
of the training, by one unit at regular intervals (linear) or in 8 lots (batched). Static: 64, 256 and 784 units a layer.
The table and a plot go to `benchmarks/results/neurogenesis_mnist.*`. A run that is broken off goes on with `--resume`.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from trials import DYNAMIC, Trials, circumstances, grown, preset, spread, strategy

from keras_struct import StructuralModel, datasets
from keras_struct.activations import relu1
from keras_struct.layers import GrowableDense

START, MEDIUM, LARGEST, BATCH, BUFFER, RATE = 64, 256, 784, 512, 1568, 3e-4
STATIC = {"Small Static": START, "Medium Static": MEDIUM, "Big Static": LARGEST}
RESULTS = Path(__file__).parent.parent / "results"


def build(units):
    hidden = [GrowableDense(units, activation=relu1, name=f"layer{i}") for i in (1, 2)]
    return StructuralModel([keras.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")])


def trial(data, name, schedule, seed, epochs):
    """Train once; returns accuracy and structure."""
    keras.utils.set_random_seed(seed)
    model = build(STATIC.get(name, START))
    steps = epochs * -(-len(data.x_train) // BATCH)
    if name in STATIC:
        chosen = None
    elif schedule == "dynamic":
        chosen = strategy(name, LARGEST, seed)
    else:
        chosen = preset(name, schedule, MEDIUM - START, steps * 3 // 4, seed, MEDIUM)
    probe = BUFFER if chosen is not None and chosen.needs_inputs else None
    optimizer = keras.optimizers.Adam(RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=chosen, probe=probe)
    x, x_test = (part.reshape(len(part), -1) for part in (data.x_train, data.x_test))
    model.fit(x, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0)
    accuracy = model.evaluate(x_test, data.y_test, batch_size=2048, verbose=0, return_dict=True)["accuracy"]
    return {"accuracy": float(accuracy), "steps": steps, **grown(model)}


def report(trials, options):
    lines = [
        "# Neurogenesis on MNIST (Figures 29 and 30)",
        "",
        f"`python benchmarks/neurogenesis/mnist.py --seeds {options.seeds} --epochs {options.epochs}`",
        "",
        f"{circumstances()} Mean ± standard deviation over the seeds 1 to {options.seeds}.",
        "",
        "| strategy | schedule | layer 1 | layer 2 | test accuracy | parameters | events | trials |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, schedule), rows in trials.grouped("name", "schedule").items():
        first, second = (spread([row["widths"][f"layer{i}"] for row in rows], 0) for i in (1, 2))
        numbers = [spread([row["accuracy"] for row in rows], 4)]
        numbers += [f"{np.mean([row['parameters'] for row in rows]):,.0f}", spread([row["events"] for row in rows], 0)]
        lines.append(f"| {name} | {schedule} | {first} | {second} | {' | '.join(numbers)} | {len(rows)} |")
    return "\n".join(lines)


def plot(trials, path):
    """Accuracy against size, and widths over training."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    front, *widths = figure.subplots(1, 3)
    for n, ((name, schedule), rows) in enumerate(trials.grouped("name", "schedule").items()):
        style = {"color": f"C{n % 10}", "label": name if schedule in ("dynamic", "static") else None}
        marker = {"dynamic": "o", "static": "s", "linear": "^", "batched": "v"}[schedule]
        x, y = [row["parameters"] for row in rows], [row["accuracy"] for row in rows]
        front.errorbar(np.mean(x), np.mean(y), np.std(y), np.std(x), fmt=marker, **style)
        for axes, layer in zip(widths, ("layer1", "layer2"), strict=True):
            if schedule == "dynamic":
                for row in rows:
                    points = [(0, START), *((s, w) for s, axis, w in row["log"] if axis == layer)]
                    points.append((row["steps"], points[-1][1]))
                    axes.step(*zip(*points, strict=True), where="post", color=style["color"], alpha=0.6)
                axes.set(title=f"units of {layer}", xlabel="step")
    front.set(
        xlabel="parameters",
        ylabel="test accuracy",
        xscale="log",
        title="circle dynamic, square static, triangle preset",
    )
    front.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--resume", default="mnist.jsonl", help="file with the trials that are done")
    parser.add_argument(
        "--strategies", nargs="*", default=DYNAMIC, help="NAME, or NAME@FACTOR for another threshold factor"
    )
    parser.add_argument("--schedules", nargs="*", default=["static", "dynamic", "batched", "linear"])
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    trials = Trials(options.resume)
    if not options.report_only:
        data = datasets.load("mnist", data_dir=options.data_dir)
        for schedule in options.schedules:
            for name in STATIC if schedule == "static" else options.strategies:
                for seed in range(1, options.seeds + 1):
                    key = {"name": name, "schedule": schedule, "seed": seed, "epochs": options.epochs}
                    trials.run(key, lambda name=name, s=schedule, seed=seed: trial(data, name, s, seed, options.epochs))
    text = report(trials, options)
    (RESULTS / "neurogenesis_mnist.md").write_text(text + "\n")
    plot(trials, RESULTS / "neurogenesis_mnist.png")
    print(text)


if __name__ == "__main__":
    main()
