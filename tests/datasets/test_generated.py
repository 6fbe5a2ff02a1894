"""Data that are made: of the asked-for dimension, the same for the same seed."""

import numpy as np
import pytest

from keras_struct.datasets import Dataset, independent_features


@pytest.mark.parametrize("independent", [1, 7, 16])
def test_features_span_as_many_dimensions_as_are_independent(independent):
    data = independent_features(n_features=16, n_independent=independent, samples=400)
    x = np.concatenate([data.x_train, data.x_test])
    assert np.linalg.matrix_rank(x) == independent
    assert np.linalg.matrix_rank(x[:, :independent]) == independent


def test_shares_and_types_are_as_documented():
    data = independent_features()
    assert isinstance(data, Dataset)
    assert (data.x_train.shape, data.x_test.shape) == ((4500, 64), (500, 64))
    assert (data.x_train.dtype, data.y_train.dtype, data.num_classes) == (np.float32, np.int64, 2)
    assert data.name == "independent_64_of_64"
    assert abs(data.x_train.mean()) < 0.01
    assert abs(data.x_train.std() - 1) < 0.01


@pytest.mark.parametrize("independent", [4, 64])
def test_classes_are_balanced(independent):
    data = independent_features(n_independent=independent)
    assert abs(data.y_train.mean() - 0.5) < 0.05
    assert abs(data.y_test.mean() - 0.5) < 0.1


def test_without_noise_the_sum_tells_the_classes_apart():
    data = independent_features(n_features=10, n_independent=5, noise=0)
    total = data.x_train.sum(axis=1)
    assert total[data.y_train == 0].max() < total[data.y_train == 1].min()


def test_noise_moves_the_share_of_samples_that_it_should():
    """With correlation r of sum and target, arccos(r) / pi of the samples lie on the other side."""
    data = independent_features(samples=40_000, noise=0.5)
    total = data.x_train.sum(axis=1)
    other_side = ((total > total.mean()) != data.y_train).mean()
    assert abs(other_side - np.arctan(0.5) / np.pi) < 0.01


def told_by_the_sum(data):
    """Share of samples whose class the sum of the features, all that can be known of it, tells."""
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    total = x.sum(axis=1, dtype=np.float64)
    return ((total > total.mean()) == y).mean(), total.std()


def test_noise_of_a_tenth_of_the_sum_lets_nobody_pass_96_8_percent():
    told, _ = told_by_the_sum(independent_features(8, 8, samples=200_000))
    assert told == pytest.approx(1 - np.arctan(0.1) / np.pi, abs=0.0015)
    assert round(1 - np.arctan(0.1) / np.pi, 3) == 0.968


@pytest.mark.parametrize(("features", "independent"), [(8, 8), (8, 3)])
@pytest.mark.parametrize("noise_of", ["each_feature", "one_feature", "labels"])
def test_other_readings_of_the_noise_have_the_limits_that_are_documented(noise_of, features, independent):
    options = {"samples": 200_000, "noise": 0.2, "noise_of": noise_of, "seed": 2}
    data = independent_features(features, independent, **options)
    told, spread = told_by_the_sum(data)
    deviations = np.concatenate([data.x_train, data.x_test]).std(axis=0)
    noise = {"each_feature": 0.2 * np.linalg.norm(deviations), "one_feature": 0.2}
    expected = 0.9 if noise_of == "labels" else 1 - np.arctan(noise[noise_of] / spread) / np.pi
    assert told == pytest.approx(expected, abs=0.0025)


def test_of_64_features_one_reading_alone_allows_99_percent():
    highest = {
        noise_of: told_by_the_sum(independent_features(samples=20_000, noise_of=noise_of))[0]
        for noise_of in ("sum", "each_feature", "one_feature", "labels")
    }
    assert highest == pytest.approx(
        {"sum": 0.968, "each_feature": 0.968, "one_feature": 0.996, "labels": 0.95}, abs=0.006
    )


def test_readings_differ_in_classes_and_not_in_features():
    first, second = (independent_features(8, 3, samples=200, noise_of=noise_of) for noise_of in ("sum", "labels"))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    clean = independent_features(8, 3, samples=200, noise=0, noise_of="labels")
    total = clean.x_train.sum(axis=1)
    assert total[clean.y_train == 0].max() < total[clean.y_train == 1].min()


def test_the_seed_decides():
    first, again, other = (independent_features(8, 3, samples=50, seed=seed) for seed in (1, 1, 2))
    for key in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, key), getattr(again, key))
    assert not np.array_equal(first.x_train, other.x_train)


def test_test_fraction_is_rounded_to_whole_samples():
    data = independent_features(4, 2, samples=101, test_fraction=0.2)
    assert (len(data.x_train), len(data.x_test)) == (81, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_independent": 0}, "from 1 to `n_features`, which is 64. Received: n_independent=0"),
        ({"n_features": 8, "n_independent": 9}, "which is 8. Received: n_independent=9"),
        ({"n_features": 0, "n_independent": 0}, "n_independent=0"),
        ({"noise": -0.1}, r"0 or more. Received: noise=-0\.1"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"noise": 1.1, "noise_of": "labels"}, r"share of the labels that are drawn, at most 1\. Received: noise=1\.1"),
        ({"noise_of": "code"}, r"`noise_of` must be one of .*'labels'\)\. Received: noise_of='code'"),
        ({"test_fraction": 0}, "both excluded.*Received: test_fraction=0"),
        ({"test_fraction": 1.0}, r"Received: test_fraction=1\.0"),
        ({"samples": 4}, r"Received: samples=4, of which test_fraction=0\.1 are 0. Ask for more"),
        ({"samples": 10, "test_fraction": 0.9}, "2 to train on"),
        ({"samples": -5}, "samples=-5"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        independent_features(**arguments)
