"""Weights of new units."""

from dataclasses import replace

import numpy as np
import pytest

from keras_struct.initializers import RandomFanIn, Select
from keras_struct.measurements import AxisMeasurement, Border, FanIn

RNG = np.random.default_rng(0)


def measured(x, kernel, kind="dense"):
    hidden = np.maximum(x @ kernel, 0)

    def candidates(kernels):
        fresh = np.maximum(x @ kernels, 0)
        return Border(hidden.T @ fresh / len(x), (fresh**2).mean(axis=0))

    return AxisMeasurement(
        "h",
        kernel.shape[1],
        None,
        kind,
        (FanIn("h/kernel", kernel, lambda new: new),),
        gram=lambda: hidden.T @ hidden / len(x),
        samples=lambda: len(x),
        candidates=candidates,
    )


def recording(m, drawn):
    """The same measurement, which adds the candidates that it is asked about to a list."""

    def candidates(kernels):
        drawn.append(kernels)
        return m.candidates(kernels)

    return replace(m, candidates=candidates)


@pytest.mark.parametrize("initializer", [RandomFanIn(), Select(candidates=20)])
def test_new_units_have_the_mean_norm_of_the_existing_ones(initializer):
    x, kernel = RNG.standard_normal((50, 6)), RNG.standard_normal((6, 4))
    values = initializer(measured(x, kernel), 3, np.random.default_rng(1))
    assert values["h/kernel"].shape == (6, 3)
    np.testing.assert_allclose(np.linalg.norm(values["h/kernel"], axis=0), np.linalg.norm(kernel, axis=0).mean())


@pytest.mark.parametrize("initializer", [RandomFanIn(), Select(candidates=20)])
def test_the_same_seed_gives_the_same_weights(initializer):
    x, kernel = RNG.standard_normal((50, 6)), RNG.standard_normal((6, 4))
    first, again, other = (initializer(measured(x, kernel), 2, np.random.default_rng(s))["h/kernel"] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_select_takes_what_brute_force_finds_best():
    x, kernel = RNG.standard_normal((60, 6)), RNG.standard_normal((6, 4))
    kernel[:, 3] = kernel[:, 2]
    drawn, hidden = [], np.maximum(x @ kernel, 0)
    m = recording(measured(x, kernel), drawn)
    chosen = Select(candidates=30)(m, 2, np.random.default_rng(0))["h/kernel"]
    scores = []
    for candidate in drawn[0].T:
        sigma = np.linalg.svd(np.c_[hidden, np.maximum(x @ candidate, 0)] / np.sqrt(60), compute_uv=False)
        scores.append(((sigma > 0.01).sum(), sigma.sum()))
    best = sorted(range(32), key=lambda i: scores[i], reverse=True)[:2]
    np.testing.assert_array_equal(chosen, drawn[0][:, best])


@pytest.mark.parametrize(("kind", "number"), [("dense", 1003), ("conv", 103)])
def test_the_published_numbers_of_candidates_are_the_default(kind, number):
    x, kernel = RNG.standard_normal((50, 6)), RNG.standard_normal((6, 4))
    drawn = []
    Select()(recording(measured(x, kernel, kind), drawn), 3, np.random.default_rng(0))
    assert [kernels.shape[-1] for kernels in drawn] == [number]
