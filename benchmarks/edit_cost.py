"""What a structural model and a growth event cost, in plain training steps of the same network. Lower is better.

    python benchmarks/edit_cost.py --network mlp --seed 0
    python benchmarks/edit_cost.py --network vgg --pairs 30

Networks: the MLP 784-64-64-10 at batch 512, and VGG-11 with a quarter of the filters on 32 x 32 x 3 at batch 128. The
data is random: only time is measured. Every comparison is made of interleaved pairs in one process, so that slow phases
of the machine meet both sides; medians are printed. Compiling is left out everywhere but where re-traces are counted.

* `strategy_none`: median ratio of one training execution of a `StructuralModel` compiled without strategy over the same
  execution of a plain `keras.Model` of stock layers.
* `buffering`: the same with a strategy that measures activations but whose schedule is never due, so that inputs are kept.
* `masked`: the same with layers whose connections can be edited (`MaskedDense`, `MaskedConv2D`).
* `event`: a growth of one unit (random incoming weights, zero outgoing weights) and the step after it, in steady steps of
  the same network at the width that it then has; the two parts are also given apart.
* `edit_in_a_row_ms`: the same growth when no step of training is between two of them, which fills the caches of the processor.
* `rewire`: a new mask for the connections of the first hidden layer.
* `retraces`: how often the training step was traced again during 100 events.
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

from keras_struct import Rewire, StructuralModel, layers
from keras_struct.core.model.parts import parts_of
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import NorthRandom

VGG11 = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]


def mlp(dense):
    """Input and output of the MLP 784-64-64-10."""
    inputs = keras.Input((784,))
    x = dense(64, activation="relu", name="h1")(inputs)
    x = dense(64, activation="relu", name="h2")(x)
    return inputs, keras.layers.Dense(10, activation="softmax")(x)


def vgg(conv, dense, width=0.25):
    """Input and output of VGG-11 with a fraction of its filters."""
    inputs = x = keras.Input((32, 32, 3))
    for i, item in enumerate(VGG11):
        if item == "M":
            x = keras.layers.MaxPooling2D()(x)
        else:
            x = conv(int(item * width), 3, padding="same", activation="relu", name=f"conv{i}")(x)
    x = keras.layers.Flatten()(x)
    for i in range(2):
        x = dense(int(4096 * width), activation="relu", name=f"fc{i}")(x)
    return inputs, keras.layers.Dense(10, activation="softmax")(x)


NETWORKS = {
    "mlp": (lambda conv, dense: mlp(dense), (512, 784)),
    "vgg": (vgg, (128, 32, 32, 3)),
}
KINDS = {
    "plain": (keras.layers.Conv2D, keras.layers.Dense),
    "structural": (layers.GrowableConv2D, layers.GrowableDense),
    "masked": (layers.MaskedConv2D, layers.MaskedDense),
}


def build(network, kind, jit):
    """A compiled model: plain, structural without strategy, or structural with buffering on."""
    keras.utils.set_random_seed(0)
    model = (keras.Model if kind == "plain" else StructuralModel)(
        *NETWORKS[network][0](*KINDS.get(kind, KINDS["structural"]))
    )
    strategy = NorthRandom(schedule=EveryNSteps(10**9)) if kind == "buffering" else None
    own = {} if kind == "plain" else {"strategy": strategy}
    model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", jit_compile=jit, **own)
    return model


class Runner:
    """Runs training executions of one model on endless random data, the way `fit` does."""

    def __init__(self, model, shape, seed):
        import tensorflow as tf

        rng = np.random.default_rng(seed)
        x = rng.standard_normal((4 * shape[0], *shape[1:])).astype("float32")
        y = rng.integers(0, 10, 4 * shape[0])
        self.model, data = (
            model,
            tf.data.Dataset.from_tensor_slices((x, y)).batch(shape[0]).cache().repeat().prefetch(2),
        )
        self.iterator = iter(data)
        model.make_train_function()

    def step(self):
        """Seconds of one execution."""
        start = time.perf_counter()
        logs = self.model.train_function(self.iterator)
        float(logs["loss"])
        return time.perf_counter() - start


def paired_ratio(runners, other, pairs):
    """Median over interleaved pairs of the ratio of one step of `other` over one plain step."""
    ratios = []
    for i in range(pairs):
        order = ("plain", other) if i % 2 else (other, "plain")
        seconds = {name: runners[name].step() for name in order}
        ratios.append(seconds[other] / seconds["plain"])
    return statistics.median(ratios)


def events(runners, axis, count):
    """Cost of growth events, each with the step after it, in steps of the same network at the same width.

    The unit is removed again after each event, so that the network stays as wide as it is.
    """
    model, steady, edits, nexts = runners["structural"].model, [], [], []
    before, width = parts_of(model).editor.retraces, model.structure.axes[axis]
    for _ in range(count):
        start = time.perf_counter()
        model.grow(axis, 1)
        edits.append(time.perf_counter() - start)
        nexts.append(runners["structural"].step())
        steady.append(statistics.median(runners["structural"].step() for _ in range(3)))
        model.prune(axis, [width])
        for _ in range(2):
            runners["structural"].step()
    step = statistics.median(steady)
    return {
        "event_in_steps": statistics.median(e + n for e, n in zip(edits, nexts, strict=True)) / step,
        "edit_in_steps": statistics.median(edits) / step,
        "next_step_in_steps": statistics.median(nexts) / step,
        "edit_ms": 1e3 * statistics.median(edits),
        "steady_step_ms": 1e3 * step,
        "retraces": parts_of(model).editor.retraces - before + traces(model),
    }


def edits_in_a_row(runners, axis, count):
    """Milliseconds of growths between which nothing is trained, only the unit removed again."""
    model, edits = runners["structural"].model, []
    width = model.structure.axes[axis]
    for _ in range(count):
        start = time.perf_counter()
        model.grow(axis, 1)
        edits.append(time.perf_counter() - start)
        model.prune(axis, [width])
    return {"edit_in_a_row_ms": 1e3 * statistics.median(edits)}


def rewirings(runners, layer, count):
    """Cost of exchanging half of the connections of a masked layer, in steps of the same network."""
    model, edits, steps = runners["masked"].model, [], []
    rng, before = np.random.default_rng(0), parts_of(model).editor.retraces
    shape = tuple(model.get_layer(layer).kernel.shape)
    for _ in range(count):
        mask = rng.random(shape) < 0.5
        start = time.perf_counter()
        model.apply(Rewire(layer, mask))
        edits.append(time.perf_counter() - start)
        steps += [runners["masked"].step() for _ in range(3)]
    edit = statistics.median(edits)
    return {
        "rewire_in_steps": edit / statistics.median(steps),
        "rewire_ms": 1e3 * edit,
        "rewire_retraces": parts_of(model).editor.retraces - before,
    }


def traces(model):
    """How often TensorFlow traced the step beyond the first time, over all events."""
    return 0 if model.counted_traces is None else model.counted_traces() - 1


def count_traces(model):
    """Let a model count how often its training step is traced."""
    calls = []
    original = model.train_step
    model.train_step = lambda data: (calls.append(1), original(data))[1]
    model.counted_traces = lambda: len(calls)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="mlp")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jit", action="store_true")
    options = parser.parse_args()
    shape = NETWORKS[options.network][1]
    models = {
        kind: build(options.network, kind, options.jit) for kind in ("plain", "structural", "buffering", "masked")
    }
    count_traces(models["structural"])
    runners = {kind: Runner(model, shape, options.seed) for kind, model in models.items()}
    for runner in runners.values():
        for _ in range(5):
            runner.step()
    axis = next(iter(models["structural"].structure.axes))
    ratios = {
        "strategy_none_ratio": paired_ratio(runners, "structural", options.pairs),
        "buffering_ratio": paired_ratio(runners, "buffering", options.pairs),
        "masked_ratio": paired_ratio(runners, "masked", options.pairs),
    }
    models["structural"].grow(axis, 1)
    result = {
        "network": options.network,
        "batch": shape[0],
        "jit": options.jit,
        "seed": options.seed,
        "plain_step_ms": 1e3 * statistics.median(runners["plain"].step() for _ in range(30)),
        **ratios,
        **events(runners, axis, options.events),
        **edits_in_a_row(runners, axis, options.events),
        **rewirings(runners, axis, options.events),
        "pairs": options.pairs,
        "events": options.events,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "backend": keras.backend.backend(),
        "cpus": os.cpu_count(),
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
