"""Prune a trained CNN to half its operations by every criterion, train on, and compare with the dense network.

    python benchmarks/pruning/criteria.py --data-dir DATA --seeds 3

MNIST; two convolutions of 16 and 32 filters with batch normalisation, a dense layer of 64 units; Adam 1e-3, batch 128. The
network is trained, then for each criterion a copy is pruned to half the floating point operations in one edit and trained for
the same number of epochs as the dense one is trained further. Criteria look at 512 training samples. Prints a Markdown table
of test accuracies: right after pruning, and after training on. Higher is better.
"""

import argparse
import dataclasses
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_struct import Budget, StructuralModel, datasets, selectors
from keras_struct.statistics import flops

CRITERIA = {
    "random": selectors.RandomUnits(),
    "smallest norm": selectors.SmallestNorm(),
    "magnitude, L1": selectors.Magnitude(1),
    "magnitude, L2": selectors.Magnitude(2),
    "magnitude, folded": selectors.Magnitude(2, folded=True),
    "mean magnitude of activations": selectors.Activity("magnitude"),
    "variance of activations": selectors.Activity("variance"),
    "APoZ": selectors.Activity("zeros"),
    "Taylor": selectors.Taylor(),
    "Fisher": selectors.Fisher(),
    "perturbation": selectors.Perturbation(),
    "OBS": selectors.OptimalBrainSurgeon(),
    "OBS, without compensation": selectors.OptimalBrainSurgeon(compensate=False),
    "most similar (DYNO)": selectors.MostSimilar(),
    "correlation": selectors.Correlation(),
    "residual": selectors.Residual(),
    "leave one out": selectors.LeaveOneOut(),
}
BATCH, PROBE = 128, 512


def build(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((28, 28, 1))
    x = inputs
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same")(x)
        x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
    return StructuralModel.from_model(keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x)))


def compiled(model, data):
    options = {"probe": data.x_train[:PROBE], "targets": data.y_train[:PROBE]}
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def trained(model, data, epochs):
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def accuracy(model, data):
    return model.evaluate(data.x_test, data.y_test, batch_size=1000, verbose=0, return_dict=True)["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=20000, help="training samples")
    parser.add_argument("--epochs", type=int, default=3, help="before pruning")
    parser.add_argument("--further", type=int, default=1, help="after pruning")
    parser.add_argument("--share", type=float, default=0.5, help="of the operations that are left")
    options = parser.parse_args()
    data = datasets.load("mnist", data_dir=options.data_dir)
    x_train, x_test = (x.reshape(-1, 28, 28, 1) for x in (data.x_train[: options.samples], data.x_test))
    data = dataclasses.replace(data, x_train=x_train, y_train=data.y_train[: options.samples], x_test=x_test)
    found = {name: [] for name in ("dense", *CRITERIA)}
    for seed in range(1, options.seeds + 1):
        start = trained(compiled(build(seed), data), data, options.epochs)
        first, before = accuracy(start, data), flops(start)
        for name, selector in CRITERIA.items():
            model = compiled(StructuralModel.from_model(start), data)
            model.prune(budget=Budget(flops=options.share), selector=selector)
            pruned, left = accuracy(model, data), flops(model) / before
            keras.utils.set_random_seed(seed)
            found[name].append(
                (pruned, accuracy(trained(model, data, options.further), data), left, model.count_params())
            )
        dense = compiled(StructuralModel.from_model(start), data)
        keras.utils.set_random_seed(seed)
        found["dense"].append((first, accuracy(trained(dense, data, options.further), data), 1.0, dense.count_params()))
    print(f"`python benchmarks/pruning/criteria.py --seeds {options.seeds} --samples {options.samples}", end=" ")
    print(f"--epochs {options.epochs} --further {options.further} --share {options.share}`\n")
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores, no GPU; Keras {keras.__version__} on", end=" ")
    print(f"{keras.backend.backend()}, Python {platform.python_version()}; mean ± standard deviation over the seeds.\n")
    print("| criterion | accuracy, pruned | accuracy, trained on | operations | parameters |\n|---|---|---|---|---|")
    for name, rows in found.items():
        mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0)
        numbers = [f"{mean[i]:.4f} ± {deviation[i]:.4f}" for i in (0, 1)]
        print(f"| {name} | {' | '.join(numbers)} | {mean[2]:.1%} | {mean[3]:,.0f} |")


if __name__ == "__main__":
    main()
