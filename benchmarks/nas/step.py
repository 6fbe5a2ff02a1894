"""What a supernet costs: start-up, steps of weights and architecture, memory; fused cells against a layer for each operation.

    python benchmarks/nas/step.py --pairs 20

First-order steps as `search.Darts` compiles them, C = 8, L = 4, 32 x 32 x 3, batch 32, unless said otherwise. Start-up is from
the construction of the network to the end of the first step of both functions, each network in a fresh process. Steps alternate;
medians of the ratios of pairs with 95 % intervals of the median (order statistics). Memory is the most that the process had.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))
RESULTS = Path(__file__).parent.parent / "results" / "nas_step.md"


def measured(kind, options):
    """Seconds of start-up and steps of one kind of network, in this process."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_struct.applications import darts_supernet
    from keras_struct.search.alternating import AlternatingModel
    from keras_struct.testing.unfused_cell import unfused_supernet

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((2 * options.batch, 32, 32, 3)).astype("float32")
    y = np.arange(2 * options.batch) % 10
    data = (tf.constant(x), tf.constant(y))
    start = time.perf_counter()
    model = darts_supernet((32, 32, 3), 10, options.channels, options.layers)
    if kind == "unfused":
        model = unfused_supernet(model)
    built = time.perf_counter() - start
    architecture = [model.get_layer(f"alpha_{cell}").alpha for cell in ("normal", "reduce")]
    trained = AlternatingModel(
        model, architecture, keras.optimizers.Adam(3e-4, 0.5), clip_norm=5.0, weight_decay=3e-4, architecture_decay=1e-3
    )
    trained.compile(keras.optimizers.SGD(0.025, 0.9), "sparse_categorical_crossentropy")
    half = options.batch

    @tf.function
    def weights(x, y):
        _, loss, gradients = trained.differentiate((x[:half], y[:half]), trained.others)
        trained._move_others(gradients)
        return loss

    @tf.function
    def move(x, y):
        trained._move_architecture((x[:half], y[:half]), (x[half:], y[half:]))
        return trained.architecture_steps.value

    @tf.function
    def forward(x, y):
        return model(x[:half], training=True)

    weights(*data).numpy()
    first = time.perf_counter() - start
    move(*data).numpy()
    total = time.perf_counter() - start
    seconds = {"weights": [], "architecture": [], "forward": []}
    forward(*data)
    for _ in range(options.pairs if kind == "fused" else min(5, options.pairs)):
        for name, run in (("weights", weights), ("architecture", move), ("forward", forward)):
            begin = time.perf_counter()
            run(*data).numpy()
            seconds[name].append(time.perf_counter() - begin)
    outputs = np.asarray(forward(*data)).tolist()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"built": built, "first": first, "total": total, "memory": memory, **seconds, "outputs": outputs}


def difference():
    """Largest difference between the outputs of both networks with the same weights."""
    import keras
    import numpy as np

    from keras_struct.applications import darts_supernet
    from keras_struct.testing.unfused_cell import unfused_supernet

    keras.utils.set_random_seed(0)
    model = darts_supernet((32, 32, 3), 10, 8, 4)
    other = unfused_supernet(model)
    x = np.random.default_rng(0).random((8, 32, 32, 3)).astype("float32")
    return max(float(np.abs(np.asarray(model(x, training=t)) - np.asarray(other(x, training=t))).max()) for t in (0, 1))


def interval(ratios):
    ratios = sorted(ratios)
    half = 1.96 * len(ratios) ** 0.5 / 2
    low, high = ratios[max(0, int(len(ratios) / 2 - half))], ratios[min(len(ratios) - 1, int(len(ratios) / 2 + half))]
    return f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kind", choices=("fused", "unfused", "difference"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind == "difference":
        print(json.dumps(difference()))
        return
    if options.kind:
        print(json.dumps(measured(options.kind, options)))
        return
    found = {}
    for kind in ("fused", "unfused", "difference"):
        run = subprocess.run([sys.executable, *sys.argv, "--kind", kind], check=True, capture_output=True, text=True)
        found[kind] = json.loads(run.stdout.splitlines()[-1])
    from trials import circumstances

    fused, unfused = found["fused"], found["unfused"]
    lines = [
        "# What a DARTS supernet costs",
        "",
        f"`python benchmarks/nas/step.py --pairs {options.pairs} --channels {options.channels} --layers {options.layers} "
        f"--batch {options.batch}`",
        "",
        f"{circumstances()} C = {options.channels}, L = {options.layers}, batch {options.batch}, 32 x 32 x 3.",
        "",
        "| | fused cells | a layer for each operation | ratio |",
        "|---|---|---|---|",
    ]
    for name, text in (
        ("built", "construction, s"),
        ("first", "to the end of the first step of the weights, s"),
        ("total", "start-up, s"),
    ):
        lines.append(f"| {text} | {fused[name]:.1f} | {unfused[name]:.1f} | {fused[name] / unfused[name]:.2f} |")
    lines.append(
        f"| memory, GB | {fused['memory']:.2f} | {unfused['memory']:.2f} | {fused['memory'] / unfused['memory']:.2f} |"
    )
    for name in ("weights", "architecture", "forward"):
        one, other = (statistics.median(each[name]) * 1e3 for each in (fused, unfused))
        lines.append(f"| {name}: median of a step, ms | {one:.0f} | {other:.0f} | {one / other:.2f} |")
    ratio = interval([a / w for a, w in zip(fused["architecture"], fused["weights"], strict=True)])
    lines += [
        "",
        f"A step of the architecture over one of the weights, fused: {ratio}. Largest difference between the outputs of both "
        f"networks with the same weights: {found['difference']:.1e}.",
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
