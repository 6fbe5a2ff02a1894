"""Whether a network of characters that gets deeper while it trains needs fewer operations, and less time, than a deep one.

    python benchmarks/depth/char_gpt.py --methods scratch stack middle expand random --seeds 0 1 2 3 4
    python benchmarks/depth/char_gpt.py --width 128 --steps 3000 --out results.jsonl

A decoder-only transformer on characters of Tiny Shakespeare (`tinyshakespeare.txt`, in the folder of `--data`, or any other
text): 6 blocks of width 96, 4 heads, context 64, batch 32, AdamW, `WarmupStableDecay` with its peak at 1e-3. One line of JSON is
printed for each run: the validation loss along the way (nats per character, on the last tenth of the text), training
operations (three times those of the forward pass, for what the network was at each step), and seconds, those of tracing the
step again included.

* `scratch`: 6 blocks from the start.
* `stack`: 2 blocks, which are stacked three times after half of the steps (`Stack`).
* `middle`: 2 blocks; the two in the middle are copied after a third and after two thirds of the steps (`MiddleGrow`).
* `expand`: 1 block, and 6 from 80 % of the steps on (`ExpandOnce`).
* `random`: as `stack`, but the new blocks start as their initializers say.

`--state copied` (the default) gives copies the moments of AdamW that their originals have, `--state fresh` those of a new
weight, `--state reset` sets all moments to zero when the network gets deeper.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from keras_struct import StructuralModel
from keras_struct.depth import WarmupStableDecay
from keras_struct.schedules import AtSteps
from keras_struct.statistics import flops
from keras_struct.strategies import ExpandOnce, MiddleGrow, Stack

layers = keras.layers
BLOCKS = 6


@dataclass(frozen=True)
class Size:
    """How large the network is."""

    width: int
    heads: int
    context: int
    batch: int


def network(characters, blocks, size):
    """A decoder-only transformer with normalisation in front of each part."""
    tokens = keras.Input((size.context,), dtype="int32")
    x = layers.Embedding(characters, size.width, name="characters")(tokens)
    x = Positions(name="positions")(x)
    for i in range(blocks):
        y = layers.LayerNormalization(name=f"norm_{i}a")(x)
        y = layers.MultiHeadAttention(size.heads, size.width // size.heads, name=f"attention_{i}")(
            y, y, use_causal_mask=True
        )
        x = layers.Add(name=f"attended_{i}")([x, y])
        y = layers.LayerNormalization(name=f"norm_{i}b")(x)
        y = layers.Dense(4 * size.width, activation="gelu", name=f"up_{i}")(y)
        x = layers.Add(name=f"block_{i}")([x, layers.Dense(size.width, name=f"down_{i}")(y)])
    x = layers.LayerNormalization(name="norm")(x)
    return StructuralModel(tokens, layers.Dense(characters, name="logits")(x))


@keras.saving.register_keras_serializable("benchmarks")
class Positions(layers.Layer):
    """Adds a trained vector for each position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table

    def count_flops(self, call):
        return math.prod(call.outputs[0])


def strategy_of(method, steps):
    """How many blocks there are at first, and what makes them more."""
    half, thirds = AtSteps((steps // 2,)), AtSteps((steps // 3, 2 * steps // 3))
    return {
        "scratch": (BLOCKS, None),
        "stack": (2, Stack(half, factor=3)),
        "middle": (2, MiddleGrow(thirds, count=2)),
        "expand": (1, ExpandOnce(at=0.8, steps=steps, blocks=BLOCKS)),
        "random": (2, Stack(half, factor=3, weights="fresh")),
    }[method]


class Report(keras.callbacks.Callback):
    """Notes operations, seconds and validation loss along the way; evaluating does not count."""

    def __init__(self, x, y, every, state, batch):
        super().__init__()
        self.x, self.y, self.every, self.state, self.batch = x, y, every, state, batch
        self.curve, self.operations, self.step, self.paused = [], 0.0, 0, 0.0

    def on_train_begin(self, logs=None):
        self.started = time.perf_counter()
        self.per_step = 3 * flops(self.model) * self.batch

    def on_structure_change(self, event, logs=None):
        self.per_step = 3 * flops(self.model) * self.batch
        slots = [v for v in self.model.optimizer.variables if v.path.endswith(("_momentum", "_velocity"))]
        for variable in slots:
            if self.state == "reset" or (self.state == "fresh" and "_copy" in variable.path):
                variable.assign(np.zeros(variable.shape))

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.operations += self.per_step
        if self.step % self.every == 0:
            pause = time.perf_counter()
            loss = self.model.evaluate(self.x, self.y, batch_size=64, verbose=0)
            self.paused += time.perf_counter() - pause
            seconds = time.perf_counter() - self.started - self.paused
            self.curve.append([self.step, round(float(loss), 4), self.operations, round(seconds, 2)])


def windows(text, count, context, rng):
    """Random pieces of a text, and the same one character on."""
    starts = rng.integers(0, len(text) - context - 1, count)
    pieces = text[starts[:, None] + np.arange(context + 1)]
    return pieces[:, :-1].astype("int32"), pieces[:, 1:].astype("int32")


def run(method, seed, options):
    """Train once. Returns what is printed."""
    keras.utils.set_random_seed(seed)
    text = (Path(options.data) / "tinyshakespeare.txt").read_text()
    letters = sorted(set(text))
    codes = np.array([letters.index(c) for c in letters])
    held = np.searchsorted([ord(c) for c in letters], [ord(c) for c in text])
    numbers = codes[held]
    cut = int(0.9 * len(numbers))
    size = Size(options.width, 4, 64, 32)
    rng = np.random.default_rng(seed)
    x, y = windows(numbers[:cut], options.steps * size.batch, size.context, rng)
    validation = windows(numbers[cut:], options.validation, size.context, np.random.default_rng(0))
    blocks, strategy = strategy_of(method, options.steps)
    model = network(len(letters), blocks, size)
    rate = WarmupStableDecay(options.rate, options.steps, warmup=0.05, decay=0.2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), loss, strategy=strategy)
    report = Report(*validation, max(1, options.steps // 10), options.state, size.batch)
    model.fit(x, y, batch_size=size.batch, shuffle=False, verbose=0, callbacks=[report])
    events = [{"step": e.step, "reason": e.reason, "ms": round(1e3 * e.seconds, 1)} for e in model.structure_log]
    return {
        "method": method,
        "state": options.state,
        "seed": seed,
        "width": size.width,
        "steps": options.steps,
        "loss": report.curve[-1][1],
        "operations": report.curve[-1][2],
        "seconds": report.curve[-1][3],
        "events": events,
        "curve": report.curve,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--methods", nargs="+", default=["scratch", "stack", "middle", "expand", "random"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--state", choices=["copied", "fresh", "reset"], default="copied")
    parser.add_argument("--validation", type=int, default=512, help="how many pieces of text the loss is measured on")
    parser.add_argument("--out", help="file to which the lines are added, too")
    options = parser.parse_args()
    for seed in options.seeds:
        for method in options.methods:
            line = json.dumps(run(method, seed, options))
            print(line, flush=True)
            if options.out:
                with open(options.out, "a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
