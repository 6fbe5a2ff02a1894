"""What it costs to read ResNet-50 as a graph of units, and to prune it, in training steps of it. Lower is better.

    python benchmarks/pruning/resnet50.py --repeats 5

Batch 1, 224 x 224 x 3, 1000 classes, random weights. The unit is the median time of a compiled, steady-state step of plain
SGD: forward and backward. Reading the model is one pass of unit labels; pruning removes a fifth of the units of every axis in
one edit of the converted model, planning and writing included. Conversion, which copies the weights, is reported apart.
"""

import argparse
import json
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_struct import StructuralModel, prune
from keras_struct.core.surgery.trace import trace


def seconds(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    model = keras.applications.ResNet50(weights=None)
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(options.seed)
    x, y = rng.standard_normal((1, 224, 224, 3)).astype("float32"), np.zeros((1,), "int32")
    taken = {"step": [], "graph": [], "convert": [], "prune": []}
    for _ in range(3):
        model.train_on_batch(x, y)
    for _ in range(options.repeats):
        taken["step"] += [seconds(lambda: model.train_on_batch(x, y))[0] for _ in range(5)]
        taken["graph"].append(seconds(lambda: trace(model))[0])
        converting, copy = seconds(lambda: StructuralModel.from_model(model))
        taken["convert"].append(converting)
        edits = [
            prune(axis, width, rng.permutation(width)[: width // 5]) for axis, width in copy.structure.axes.items()
        ]
        taken["prune"].append(seconds(lambda copy=copy, edits=edits: copy.apply(edits))[0])
    found = {name: statistics.median(times) for name, times in taken.items()}
    row = {name: round(found[name] / found["step"], 3) for name in ("graph", "prune", "convert")}
    row["graph and prune"] = round((found["graph"] + found["prune"]) / found["step"], 3)
    row |= {"step_ms": round(1e3 * found["step"], 1), "repeats": options.repeats, "seed": options.seed}
    row |= {"cores": os.cpu_count(), "keras": keras.__version__, "backend": keras.backend.backend()}
    print(json.dumps(row | {"python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}))


if __name__ == "__main__":
    main()
