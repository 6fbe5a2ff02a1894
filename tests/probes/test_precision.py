"""What is measured is right, or refused, whatever the precision of activations and whatever the numbers are."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, selectors, strategies
from keras_struct.initializers import OptimizedActivation, PreActivation, Select
from keras_struct.measure.statistics.candidates import CandidateScorer
from keras_struct.schedules import EveryNSteps
from keras_struct.triggers import EffectiveDimension

layers = keras.layers


def convolutional(policy, size=1.0):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, dtype=policy, name="c")(inputs)
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    x = layers.Dense(5, "relu", dtype=policy, name="h")(layers.Flatten(dtype=policy)(x))
    model = StructuralModel(inputs, layers.Dense(2, dtype="float32")(x))
    model.get_layer("c").kernel.assign(size * np.asarray(model.get_layer("c").kernel))
    return model, np.random.default_rng(0).standard_normal((40, 6, 6, 2)).astype("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("size", [1.0, 60.0])
def test_moments_of_half_precision_activations_are_those_of_the_activations_themselves(policy, size):
    model, x = convolutional(policy, size)
    model.compile("sgd", "mse", probe=x)
    for axis, layer in (("c", "re_lu"), ("h", "h")):
        tap = next(held for held in model.layers if held.name.startswith(layer))
        rows = np.asarray(keras.ops.cast(keras.Model(model.inputs[0], tap.output)(x), "float32"), np.float64)
        rows = rows.reshape(-1, rows.shape[-1])
        measured = model.measure(axis)
        exact = rows.T @ rows / len(rows)
        np.testing.assert_allclose(measured.gram(), exact, rtol=1e-5, atol=1e-6 * exact.max())
        mean, magnitude, zeros = measured.activity()
        np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(magnitude, np.abs(rows).mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(zeros, (rows == 0).mean(axis=0), rtol=1e-4)
        kernels = measured.fan_in[0].weights
        cross, energy = measured.candidates(kernels)  # copies of the units themselves
        assert np.isfinite(cross).all()
        if axis == "h":  # no bias yet: a copy answers as its unit does
            np.testing.assert_allclose(np.diagonal(cross), np.diagonal(exact), rtol=2e-2, atol=1e-6)
            np.testing.assert_allclose(energy, np.diagonal(exact), rtol=2e-2, atol=1e-6)
        assert len(CandidateScorer(measured.gram()).rank(cross, energy)) == len(energy)


@pytest.mark.parametrize(
    ("policy", "initializer"),
    [
        ("mixed_float16", Select(candidates=6)),
        ("mixed_bfloat16", Select(candidates=6)),
        ("mixed_bfloat16", PreActivation(candidates=6)),
        ("mixed_float16", OptimizedActivation(candidates=2, steps=2)),
    ],
)
@pytest.mark.usefixtures("eager")
def test_networks_grow_in_half_precision(policy, initializer):
    model, x = convolutional(policy, 60.0)
    trigger = EffectiveDimension(gamma=0.3)
    strategy = strategies.Grow(trigger, initializer, EveryNSteps(2), max_units=8, axes="c")
    model.compile("sgd", "mse", strategy=strategy)
    history = model.fit(x, np.zeros((40, 2), "float32"), batch_size=10, verbose=0)
    assert history.structure
    assert np.isfinite(history.history["loss"]).all()


def test_units_that_are_tiny_beside_others_are_no_contradiction():
    gram = np.diag([0.0, 4.0])  # the square of 1e-24 is zero in float32, its product with 1 is not
    scorer = CandidateScorer(gram)
    order = scorer.rank(np.array([[1e-24, 0.0], [0.0, 1.0]]), np.array([1.0, 0.25]))
    assert sorted(order) == [0, 1]
    with pytest.raises(ValueError, match="no activations have these second moments"):
        scorer.rank(np.array([[0.0], [2.5]]), np.array([1.0]))
    with pytest.raises(ValueError, match="no activations have these second moments"):
        scorer.rank(np.array([[1e-3], [0.0]]), np.array([1.0]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_no_numbers_are_refused_by_every_selector_that_looks_at_them(value):
    model, x = convolutional("float32")
    x[3] = value
    model.compile("sgd", "mse", probe=x, targets=np.zeros((40, 2), "float32"))
    found = [selectors.MostSimilar(), selectors.OptimalBrainSurgeon(), selectors.LeaveOneOut(), selectors.Residual()]
    for selector in [
        *found,
        selectors.Activity(),
        selectors.Correlation(),
        selectors.Taylor(),
        selectors.Perturbation(),
    ]:
        with pytest.raises(ValueError, match="NaN"):
            model.prune("h", count=1, selector=selector)
    assert model.structure.axes["h"] == 5


def test_too_few_samples_are_refused_before_training():
    model, x = convolutional("float32")
    with pytest.raises(ValueError, match=r"`probe=5` keeps too few samples to measure axis 'h'.*more than 5"):
        model.compile("sgd", "mse", strategy=strategies.NorthSelect(), probe=5)
    with pytest.raises(ValueError, match="at least one sample"):
        model.compile("sgd", "mse", probe=x[:0])
    model.compile("sgd", "mse", strategy=strategies.NorthSelect(axes="c"), probe=5)  # five images, 180 positions
