"""What the experiments share: strategies by name, one trial, a file to resume from, tables with means over seeds."""

import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from keras_struct import strategies
from keras_struct.schedules import Batched, EveryNSteps, Linear
from keras_struct.triggers import AuxiliaryGradient

NORTH = ["NorthSelect", "NorthPre", "NorthRandom", "NorthWeight"]
GRADIENT = ["GradMax", "Firefly", "NeST"]
DYNAMIC = [*NORTH, *GRADIENT]


def strategy(name, max_units, seed, every=1, trigger=None, axes=None):
    """A published strategy; `GradMax@0.05` has another threshold factor, `NorthWeight+ceil` rounds up."""
    name, _, factor = name.partition("@")
    name, _, rounding = name.partition("+")
    options = {"max_units": max_units, "seed": seed, "schedule": EveryNSteps(every), "axes": axes}
    if factor:
        options["trigger"] = AuxiliaryGradient(threshold_factor=float(factor))
    if rounding:
        options["trigger"] = dataclasses.replace(getattr(strategies, name)().trigger, rounding=rounding)
    if trigger is not None:
        options["trigger"] = trigger
    return getattr(strategies, name)(**options)


def preset(name, kind, units, steps, seed, max_units=None, axes=None):
    """The initializer of a published strategy on a fixed schedule that adds `units` to each axis within `steps`."""
    schedule = {"linear": Linear, "batched": Batched}[kind](units, steps)
    initializer = getattr(strategies, name)().initializer
    return strategies.Grow(initializer=initializer, schedule=schedule, seed=seed, max_units=max_units, axes=axes)


class Trials:
    """Trials that are done, one JSON line each; a trial that is in the file is not run again.

    Args:
        path: The file.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.rows = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def run(self, key, function):
        """Run a trial unless it is done, and keep what it returns."""
        if any(row["key"] == key for row in self.rows):
            return
        start = time.perf_counter()
        row = {"key": key, **function(), "seconds": round(time.perf_counter() - start, 1)}
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print({k: v for k, v in row.items() if k not in ("log", "history")}, file=sys.stderr, flush=True)

    def grouped(self, *names):
        """Rows with equal entries of their key, in the order in which they were met."""
        groups = {}
        for row in self.rows:
            groups.setdefault(tuple(row["key"][name] for name in names), []).append(row)
        return groups


def grown(model):
    """What is kept of a model that was trained."""
    log = model.structure_log
    return {
        "widths": dict(model.structure.axes),
        "parameters": model.count_params(),
        "events": len(log),
        "log": [[e.step, e.axis, e.after] for e in log],
    }


def spread(values, digits=3):
    """Mean and standard deviation."""
    mean = statistics.mean(values)
    return f"{mean:.{digits}f}" + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def circumstances():
    """Machine kind and versions, for the head of a table."""
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores, no GPU; Keras {keras.__version__} on "
        f"{keras.backend.backend()}, Python {platform.python_version()}."
    )
