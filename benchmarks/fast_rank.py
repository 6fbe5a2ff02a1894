"""How much faster candidates are scored exactly together than by one SVD each. A higher ratio is better; target: 200.

    OPENBLAS_NUM_THREADS=1 python benchmarks/fast_rank.py --seed 0 1 2      # SVDs of 40 candidates are timed, checked
    OPENBLAS_NUM_THREADS=1 python benchmarks/fast_rank.py --seed 0 --all    # SVDs of all 1000 candidates: 10 to 20 s
    python benchmarks/fast_rank.py --quick                                  # a small layer, less than a second

A score is the number of singular values of the activations above epsilon with one candidate added, and their sum.

* `fast_seconds`: all of it with `CandidateScorer`: Gram matrix, eigendecomposition, second moments of the candidates,
  and both scores of each candidate. Median over `--repeats`, after one run that is not measured.
* `svd_seconds`: `numpy.linalg.svd` without singular vectors for each candidate: the median of those timed, times the
  number of candidates; `svd_timed` says how many were timed. Putting each matrix together is left out.
* `ratio`: `svd_seconds / fast_seconds`. Both sides work in float64, on activations in memory, with the same threads;
  they take turns, so that slow phases of the machine meet both.

About a quarter of the units are dead, repeated or nearly so. The candidates are fresh ReLU units, repetitions,
repetitions with noise around epsilon, faint units and a dead one, so that counts differ (`counts`: how often each total
occurs). The exit status is 1 if any count differs from that of the SVD. `closest_to_epsilon` is the smallest relative
distance of a singular value to epsilon, `largest_error_of_sum` the largest absolute error of the sum.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter

import numpy as np

from keras_struct.statistics import CandidateScorer, border, gram

EPSILON = 0.01


def relu_units(rng, inputs, count):
    return np.maximum(inputs @ rng.standard_normal((inputs.shape[1], count)) / np.sqrt(inputs.shape[1]), 0)


def make_layer(rng, inputs, units):
    """Activations of ReLU units: a twelfth each is dead, repeats others, and nearly repeats others."""
    layer, part = relu_units(rng, inputs, units), max(1, units // 12)
    layer[:, :part] = 0.0
    layer[:, part : 2 * part] = layer[:, -part:]
    noise = rng.standard_normal((len(layer), part))
    layer[:, 2 * part : 3 * part] = layer[:, -part:] + EPSILON * rng.uniform(0.5, 1.5, part) * noise
    return layer


def make_candidates(rng, inputs, layer, count):
    """Fresh units, repetitions, repetitions with noise around epsilon and faint units in turn; the last one is dead."""
    candidates, kind = relu_units(rng, inputs, count), np.arange(count) % 4
    copies = layer[:, rng.integers(0, layer.shape[1], count)]
    noise = EPSILON * rng.uniform(0, 2, count) * rng.standard_normal(candidates.shape)
    candidates = np.where(kind == 1, copies, np.where(kind == 2, copies + noise, candidates))
    candidates[:, kind == 3] *= 10.0 ** rng.uniform(-3, 0, np.count_nonzero(kind == 3))
    candidates[:, -1] = 0.0
    return candidates


def score_together(layer, candidates):
    scorer, moments = CandidateScorer(gram(layer), EPSILON), border(layer, candidates)
    return scorer.counts(*moments), scorer.nuclear_norms(*moments)


def seconds(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def score_by_svd(layer, candidates, chosen):
    """Seconds and singular values of one SVD for each chosen candidate."""
    times, values = [], []
    for index in chosen:
        matrix = np.column_stack([layer, candidates[:, index]]) / np.sqrt(len(layer))
        elapsed, found = seconds(lambda stacked: np.linalg.svd(stacked, compute_uv=False), matrix)
        times.append(elapsed)
        values.append(found)
    return times, values


def compare(counts, norms, values):
    """How the scores differ from those of the singular values of the same candidates."""
    return {
        "counts_checked": len(values),
        "counts_different": int(np.count_nonzero(counts != (values > EPSILON).sum(axis=1))),
        "largest_error_of_sum": float(np.abs(norms - values.sum(axis=1)).max()),
        "closest_to_epsilon": float(np.abs(values / EPSILON - 1).min()),
    }


def threads():
    """Threads of the linear algebra library, or null if they cannot be told."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return os.environ.get("OPENBLAS_NUM_THREADS")
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=None)


def machine():
    return {
        "cpus": os.cpu_count(),
        "blas_threads": threads(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def measure(units, samples, candidates, repeats, seed, check_all):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((samples, 256))
    layer = make_layer(rng, inputs, units)
    pool = make_candidates(rng, inputs, layer, candidates)
    chosen = np.arange(candidates) if check_all else rng.permutation(candidates)[:40]
    counts, norms = score_together(layer, pool)
    together, one_by_one, values = [], [], []
    for turn in np.array_split(chosen, repeats):
        together.append(seconds(score_together, layer, pool)[0])
        times, found = score_by_svd(layer, pool, turn)
        one_by_one.extend(times)
        values.extend(found)
    fast, slow = statistics.median(together), statistics.median(one_by_one) * candidates
    sizes = {"units": units, "samples": samples, "candidates": candidates, "seed": seed, "repeats": repeats}
    timing = {"fast_seconds": fast, "svd_seconds": slow, "svd_timed": len(one_by_one), "ratio": slow / fast}
    totals = {"counts": {str(total): often for total, often in sorted(Counter(counts.tolist()).items())}}
    return sizes | timing | compare(counts[chosen], norms[chosen], np.array(values)) | totals | machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--samples", type=int, default=1568)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--all", action="store_true", help="time and check the SVDs of all candidates")
    parser.add_argument("--quick", action="store_true", help="32 units, 200 samples, 100 candidates, 3 repeats")
    args = parser.parse_args()
    sizes = (32, 200, 100, 3) if args.quick else (args.units, args.samples, args.candidates, args.repeats)
    results = [measure(*sizes, seed, args.all) for seed in args.seed]
    for result in results:
        print(json.dumps(result), flush=True)
    sys.exit(any(result["counts_different"] for result in results))


if __name__ == "__main__":
    main()
