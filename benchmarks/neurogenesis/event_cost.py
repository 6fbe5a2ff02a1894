"""What adding a unit costs, by initializer, in plain training steps of the same network. Lower is better.

    python benchmarks/neurogenesis/event_cost.py --repeats 40

The MLP 784-64-64-10 at batch 512, a buffer of 1568 inputs, and gradients on the last batch. An event is all that
`model.grow(axis, 1, initializer)` does: it measures again, as if no trigger had measured before, makes the weights, edits
weights and optimizer, and compares the outputs on 32 inputs before and after, where inputs are kept. The unit is removed
again. Steps of a plain Keras model and events take turns in one process;
printed are medians, for both hidden layers and their mean; `together` is the cost of a unit when both layers grow in one
edit, as they do under a strategy.
"""

import argparse
import json
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from step_cost import NETWORKS, Runner, quiet

from keras_struct import initializers, prune
from keras_struct.core.model.parts import parts_of
from keras_struct.schedules import EveryNSteps

KINDS = {
    "RandomFanIn": initializers.RandomFanIn(),
    "RandomFanIn, with the change of outputs": initializers.RandomFanIn(),
    "OrthogonalWeights": initializers.OrthogonalWeights(),
    "CopyAndPerturb": initializers.CopyAndPerturb(),
    "LargestGradient (GradMax)": initializers.LargestGradient(),
    "Bridge (NeST)": initializers.Bridge(),
    "DivideOrAdd (Firefly), 1000 candidates": initializers.DivideOrAdd(),
    "Select, 1000 candidates": initializers.Select(),
    "PreActivation, 1000 candidates": initializers.PreActivation(),
}


def together(model, axes, initializer, repeats):
    """Seconds of growing all axes in one edit, as strategies do."""
    taken = []
    for i in range(repeats + 3):
        widths = dict(model.structure.axes)
        start = time.perf_counter()
        rng = np.random.default_rng(i)
        model.apply([initializer.propose(model.measure(axis), 1, rng) for axis in axes])
        taken.append(time.perf_counter() - start)
        model.apply([prune(axis, widths[axis] + 1, [widths[axis]]) for axis in axes])
    return taken[3:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _, batch, buffer, shape = NETWORKS["mlp"]
    rng = np.random.default_rng(options.seed)
    x, y = rng.standard_normal((8 * batch, *shape)).astype("float32"), rng.integers(0, 10, 8 * batch)
    plain = Runner("mlp", None, x, y)
    runner = Runner("mlp", quiet("GradMax", schedule=EveryNSteps(10**9)), x, y)
    model, axes = runner.model, list(runner.model.structure.axes)
    parts_of(model).observation.buffer = None
    for _ in range(10):
        plain.step()
        runner.step()
    seen = parts_of(model).observation
    seen.keeps_targets = True
    inputs = keras.ops.convert_to_tensor(x[:buffer])
    batch_to_look_at = (keras.ops.convert_to_tensor(x[:batch]), keras.ops.convert_to_tensor(y[:batch]), None)
    for name, initializer in KINDS.items():
        looks = name != "RandomFanIn"
        seen.fixed_inputs, seen.batch = (inputs, batch_to_look_at) if looks else (None, None)
        seconds, steps = {axis: [] for axis in axes}, []
        for i in range(options.repeats + 3):
            for axis in axes:
                width = model.structure.axes[axis]
                start = time.perf_counter()
                event = model.grow(axis, 1, initializer)
                taken = time.perf_counter() - start
                if event is not None:
                    model.prune(axis, [width])
                if i >= 3 and event is not None:
                    seconds[axis].append(taken)
            steps += [plain.step() for _ in range(3)]
        step = statistics.median(steps)
        cost = {axis: statistics.median(taken) / step for axis, taken in seconds.items() if taken}
        if name.startswith("RandomFanIn"):
            taken = statistics.median(together(model, axes, initializer, options.repeats))
            cost["together"] = taken / step / len(axes)
        row = {"initializer": name, **{axis: round(c, 2) for axis, c in cost.items()}}
        row |= {
            "mean": round(statistics.mean(cost[axis] for axis in axes if axis in cost), 2),
            "plain_step_ms": round(1e3 * step, 2),
        }
        row |= {"repeats": options.repeats, "cores": os.cpu_count(), "keras": keras.__version__}
        print(json.dumps(row | {"python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}), flush=True)


if __name__ == "__main__":
    main()
