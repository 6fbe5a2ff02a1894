"""Does EquiNAS_D find a symmetry that is known? MNIST turned exactly by the elements of a group (thesis Figure 12).

    python benchmarks/equivariance/discovery.py --data-dir DATA --budget 0.05 --resume discovery.jsonl
    python benchmarks/equivariance/discovery.py --resume discovery.jsonl --report

For each of C1, C2, C4, D1, D2 and D4, each image of MNIST is turned by a random element of the group, and mixtures of all six
are trained for 50 epochs (`--budget` scales them). The table shows, by the group of the data, the share of each group in the
mixtures, mean over the layers, and the share of all groups that hold a mirror, a quarter turn or a half turn, which should be
larger where the data have it. It goes to `benchmarks/results/equivariance_discovery.md`, a plot of all layers beside it.
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
from trials import Trials, circumstances

from keras_struct import datasets
from keras_struct.applications import EquivariantCNN
from keras_struct.search import EquiNASD
from keras_struct.symmetry import Group

SIX = ["C1", "C2", "C4", "D1", "D2", "D4"]
RESULTS = Path(__file__).parent.parent / "results"
SHARED = {
    "mirror": lambda g: g.mirrors,
    "half turn": lambda g: g.rotations > 1,
    "quarter turn": lambda g: g.rotations == 4,
}


def trial(options, data, group, seed):
    keras.utils.set_random_seed(seed)
    turned = datasets.turned(data, group, seed=seed)
    search = EquiNASD(
        EquivariantCNN(groups=[SIX] * 8, width=options.width), "sparse_categorical_crossentropy", seed=seed
    )
    epochs = max(1, round(50 * options.budget))
    search.fit(turned.x_train, turned.y_train, epochs=epochs, verbose=0)
    return {"mixtures": search.mixtures}


def report(options):
    trials = Trials(options.resume)
    given = json.loads(Path(f"{options.resume}.settings").read_text())
    lines = [
        "# What EquiNAS_D finds in data of a known symmetry (thesis Figure 12)",
        "",
        f"`python benchmarks/equivariance/discovery.py {given}`",
        "",
        f"{circumstances()} Shares of the groups in the mixtures at the end, mean over eight layers and the seeds; 0.167 each at "
        "the start. On the right the sum over the groups that hold a mirror, a half turn or a quarter turn; in bold where the "
        "data have it.",
        "",
        f"| data turned by | {' | '.join(SIX)} | {' | '.join(SHARED)} |",
        "|---|" + "---|" * (len(SIX) + len(SHARED)),
    ]
    for (group,), rows in trials.grouped("group").items():
        last = [row["mixtures"][-1].values() for row in rows]
        share = {name: np.mean([layer[name] for layers in last for layer in layers]) for name in SIX}
        sums = {what: sum(share[name] for name in SIX if holds(Group(name))) for what, holds in SHARED.items()}
        cells = [f"{share[name]:.3f}" for name in SIX]
        cells += [f"**{total:.3f}**" if SHARED[what](Group(group)) else f"{total:.3f}" for what, total in sums.items()]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    (RESULTS / "equivariance_discovery.md").write_text("\n".join(lines) + "\n")
    plot(trials, RESULTS / "equivariance_discovery.png")
    print("\n".join(lines))


def plot(trials, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    grouped = trials.grouped("group")
    figure, panels = plt.subplots(
        1, len(grouped), figsize=(3 * len(grouped), 3), layout="constrained", sharey=True, squeeze=False
    )
    for panel, ((group,), rows) in zip(panels[0], grouped.items(), strict=True):
        layers = list(rows[0]["mixtures"][-1])
        for name in SIX:
            panel.plot(
                [np.mean([row["mixtures"][-1][layer][name] for row in rows]) for layer in layers],
                "o-",
                label=name,
                ms=3,
            )
        panel.set(title=f"data turned by {group}", xlabel="layer")
    panels[0][0].set_ylabel("share")
    panels[0][-1].legend(fontsize=7)
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--budget", type=float, default=1.0, help="factor of the epochs")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the fields")
    parser.add_argument("--train", type=int, default=12000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--resume", default="discovery.jsonl")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not options.report:
        data = datasets.load("mnist", data_dir=options.data_dir)
        mean, deviation = data.x_train.mean(), data.x_train.std()
        x, y = (data.x_train[: options.train] - mean) / deviation, data.y_train[: options.train]
        data = dataclasses.replace(data, x_train=x, y_train=y)
        given = " ".join(f"--{name} {getattr(options, name)}" for name in ("budget", "width", "train", "seeds"))
        Path(f"{options.resume}.settings").write_text(json.dumps(given))
        trials = Trials(options.resume)
        for seed in range(1, options.seeds + 1):
            for group in SIX:
                trials.run({"group": group, "seed": seed}, partial(trial, options, data, group, seed))
    report(options)


if __name__ == "__main__":
    main()
