"""Convert every family of `keras.applications`, prune it, train it, save and load it.

    python benchmarks/applications.py
    python benchmarks/applications.py --models ResNet50 MobileNetV2

Random weights, inputs of 96 x 96 (or the least that the model takes), 10 classes. For each model: how far outputs (logits) move
when it is converted, and when a silenced unit (outgoing weights of zero) is removed from every axis over which nothing mixes
units; whether it trains one step, is saved and loads again after a fifth of the units of every axis, drawn at random, was
removed; how many axes can be edited, and the share of the parameters of convolutions and dense layers that lie along one
of them. Prints a Markdown table; what is fixed is listed below it with the reason.
"""

import argparse
import os
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_struct import StructuralModel, prune
from keras_struct.core.backend.keras_internals import own_variables
from keras_struct.core.model.parts import parts_of
from keras_struct.testing.preservation import outputs, relative_change, silence

FAMILIES = {
    "VGG16": 96,
    "ResNet50": 96,
    "ResNet50V2": 96,
    "InceptionV3": 96,
    "InceptionResNetV2": 96,
    "Xception": 96,
    "MobileNet": 96,
    "MobileNetV2": 96,
    "MobileNetV3Small": 96,
    "DenseNet121": 96,
    "NASNetMobile": 96,
    "EfficientNetB0": 96,
    "EfficientNetV2B0": 96,
    "ConvNeXtTiny": 96,
}


def share(model):
    """Share of the entries of kernels of which at least one axis can be edited."""
    graph, network = model.structure, parts_of(model).live.network
    editable = {(port.layer, port.variable) for axis in graph.axes for port in graph.ports(axis)}
    sizes = {
        (path, name): int(np.prod(variable.shape))
        for path, layer in network.layers.items()
        for name, variable in own_variables(layer).items()
        if name.endswith("kernel") and len(variable.shape) > 1
    }
    return sum(size for key, size in sizes.items() if key in editable) / sum(sizes.values())


def trial(name, size, seed):
    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    plain = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 255, (4, size, size, 3)).astype("float32"), rng.integers(0, 10, 4)
    start = time.perf_counter()
    model = StructuralModel.from_model(plain)
    row = {"model": name, "seconds": time.perf_counter() - start}
    row["converted"] = float(np.abs(plain(x, training=False) - model(x, training=False)).max())
    row |= {"axes": len(model.structure.axes), "share": share(model)}
    row["mixed"] = sum(model.structure.units[axis].mixes is not None for axis in model.structure.axes)
    row["locked"] = Counter(model.structure.locked.values())
    silent = [a for a, width in model.structure.axes.items() if width > 1 and model.structure.units[a].mixes is None]
    for axis in silent:
        silence(model, axis, [1])
    before = outputs(model, x)
    model.apply([prune(axis, model.structure.axes[axis], [1]) for axis in silent])
    row["silenced"] = relative_change(before, outputs(model, x))
    fifth = [
        prune(axis, width, rng.choice(width, width // 5, replace=False))
        for axis, width in model.structure.axes.items()
        if width >= 5
    ]
    start = time.perf_counter()
    model.apply(fifth, preserve=False)
    row["pruning"] = time.perf_counter() - start
    row["kept"] = model.count_params() / plain.count_params()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    row["loss"] = float(model.train_on_batch(x, y))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.models.load_model(Path(folder) / "model.keras")
    row["loaded"] = float(np.abs(loaded(x, training=False) - model(x, training=False)).max())
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores, Keras {keras.__version__} on", end=" ")
    print(f"{keras.backend.backend()}, Python {platform.python_version()}, seed {options.seed}\n")
    print(
        "| model | conversion, s | outputs, converted | axes | with mixing | share | outputs, silent units removed |",
        end="",
    )
    print(" pruning, s | parameters kept | loss of a step | outputs, loaded |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    reasons = {}
    for name in options.models:
        row = trial(name, FAMILIES[name], options.seed)
        reasons[name] = row["locked"]
        print(
            f"| {name} | {row['seconds']:.1f} | {row['converted']:.1f} | {row['axes']} | {row['mixed']} | {row['share']:.1%} | "
            f"{row['silenced']:.1e} | {row['pruning']:.2f} | {row['kept']:.1%} | {row['loss']:.2f} | {row['loaded']:.1e} |",
            flush=True,
        )
    print("\nFixed:\n")
    for name, locked in reasons.items():
        print(f"- {name}: " + "; ".join(f"{count} because {reason}" for reason, count in locked.items()))


if __name__ == "__main__":
    main()
