"""What a FreeNet costs, over a dense network of equal parameters, and ways of evaluating it. Lower is better.

    python benchmarks/freenets/step.py --pairs 60

Networks 784-k-10; compiled forward and backward passes (gradients of all weights) at batch 128, interleaved with those of a
network with one hidden layer of as many parameters, in one process; medians of the ratios of pairs with 95 % intervals of the
median (order statistics). Ways: `FreeNet`, the layer as it is, blocks of 16 in rounds; `neurons in blocks`, one neuron of a block
after another; `neuron by neuron`, without blocks; `rounds of all`, all neurons at once until nothing changes. Sparse graphs (of a
tenth, or of a fiftieth of all edges; layered ones as `FreeNet.from_model` makes them) with the layer as it is, and with all
neurons computed in the order of their numbers. Compile times, and inference of both written forms at batch 1 and 128, are beside.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

import keras
import numpy as np
import tensorflow as tf
from trials import circumstances

from keras_struct.cli.freenet import dense_units
from keras_struct.export import to_compact, to_plain
from keras_struct.freenets.acyclic import in_order
from keras_struct.layers import FreeNet

BATCH, FEATURES, CLASSES = 128, 784, 10
ops = keras.ops


class Blocks(FreeNet):
    """One neuron of a block after another."""

    def _substituted(self, given, kernel, schedule):
        found = None
        for start in range(0, self.units, self.block):
            stop = min(start + self.block, self.units)
            rest, columns = given[:, start:stop], []
            if found is not None:
                rest = rest + ops.matmul(found, kernel[:start, start:stop])
            for j in range(stop - start):
                columns.append(self.activation(rest[:, j : j + 1]))
                rest = rest + columns[-1] * kernel[start + j, start:stop]
            block = ops.concatenate(columns, axis=1)
            found = block if found is None else ops.concatenate([found, block], axis=1)
        return found


class Neurons(FreeNet):
    """One neuron after another."""

    def _substituted(self, given, kernel, schedule):
        found = self.activation(given[:, :1])
        for j in range(1, self.units):
            column = given[:, j : j + 1] + ops.matmul(found, kernel[:j, j : j + 1])
            found = ops.concatenate([found, self.activation(column)], axis=1)
        return found


class Rounds(FreeNet):
    """All neurons at once, as often as the longest path demands."""

    def _substituted(self, given, kernel, schedule):
        values = self.activation(given)
        for _ in range(self.depth_of_graph - 1):
            values = self.activation(given + ops.matmul(values, kernel))
        return values


def network(kind, neurons, edges=None):
    keras.utils.set_random_seed(0)
    x = keras.Input((FEATURES,))
    layer = kind(neurons, adjacency=edges, name="free")
    if kind is Rounds:
        layer.depth_of_graph = neurons
    return keras.Model(x, keras.layers.Dense(CLASSES)(layer(x)))


def dense(units):
    keras.utils.set_random_seed(0)
    x = keras.Input((FEATURES,))
    return keras.Model(x, keras.layers.Dense(CLASSES)(keras.layers.Dense(units, "relu")(x)))


def step_of(model, x, y):
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    return lambda: run()[0].numpy()


def inference_of(model, x):
    run = tf.function(lambda: model(x, training=False))
    return lambda: run().numpy()


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compared(base, runs, pairs):
    """For each run the median of its ratios over `base`, with the ends of its 95 % interval, and its compile time."""
    compile_times = {name: seconds(run) for name, run in runs.items()}
    for run in (base, *runs.values()):
        for _ in range(4):
            run()
    ratios, base_times = {name: [] for name in runs}, []
    for i in range(pairs):
        for name, run in runs.items():
            first, second = (base, run) if i % 2 else (run, base)
            taken = {id(each): seconds(each) for each in (first, second)}
            ratios[name].append(taken[id(run)] / taken[id(base)])
            base_times.append(taken[id(base)])
    half = 1.96 * np.sqrt(pairs) / 2
    found = {}
    for name, values in ratios.items():
        values.sort()
        low, high = values[max(0, int(pairs / 2 - half))], values[min(pairs - 1, int(np.ceil(pairs / 2 + half)))]
        found[name] = (statistics.median(values), low, high, compile_times[name])
    return statistics.median(base_times), found


def cell(found):
    return f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def ways(neurons):
    found = {"FreeNet": FreeNet, "neurons in blocks": Blocks}
    if neurons <= 300:
        found |= {"neuron by neuron": Neurons, "rounds of all": Rounds}
    return found


def graphs(neurons):
    rng = np.random.default_rng(0)
    draw = rng.random((neurons, neurons))
    layers = np.arange(neurons) * 4 // neurons
    yield "a tenth", np.tril(draw < 0.1, -1)
    yield "a fiftieth", np.tril(draw < 0.02, -1)
    yield "four layers", layers[:, None] == layers[None] + 1


def full_graphs(x, y, pairs):
    print("| neurons | dense units | dense, ms | way | over dense | first call, s |")
    print("|---|---|---|---|---|---|")
    for neurons in (30, 100, 300, 1000):
        units = dense_units(neurons, FEATURES, CLASSES)
        runs = {name: step_of(network(kind, neurons), x, y) for name, kind in ways(neurons).items()}
        base, found = compared(step_of(dense(units), x, y), runs, pairs if neurons < 1000 else pairs // 2)
        for name, figures in found.items():
            print(
                f"| {neurons} | {units} | {1e3 * base:.2f} | {name} | {cell(figures)} | {figures[3]:.1f} |", flush=True
            )


def sparse_graphs(x, y, pairs):
    print("\n| neurons | edges | longest path | steps of the layer | over dense | in the order of numbers |")
    print("|---|---|---|---|---|---|")
    for neurons in (100, 300, 1000):
        for name, edges in graphs(neurons):
            layer_model, ordered = (network(FreeNet, neurons, edges) for _ in range(2))
            free = layer_model.get_layer("free")
            ordered.get_layer("free").schedule = in_order(neurons, free.block)
            parameters = (FEATURES + 1 + CLASSES) * neurons + int(edges.sum())
            base = step_of(dense(round(parameters / (FEATURES + 1 + CLASSES))), x, y)
            runs = {"layer": step_of(layer_model, x, y), "ordered": step_of(ordered, x, y)}
            _, found = compared(base, runs, pairs if neurons < 1000 else pairs // 2)
            facts = f"{neurons} | {name}, {free.edges:,} | {free.depth} | {free.schedule.steps}"
            print(f"| {facts} | {cell(found['layer'])} | {cell(found['ordered'])} |", flush=True)


def written_forms(x, pairs):
    print("\n| neurons | edges | batch | `FreeNet`, ms | stock layers | compact |")
    print("|---|---|---|---|---|---|")
    for neurons in (100, 300):
        for name, edges in (("all", None), *graphs(neurons)):
            model = network(FreeNet, neurons, edges)
            for batch in (1, BATCH):
                base = inference_of(model, x[:batch])
                runs = {"plain": inference_of(to_plain(model), x[:batch])}
                runs["compact"] = inference_of(to_compact(model), x[:batch])
                taken, found = compared(base, runs, pairs)
                cells = f"{cell(found['plain'])} | {cell(found['compact'])}"
                print(f"| {neurons} | {name} | {batch} | {1e3 * taken:.2f} | {cells} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = tf.constant(rng.random((BATCH, FEATURES)), tf.float32)
    y = tf.constant(rng.integers(0, CLASSES, BATCH))
    print("# What a FreeNet costs\n")
    print(f"`python benchmarks/freenets/step.py --pairs {options.pairs}`\n")
    print(f"{circumstances()} TensorFlow {tf.__version__}, {platform.machine()}. Batch {BATCH}, {FEATURES} inputs.")
    print("Medians of interleaved pairs with 95 % intervals of the median.\n")
    full_graphs(x, y, options.pairs)
    sparse_graphs(x, y, options.pairs)
    written_forms(x, options.pairs)


if __name__ == "__main__":
    main()
