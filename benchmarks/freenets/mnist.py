"""FreeNets on MNIST: networks without layers that evolve, against one hidden layer of equal parameters (Table 2, Figures 4 to 7).

    python benchmarks/freenets/mnist.py --data-dir DATA --seeds 5 --resume freenets.jsonl

Encoder, k neurons, softmax decoder; Adam 1e-3, batch 128, 20 epochs on all 60000 training images, pixels in [0, 1]; Xavier
weights, biases uniform in ±0.05. FreeEvolve looks at all training images once an epoch, after two epochs. The paper gives neither
its ε (0.25 for its Figure 7) nor optimizer, epochs or what its accuracies were measured on: here on the test images, after the
last epoch and in the best one. The dense network has one hidden layer of as many neurons as come nearest to the number of
parameters that the FreeNet starts with. Differences are paired by seed, with 95 % intervals of Student's t.

`--data fashion_mnist` and `--data emnist` (letters by default, the paper's "truncated EMNIST" is defined nowhere) are the other
rows of the table. Table and plots go to `benchmarks/results/freenets_DATA.*`; a run that is broken off goes on with `--resume`.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
from scipy import stats
from trials import Trials, circumstances, spread

from keras_struct import StructuralModel, datasets
from keras_struct.cli.freenet import dense_units
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import FreeNet
from keras_struct.strategies import FreeEvolve
from keras_struct.visualization import plot_comparison, plot_curves

NEURONS = (30, 35, 40, 45, 50, 60, 70, 80, 90, 100)
BATCH, RATE = 128, 1e-3
RESULTS = Path(__file__).parent.parent / "results"
PUBLISHED = {
    "mnist": (
        (95.63, 96.03, 96.37, 96.51, 96.65, 96.92, 97.26, 97.25, 97.40, 97.34),
        (95.74, 95.72, 96.14, 96.26, 96.54, 97.07, 97.02, 97.20, 97.23, 97.34),
    ),
    "fashion_mnist": (
        (87.59, 87.10, 87.92, 87.81, 88.07, 88.74, 88.66, 89.20, 88.95, 88.89),
        (86.94, 86.87, 87.15, 87.24, 87.50, 87.75, 87.96, 88.38, 88.14, 88.23),
    ),
    "emnist": (
        (78.77, 80.75, 81.52, 81.38, 82.58, 83.33, 84.27, 84.23, 85.29, 85.51),
        (78.55, 79.97, 80.63, 81.92, 81.70, 82.63, 84.07, 84.12, 84.60, 84.98),
    ),
}
"""Table 2: accuracies of FreeEvolve and of the fully connected network, in percent."""


def build(data, neurons, epsilon, x):
    """A compiled network; dense without `epsilon`."""
    inputs = keras.Input((x.shape[1],))
    uniform = keras.initializers.RandomUniform(-0.05, 0.05)
    if epsilon is None:
        units = dense_units(neurons, x.shape[1], data.num_classes)
        hidden, kind, extra = keras.layers.Dense(units, "relu", bias_initializer=uniform), keras.Model, {}
    else:
        hidden, kind = FreeNet(neurons, bias_initializer=uniform, name="free"), StructuralModel
        steps = -(-len(x) // BATCH)
        extra = {"strategy": FreeEvolve(epsilon, every=steps, warmup=2 * steps), "probe": x}
    outputs = keras.layers.Dense(data.num_classes, "softmax", bias_initializer=uniform)(hidden(inputs))
    model = kind(inputs, outputs)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"], steps_per_execution=67, **extra)
    return model


def trial(data, neurons, epsilon, seed, epochs):
    """Train once; returns accuracies by epoch, and the graph."""
    keras.utils.set_random_seed(seed)
    x, x_test = (part.reshape(len(part), -1) for part in (data.x_train, data.x_test))
    model = build(data, neurons, epsilon, x)
    test = {"validation_data": (x_test, data.y_test), "validation_batch_size": 2000}
    history = model.fit(x, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, **test).history
    found = {"curve": history["val_accuracy"], "train": history["accuracy"], "parameters": model.count_params()}
    if epsilon is None:
        return found
    layer, state = model.get_layer("free"), parts_of(model).runner.policy_state
    return {
        **found,
        "parameters": model.count_params() - neurons**2 - neurons * (neurons + 1) // 2,  # the mask, and what is no edge
        "edges": layer.edges,
        "depth": layer.depth,
        "history": state["history"],
    }


def rows_of(trials, neurons, epsilon):
    """Trials of all seeds."""
    found = [r for r in trials.rows if (r["key"]["neurons"], r["key"]["epsilon"]) == (neurons, epsilon)]
    return sorted(found, key=lambda row: row["key"]["seed"])


def accuracies(trials, epsilon, choose=lambda curve: curve[-1]):
    """For each number of neurons the accuracies of all seeds, in percent."""
    sizes = sorted({row["key"]["neurons"] for row in trials.rows if row["key"]["epsilon"] == epsilon})
    return {k: [100 * choose(row["curve"]) for row in rows_of(trials, k, epsilon)] for k in sizes}


def edges_left(trials, neurons, epsilon):
    return f"{np.mean([row['edges'] for row in rows_of(trials, neurons, epsilon)]):.0f}"


def difference(first, second):
    """Mean of paired differences with its 95 % interval."""
    pairs = np.subtract(first, second)
    if len(pairs) < 2:
        return f"{pairs.mean():+.2f}"
    half = stats.t.ppf(0.975, len(pairs) - 1) * pairs.std(ddof=1) / np.sqrt(len(pairs))
    return f"{pairs.mean():+.2f} ({pairs.mean() - half:+.2f} to {pairs.mean() + half:+.2f})"


def table(names, rows):
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def report(trials, options):
    published = dict(zip(NEURONS, zip(*PUBLISHED[options.data], strict=True), strict=True))
    others = [row["key"] for row in trials.rows if row["key"]["epsilon"] not in (None, options.epsilon)]
    chosen = f"--data {options.data} --seeds {options.seeds} --epochs {options.epochs} --epsilon {options.epsilon:g}"
    for name, values in (
        ("others", {key["epsilon"] for key in others}),
        ("others-neurons", {key["neurons"] for key in others}),
    ):
        chosen += f" --{name} {' '.join(f'{value:g}' for value in sorted(values))}" if values else ""
    lines = [
        f"# FreeNets on {options.data} (Table 2)",
        "",
        f"`python benchmarks/freenets/mnist.py {chosen}`",
        "",
        f"{circumstances()} Test accuracy in percent, mean ± standard deviation over {options.seeds} seeds; differences",
        "paired by seed, with 95 % intervals of Student's t. FCNN: one hidden layer of as many parameters as the FreeNet has",
        "with all edges. Published: Table 2.",
        "",
        f"After the last epoch, ε = {options.epsilon:g}:",
        "",
    ]
    free, dense = accuracies(trials, options.epsilon), accuracies(trials, None)
    rows = []
    for k in free:
        ours, theirs = published.get(k, (np.nan, np.nan))
        edges = f"{edges_left(trials, k, options.epsilon)} of {k * (k - 1) // 2}"
        rows.append([k, edges, spread(free[k], 2), f"{ours:.2f}", f"{np.mean(free[k]) - ours:+.2f}"])
        rows[-1] += [spread(dense[k], 2), f"{theirs:.2f}", difference(free[k], dense[k]), f"{ours - theirs:+.2f}"]
    names = ["neurons", "edges left", "FreeEvolve", "published", "off by", "FCNN", "published", "FreeEvolve - FCNN"]
    lines += table([*names, "published"], rows)
    lines += ["", "In the best epoch on the test images:", ""]
    free, dense = accuracies(trials, options.epsilon, max), accuracies(trials, None, max)
    rows = [[k, spread(free[k], 2), spread(dense[k], 2), difference(free[k], dense[k])] for k in free]
    lines += table(["neurons", "FreeEvolve", "FCNN", "FreeEvolve - FCNN"], rows)
    return "\n".join([*lines, *other_epsilons(trials, options.epsilon)])


def other_epsilons(trials, main):
    """A table of further ε."""
    others = {row["key"]["epsilon"] for row in trials.rows} - {None, main}
    sizes = sorted({row["key"]["neurons"] for row in trials.rows if row["key"]["epsilon"] in others})
    dense, rows = accuracies(trials, None), []
    for k in sizes:
        for epsilon in sorted({*others, main}):
            if values := accuracies(trials, epsilon).get(k):
                gap = difference(values, dense[k][: len(values)])
                rows.append([k, f"{epsilon:g}", edges_left(trials, k, epsilon), spread(values, 2), gap, len(values)])
    names = ["neurons", "ε", "edges left", "FreeEvolve", "FreeEvolve - FCNN", "seeds"]
    return ["", "Other ε, after the last epoch:", "", *table(names, rows)] if rows else []


def plot(trials, options, path):
    """Accuracy over neurons, learning curves, and edges that came and went (Figures 5, 4 and 6)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    sizes, curves, changes = figure.subplots(1, 3)
    names = {"FreeEvolve": options.epsilon, "FCNN": None}
    measured = {name: accuracies(trials, epsilon) for name, epsilon in names.items()}
    plot_comparison(measured, "neurons", "test accuracy, %", sizes)
    for number, (name, values) in enumerate(zip(names, PUBLISHED[options.data], strict=True)):
        sizes.plot(NEURONS, values, "--", color=f"C{number}", alpha=0.5, label=f"{name}, published")
    sizes.legend(frameon=False, fontsize=7)
    cases = [(f"{name}, {k} neurons", rows_of(trials, k, epsilon)) for k in (40, 90) for name, epsilon in names.items()]
    shown = {name: 100 * np.mean([row["curve"] for row in rows], axis=0) for name, rows in cases if rows}
    plot_curves(shown, "test accuracy, %", curves)
    curves.legend(frameon=False, fontsize=7)
    for k, color in ((30, "C0"), (100, "C1")):
        if rows := [row["history"] for row in rows_of(trials, k, options.epsilon)]:
            counts = np.mean([[look[2:] for look in history] for history in rows], axis=0)
            steps = [look[0] for look in rows[0]]
            changes.plot(steps, counts[:, 1], ".-", color=color, label=f"removed, {k} neurons")
            changes.plot(steps, counts[:, 0], ".--", color=color, label=f"added, {k} neurons")
    changes.set(xlabel="training step", ylabel="edges, mean over seeds")
    changes.legend(frameon=False, fontsize=7)
    changes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", default="mnist", choices=list(PUBLISHED))
    add("--data-dir")
    add("--seeds", type=int, default=5)
    add("--epochs", type=int, default=20)
    add("--neurons", type=int, nargs="*", default=NEURONS)
    add("--epsilon", type=float, default=0.25, help="of the table")
    add("--others", type=float, nargs="*", default=[], help="further ε, for a table of their own")
    add("--others-neurons", type=int, nargs="*", default=[30, 60, 100])
    add("--resume", default="freenets.jsonl", help="file with the trials that are done")
    add("--report-only", action="store_true")
    options = parser.parse_args()
    trials = Trials(options.resume)
    if not options.report_only:
        data = datasets.load(options.data, data_dir=options.data_dir)
        wanted = [
            (s, k, e) for s in range(1, options.seeds + 1) for k in options.neurons for e in (options.epsilon, None)
        ]
        seeds = range(1, options.seeds + 1)
        wanted += [(s, k, e) for e in options.others for s in seeds for k in options.others_neurons]
        for seed, k, e in wanted:
            key = {"data": data.name, "neurons": k, "epsilon": e, "seed": seed, "epochs": options.epochs}
            trials.run(key, lambda k=k, e=e, seed=seed: trial(data, k, e, seed, options.epochs))
    trials.rows = [row for row in trials.rows if row["key"]["data"].startswith(options.data)]
    text = report(trials, options)
    (RESULTS / f"freenets_{options.data}.md").write_text(text + "\n")
    plot(trials, options, RESULTS / f"freenets_{options.data}.png")
    print(text)


if __name__ == "__main__":
    main()
