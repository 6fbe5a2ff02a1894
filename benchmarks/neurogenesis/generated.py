"""Width against the number of independent features, on generated data (thesis section 6.3.2, Figure 28).

    python benchmarks/neurogenesis/generated.py --seeds 5 --resume generated.jsonl

MLPs with 1 or 2 hidden layers of 4 units at first and 512 at most; Adam 3e-4, batch 128, buffer of 1024 inputs (Table 8),
trained until the training loss has not improved for `--patience` epochs. With 4 units the printed thresholds leave no room
for a whole unit (`floor(4 * 0.03) = 0`), so NORTH* rounds up here, as the authors' code does everywhere.
The table and a plot go to `benchmarks/results/neurogenesis_generated.*`.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from trials import DYNAMIC, Trials, circumstances, grown, spread, strategy

from keras_struct import StructuralModel, datasets
from keras_struct.activations import relu1
from keras_struct.layers import GrowableDense

START, LARGEST, BATCH, BUFFER, RATE = 4, 512, 128, 1024, 3e-4
RESULTS = Path(__file__).parent.parent / "results"


def trial(name, layers, features, seed, epochs, patience):
    data = datasets.independent_features(64, features, seed=seed)
    keras.utils.set_random_seed(seed)
    hidden = [GrowableDense(START, activation=relu1, name=f"layer{i + 1}") for i in range(layers)]
    model = StructuralModel([keras.Input((64,)), *hidden, keras.layers.Dense(2, activation="softmax")])
    chosen = strategy(f"{name}+ceil" if name.startswith("North") else name, LARGEST, seed)
    probe = BUFFER if chosen.needs_inputs else None
    optimizer = keras.optimizers.Adam(RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=chosen, probe=probe)
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=patience, min_delta=1e-3)
    history = model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[stop])
    accuracy = model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]
    return {"accuracy": float(accuracy), "epochs_done": len(history.history["loss"]), **grown(model)}


def report(trials, options):
    lines = [
        "# Width against independent features, generated data (Figure 28)",
        "",
        f"`python benchmarks/neurogenesis/generated.py --seeds {options.seeds} --epochs {options.epochs} --features "
        f"{' '.join(map(str, options.features))}`",
        "",
        f"{circumstances()} Mean ± standard deviation over the seeds 1 to {options.seeds}. NORTH* rounds up (see the script).",
        "",
        "| strategy | hidden layers | independent features | layer 1 | layer 2 | test accuracy | epochs |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, layers, features), rows in trials.grouped("name", "layers", "features").items():
        widths = [spread([row["widths"][f"layer{i}"] for row in rows], 0) for i in range(1, layers + 1)]
        accuracy = spread([row["accuracy"] for row in rows])
        epochs = spread([row["epochs_done"] for row in rows], 0)
        columns = [name, layers, features, widths[0], widths[1] if layers == 2 else "", accuracy, epochs]
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


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
    parser.add_argument("--resume", default="generated.jsonl", help="file with the trials that are done")
    options = parser.parse_args()
    trials = Trials(options.resume)
    for seed in range(1, options.seeds + 1):
        for layers in (1, 2):
            for name in options.strategies:
                for features in options.features:
                    key = {"name": name, "layers": layers, "features": features, "seed": seed, "epochs": options.epochs}
                    case = (name, layers, features, seed, options.epochs, options.patience)
                    trials.run(key, lambda case=case: trial(*case))
    text = report(trials, options)
    (RESULTS / "neurogenesis_generated.md").write_text(text + "\n")
    plot(trials, RESULTS / "neurogenesis_generated.png")
    print(text)


if __name__ == "__main__":
    main()
