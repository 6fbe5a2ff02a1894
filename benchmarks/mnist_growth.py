"""Accuracy of networks that size themselves, against static ones of the same training budget. Higher is better.

    python benchmarks/mnist_growth.py --data mnist.npz --seeds 5 > benchmarks/results/mnist_growth.md

For each seed this is `keras-struct grow --data mnist.npz --hidden 64,64 --epochs 3`: a network that starts with 64-64
units and grows by NORTH-Select, then static networks of its initial, its final and the maximal size with the same seed,
epochs, batch size and learning rate. Printed are means with 95 % confidence intervals (Student's t over the seeds), and
the paired difference of each static network to the grown one.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from scipy.stats import t

from keras_struct import datasets
from keras_struct.cli.experiment import Settings, run


def interval(values, digits=4):
    """Mean and half width of the 95 % confidence interval."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max-units", type=int, default=256)
    parser.add_argument("--strategy", default="north-select")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds must be positive. Received: {options.seeds}")
    data = datasets.load(options.data)
    found = {}
    for seed in range(options.seeds):
        settings = Settings((64, 64), options.max_units, options.strategy, 0.97, options.epochs, 512, 3e-4, seed)
        for row in run(data, settings, verbose=0, say=lambda line: None):
            found.setdefault(row.network, []).append(row)
            print(seed, row.network, row.widths, row.accuracy, round(row.seconds, 1), file=sys.stderr, flush=True)
    report(found, options)


def report(found, options):
    grown, backend = found["grown"], keras.backend.backend()
    print("# MNIST: networks that size themselves against static ones\n")
    print(
        f"`python benchmarks/mnist_growth.py --data mnist.npz --seeds {options.seeds} --epochs {options.epochs} "
        f"--max-units {options.max_units} --strategy {options.strategy}`\n"
    )
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores, no GPU; seeds 0 to {options.seeds - 1}; keras-struct "
        f"{version('keras-struct')}, Keras {keras.__version__} on {backend} {version(backend)}, Python "
        f"{platform.python_version()}. Adam 3e-4, batch 512, γ = 0.97; mean ± half width of the 95 % confidence "
        "interval (Student's t over the seeds).\n"
    )
    print("| network | hidden units | test accuracy | difference to grown | parameters | training, s |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        widths = ", ".join(sorted({"-".join(map(str, row.widths)) for row in rows}))
        gaps = [row.accuracy - other.accuracy for row, other in zip(rows, grown, strict=True)]
        gap = "" if name == "grown" else interval(gaps)
        mean_parameters = round(statistics.mean(row.parameters for row in rows))
        seconds = interval([row.seconds for row in rows], 1)
        print(
            f"| {name} | {widths} | {interval([row.accuracy for row in rows])} | {gap} | {mean_parameters:,} | {seconds} |"
        )


if __name__ == "__main__":
    main()
