"""Width against the number of independent features, on generated data (thesis section 6.3.2, Figure 28).

    python benchmarks/neurogenesis/generated.py --seeds 5 --resume generated.jsonl
    python benchmarks/neurogenesis/generated.py --seeds 3 --noise-of sum each_feature one_feature labels --resume noise.jsonl

MLPs with 1 or 2 hidden layers of 4 units at first and 512 at most; Adam 3e-4, batch 128, buffer of 1024 inputs (Table 8),
trained until the training loss has not improved for `--patience` epochs. With 4 units the printed thresholds leave no room
for a whole unit (`floor(4 * 0.03) = 0`), so NORTH* rounds up here, as the authors' code does everywhere.
The table and a plot go to `benchmarks/results/neurogenesis_generated.*`, with another `--noise-of` the table to
`neurogenesis_generated_noise.md`. `Static` is a network of 64 units a layer that does not grow. "Possible" is the share of the
test samples that the sum of their features, without noise, tells: no network can know more.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import keras
import numpy as np
from trials import DYNAMIC, Trials, circumstances, grown, spread, strategy

from keras_struct import StructuralModel, datasets
from keras_struct.activations import relu1
from keras_struct.layers import GrowableDense

STATIC = 64
START, LARGEST, BATCH, BUFFER, RATE = 4, 512, 128, 1024, 3e-4
RESULTS = Path(__file__).parent.parent / "results"


def trial(name, layers, features, seed, epochs, patience, noise_of):
    data = datasets.independent_features(64, features, seed=seed, noise_of=noise_of)
    keras.utils.set_random_seed(seed)
    start = STATIC if name == "Static" else START
    hidden = [GrowableDense(start, activation=relu1, name=f"layer{i + 1}") for i in range(layers)]
    model = StructuralModel([keras.Input((64,)), *hidden, keras.layers.Dense(2, activation="softmax")])
    chosen = None
    if name != "Static":
        chosen = strategy(f"{name}+ceil" if name.startswith("North") else name, LARGEST, seed)
    probe = BUFFER if chosen is not None and chosen.needs_inputs else None
    optimizer = keras.optimizers.Adam(RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=chosen, probe=probe)
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=patience, min_delta=1e-3)
    history = model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[stop])
    accuracy = model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]
    told = (data.x_test.sum(axis=1) > data.x_train.sum(axis=1).mean()) == data.y_test
    return {
        "accuracy": float(accuracy),
        "possible": float(told.mean()),
        "epochs_done": len(history.history["loss"]),
        **grown(model),
    }


def report(trials, options):
    lines = [
        "# Width against independent features, generated data (Figure 28)",
        "",
        f"`python benchmarks/neurogenesis/generated.py --seeds {options.seeds} --epochs {options.epochs} --features "
        f"{' '.join(map(str, options.features))}{_further(options)}`",
        "",
        f"{circumstances()} Mean ± standard deviation over the seeds 1 to {options.seeds}. NORTH* rounds up (see the script).",
        "",
        "| strategy | hidden layers | noise of | independent features | layer 1 | layer 2 | test accuracy | possible | epochs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, layers, features, noise_of), rows in trials.grouped("name", "layers", "features", "noise_of").items():
        widths = [spread([row["widths"][f"layer{i}"] for row in rows], 0) for i in range(1, layers + 1)]
        accuracy = spread([row["accuracy"] for row in rows])
        epochs = spread([row["epochs_done"] for row in rows], 0)
        possible = spread([row["possible"] for row in rows])
        second = widths[1] if layers == 2 else ""
        columns = [name, layers, noise_of.replace("_", " "), features, widths[0], second, accuracy, possible, epochs]
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def _further(options):
    """Arguments that are not as they are by default."""
    found = ""
    for name, usual in (("layers", [1, 2]), ("strategies", DYNAMIC), ("noise_of", ["sum"])):
        if getattr(options, name) != usual:
            found += f" --{name.replace('_', '-')} {' '.join(map(str, getattr(options, name)))}"
    return found


def plot(trials, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [(1, "layer1"), (2, "layer1"), (2, "layer2")]
    for axes, (layers, layer) in zip(figure.subplots(1, 3), panels, strict=True):
        for name, rows in trials.grouped("name").items():
            chosen = [row for row in rows if row["key"]["layers"] == layers]
            features = sorted({row["key"]["features"] for row in chosen})
            widths = [[r["widths"][layer] for r in chosen if r["key"]["features"] == f] for f in features]
            axes.errorbar(
                features, [np.mean(w) for w in widths], [np.std(w) for w in widths], label=name[0], marker="."
            )
        axes.set(title=f"{layers} hidden, {layer}", xlabel="independent features", yscale="log")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--features", nargs="*", type=int, default=[8, 16, 24, 32, 40, 48, 56, 64])
    parser.add_argument("--strategies", nargs="*", default=DYNAMIC)
    parser.add_argument("--layers", nargs="*", type=int, default=[1, 2], help="numbers of hidden layers")
    parser.add_argument("--noise-of", nargs="*", default=["sum"], help="as datasets.independent_features")
    parser.add_argument("--resume", default="generated.jsonl", help="file with the trials that are done")
    options = parser.parse_args()
    trials = Trials(options.resume)
    for seed in range(1, options.seeds + 1):
        for layers, noise_of, name, features in product(
            options.layers, options.noise_of, options.strategies, options.features
        ):
            key = {"name": name, "layers": layers, "features": features, "seed": seed, "epochs": options.epochs}
            case = (name, layers, features, seed, options.epochs, options.patience, noise_of)
            trials.run({**key, "noise_of": noise_of}, partial(trial, *case))
    text = report(trials, options)
    others = options.noise_of != ["sum"]
    (RESULTS / f"neurogenesis_generated{'_noise' * others}.md").write_text(text + "\n")
    if not others:
        plot(trials, RESULTS / "neurogenesis_generated.png")
    print(text)


if __name__ == "__main__":
    main()
