"""Growth with zero fan-out, pruning of silent units and splitting keep the function, for any network."""

import numpy as np
import pytest

from keras_struct import StructuralModel, prune
from keras_struct.core.model.parts import parts_of
from keras_struct.testing.preservation import largest_difference, outputs, rebuilt, relative_change, silence
from keras_struct.testing.random_models import random_data, random_model

FAST, ALL = range(4), range(4, 200)


def depth(model):
    return len(parts_of(model).live.graph.calls)


def edits_of(model, axis, rng):
    """The three edits that must keep the function, each as what prepares it and what does it."""
    width = model.structure.axes[axis]
    unit = int(rng.integers(width))
    yield lambda: None, lambda: model.grow(axis, int(rng.integers(1, 4)))
    yield lambda: None, lambda: model.split(axis, [unit])
    yield lambda: silence(model, axis, [unit]), lambda: model.apply(prune(axis, model.structure.axes[axis], [unit]))


def nothing_yet():
    return {"float64": 0.0, "float32": 0.0, "step": 0.0, "models": 0, "edits": 0}


def check_model(seed, dtype, axes=2, train=False, worst=None, checked=(0, 1, 2)):
    """Edit some axes of a network; `checked` says behind which of the edits a step is compared with that of a new network."""
    worst = nothing_yet() if worst is None else worst
    rng = np.random.default_rng(seed)
    model = StructuralModel.from_model(random_model(seed, dtype))
    x, y = random_data(model)
    tolerance = 1e-12 if dtype == "float64" else 1e-6 * np.sqrt(depth(model))
    if train:
        model.compile("adam", "mse", run_eagerly=True)
        model.train_on_batch(x, y)
    names = list(model.structure.axes)
    for axis in rng.permutation(names)[:axes]:
        for number, (prepare, edit) in enumerate(edits_of(model, str(axis), rng)):
            prepare()
            before = outputs(model, x)
            edit()
            change = relative_change(before, outputs(model, x))
            assert change <= tolerance, f"seed {seed}, axis {axis}: the outputs moved by {change}"
            worst[dtype] = max(worst[dtype], change)
            worst["edits"] += 1
            if train and number in checked:
                check_next_step(model, x, y, worst)
    worst["models"] += 1
    return len(names)


def check_next_step(model, x, y, worst):
    fresh = rebuilt(model)
    for net in (model, fresh):
        net.train_on_batch(x, y)
    difference = largest_difference(model, fresh)
    worst["step"] = max(worst["step"], difference)
    assert difference <= 1e-10


@pytest.mark.parametrize("seed", FAST)
def test_edits_keep_the_function_of_random_networks(seed):
    assert check_model(seed, "float32", axes=1) == check_model(seed, "float64", axes=1, train=True)


@pytest.mark.slow
@pytest.mark.parametrize("first", ALL[::14])
def test_edits_keep_the_function_of_many_random_networks(first, capsys):
    worst = nothing_yet()
    for seed in range(first, first + 14):
        check_model(seed, "float32", axes=3, worst=worst)
        check_model(seed, "float64", axes=1, train=True, worst=worst, checked=(seed % 3,))
    with capsys.disabled():
        print(f"\nrandom networks {first} to {seed}: {worst}")
    assert worst["models"] == 28
    assert worst["edits"] >= 3 * worst["models"]
