"""What triggers cost while nothing grows: seconds of a training step with a strategy over those of a static one. Lower is better.

    python benchmarks/neurogenesis/step_cost.py --network mlp --data-dir DATA
    python benchmarks/neurogenesis/step_cost.py --network vgg --every 10

Networks: the MLP 784-64-64-10 at batch 512 (buffer of 1568 inputs), and VGG-11 with a quarter of the filters on
32 x 32 x 3 at batch 128 (buffer of 128 inputs), as in the thesis (Tables 8 and 9). Every strategy is compiled with its
published hyperparameters, but for what keeps it from growing: NORTH* gets a threshold that no layer reaches, and layers
under the gradient strategies have the printed threshold, which they do not reach. Training goes on meanwhile, and a run
that grew all the same says so. The networks take turns in one process, some steps each; printed is the ratio of the
medians, over the turns, of the mean time of a step.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from keras_struct import StructuralModel, applications, datasets, layers, strategies
from keras_struct.activations import relu1
from keras_struct.core.model.parts import parts_of
from keras_struct.schedules import EveryNSteps
from keras_struct.triggers import AuxiliaryGradient, EffectiveDimension, WeightEffectiveDimension

PUBLISHED = {  # seconds per mini-batch over the mean of the static networks, thesis Table 9, V100
    "NorthSelect": 1.09,
    "NorthRandom": 1.05,
    "NorthWeight": 1.83,
    "GradMax": 2.55,
    "Firefly": 3.37,
    "NeST": 4.33,
}
NEVER = 1e6


def mlp():
    keras.utils.set_random_seed(0)
    hidden = [layers.GrowableDense(64, activation=relu1, name=f"hidden{i}") for i in (1, 2)]
    return StructuralModel([keras.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")])


def vgg():
    keras.utils.set_random_seed(0)
    return applications.VGG11(width=0.25)


NETWORKS = {"mlp": (mlp, 512, 1568, (784,)), "vgg": (vgg, 128, 128, (32, 32, 3))}


def quiet(name, **options):
    """A strategy that looks and does not grow; behind a colon, how many samples of the batch its gradients are of."""
    name, _, samples = name.partition(":")
    kind = getattr(strategies, name)
    if samples:
        return kind(trigger=AuxiliaryGradient(samples=int(samples)), **options)
    if name == "NorthWeight":
        return kind(trigger=WeightEffectiveDimension(gamma=NEVER), **options)
    if name.startswith("North"):
        return kind(trigger=EffectiveDimension(gamma=NEVER), **options)
    return kind(**options)


def data(network, folder, seed):
    """Inputs and labels: real ones if a folder is given, else random ones, which cost the same."""
    _, batch, _, shape = NETWORKS[network]
    if folder:
        found = datasets.load("mnist" if network == "mlp" else "cifar10", data_dir=folder)
        return found.x_train[: 8 * batch].reshape(-1, *shape), found.y_train[: 8 * batch]
    rng = np.random.default_rng(seed)
    return rng.standard_normal((8 * batch, *shape)).astype("float32"), rng.integers(0, 10, 8 * batch)


class Runner:
    """Trains one model as `fit` does, one step at a time."""

    def __init__(self, network, strategy, x, y):
        build, batch, buffer, _ = NETWORKS[network]
        self.model, self.batches, self.place = build(), [], 0
        needs = strategy is not None and strategy.needs_inputs
        self.model.compile(
            keras.optimizers.Adam(3e-4),
            "sparse_categorical_crossentropy",
            strategy=strategy,
            probe=buffer if needs else None,
        )
        self.model.make_train_function()
        self.x, self.y, self.batch = x, y, batch
        self.iterator = self.batches_forever()
        parts_of(self.model).observation.prime(x)

    def batches_forever(self):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            pairs = tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(self.batch, drop_remainder=True)
            return iter(pairs.cache().repeat().prefetch(2))
        return self.numpy_batches()

    def numpy_batches(self):
        while True:
            for start in range(0, len(self.x), self.batch):
                yield self.x[start : start + self.batch], self.y[start : start + self.batch]

    def step(self):
        """Seconds of one gradient step and the look at the structure after it."""
        start = time.perf_counter()
        logs = self.train()
        parts = parts_of(self.model)
        parts.progress.step += 1
        parts.runner.structural_step(logs)
        return time.perf_counter() - start

    def train(self):
        if keras.backend.backend() == "tensorflow":
            logs = self.model.train_function(self.iterator)
            float(logs["loss"])
            return logs
        x, y = next(self.iterator)
        logs = self.model.train_on_batch(x, y, return_dict=True)
        parts_of(self.model).observation.remember((x, y))
        return logs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="mlp")
    parser.add_argument("--every", type=int, default=1, help="look at the structure after every so many steps")
    parser.add_argument("--rounds", type=int, default=8, help="how often the networks take turns")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a network in each round")
    parser.add_argument("--data-dir")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--strategies", nargs="*", default=["NorthRandom", "NorthSelect", "NorthPre", *list(PUBLISHED)[2:]]
    )
    options = parser.parse_args()
    x, y = data(options.network, options.data_dir, options.seed)
    schedule = EveryNSteps(options.every)
    runners = {"static": Runner(options.network, None, x, y)}
    runners |= {name: Runner(options.network, quiet(name, schedule=schedule), x, y) for name in options.strategies}
    for runner in runners.values():
        for _ in range(max(12, 2 * options.every)):
            runner.step()
    seconds = {name: [] for name in runners}
    for _ in range(options.rounds):
        for name, runner in runners.items():
            for _ in range(2):
                runner.step()  # the caches are another network's
            seconds[name].append(statistics.mean(runner.step() for _ in range(options.steps)))
        print(".", end="", file=sys.stderr, flush=True)
    static = statistics.median(seconds["static"])
    for name, taken in seconds.items():
        print(
            json.dumps(
                {
                    "network": options.network,
                    "strategy": name,
                    "every": options.every,
                    "ratio": round(statistics.median(taken) / static, 3),
                    "published_ratio_vgg_v100": PUBLISHED.get(name),
                    "ms": round(1e3 * statistics.median(taken), 2),
                    "events": len(runners[name].model.structure_log),
                    "steps": options.steps * options.rounds,
                    "seed": options.seed,
                    "data": "real" if options.data_dir else "random",
                    "backend": keras.backend.backend(),
                    "keras": keras.__version__,
                    "python": platform.python_version(),
                    "cores": os.cpu_count(),
                    "date": time.strftime("%Y-%m-%d"),
                }
            )
        )


if __name__ == "__main__":
    main()
