"""What group convolutions and mixtures cost, over a plain convolution of the same expanded size. Lower is better.

    python benchmarks/equivariance/speed.py --pairs 50

Compiled forward and backward passes (the gradients of the mean square by weights and input) of one layer, 3 x 3, padding
"same", 16 fields in and out, interleaved with those of `Conv2D` with as many channels, in one process; medians of the ratios of
pairs with 95 % intervals of the median (order statistics). `exported` is the layer that `to_plain` writes, in inference. `relax`
is an edit in the middle of training, in steps of the backbone of an eighth of the width at batch 64, with the traces that it
caused.
"""

import argparse
import os
import platform
import statistics
import time
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_struct import StructuralModel
from keras_struct.applications import EquivariantCNN
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GroupConv2D, MixedEquivariantConv

FIELDS = 16
CASES = [("C4", 64, 28), ("D4", 64, 28), ("C4", 16, 8), ("D4", 16, 8), ("mixed", 64, 28), ("mixed", 16, 8)]


def layer_of(kind):
    if kind == "mixed":
        return MixedEquivariantConv(FIELDS, 3, padding="same", use_bias=False)
    return GroupConv2D(FIELDS, 3, kind, kind, kind, padding="same", use_bias=False)


def compiled(layer, x):
    layer(x)

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(layer(x)))
        return loss, tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    return lambda: run(x)[0].numpy()


def inference(run, x):
    return run(x).numpy()


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(run, other, pairs):
    """Median of the ratios of `other` over `run`, with the ends of its 95 % interval."""
    for _ in range(5):
        run(), other()
    ratios = []
    for i in range(pairs):
        order = (run, other) if i % 2 else (other, run)
        taken = {id(each): seconds(each) for each in order}
        ratios.append(taken[id(other)] / taken[id(run)])
    ratios.sort()
    half = 1.96 * np.sqrt(pairs) / 2
    low, high = ratios[max(0, int(pairs / 2 - half))], ratios[min(pairs - 1, int(np.ceil(pairs / 2 + half)))]
    return statistics.median(ratios), low, high


def relaxing(repeats):
    keras.utils.set_random_seed(0)
    model = EquivariantCNN(width=1 / 8)
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x, y = rng.random((64, 28, 28, 1), "float32"), rng.integers(0, 10, 64)
    steps, edits, nexts = [], [], []
    for _ in range(5):
        model.train_on_batch(x, y)
    layers = [f"conv{i}" for i in range(1, 9)]
    for i in range(repeats):
        steps += [seconds(lambda: model.train_on_batch(x, y)) for _ in range(3)]
        layer = layers[i % 8]
        loosens = model.symmetries[layer].name == "D4"
        act = partial(model.relax, layer, "C4") if loosens else partial(model.constrain, layer, "D4")
        edits.append(seconds(act))
        nexts.append(seconds(lambda: model.train_on_batch(x, y)))
    step = statistics.median(steps)
    return step, statistics.median(edits), statistics.median(nexts), parts_of(model).editor.retraces


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    print(f"`python benchmarks/equivariance/speed.py --pairs {options.pairs} --repeats {options.repeats}`\n")
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores, no GPU; Keras {keras.__version__} on", end=" ")
    print(f"{keras.backend.backend()}, TensorFlow {tf.__version__}, Python {platform.python_version()}.\n")
    print("| layer | batch | image | plain, ms | forward and backward | exported, inference |")
    print("|---|---|---|---|---|---|")
    for kind, batch, size in CASES:
        keras.utils.set_random_seed(0)
        order = {"C4": 4}.get(kind, 8)
        x = tf.random.normal((batch, size, size, FIELDS * order))
        layer, plain = layer_of(kind), keras.layers.Conv2D(FIELDS * order, 3, padding="same", use_bias=False)
        base = compiled(plain, x)
        ratio = paired(base, compiled(layer, x), options.pairs)
        plain_ms = 1e3 * statistics.median(seconds(base) for _ in range(10))
        inputs = keras.Input(x.shape[1:])
        exported = StructuralModel(inputs, layer(inputs)).to_plain()
        reference = keras.Model(inputs, plain(inputs))
        runs = [partial(inference, tf.function(partial(m, training=False)), x) for m in (reference, exported)]
        second = paired(*runs, options.pairs)
        cells = [f"{r[0]:.3f} ({r[1]:.3f} to {r[2]:.3f})" for r in (ratio, second)]
        print(f"| {kind} | {batch} | {size} x {size} | {plain_ms:.1f} | {cells[0]} | {cells[1]} |")
    step, edit, after, retraces = relaxing(options.repeats)
    print(f"\nRelaxing or constraining a layer: {1e3 * edit:.2f} ms, {edit / step:.3f} training steps of", end=" ")
    print(
        f"{1e3 * step:.1f} ms; the step after it {after / step:.3f}; re-traces in {options.repeats} edits: {retraces}."
    )


if __name__ == "__main__":
    main()
