"""The effective dimension counts the directions that activations use, whatever their number, dtype and home."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_struct.statistics import effective_dimension, gram, numerical_rank, rank_of_gram
from keras_struct.statistics import effective_dimension as exported

EPSILON = 0.01
# Four samples of three units: H^T H / 4 = diag(4, 1, 1 / 4) / 4, so the singular values of H / 2 are 1, 1/2 and 1/4.
LAYER = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


def singular_values(activations):
    samples = np.reshape(activations, (-1, np.shape(activations)[-1])).astype(np.float64)
    return np.linalg.svd(samples / np.sqrt(len(samples)), compute_uv=False)


def planted(values, samples, seed):
    """Activations whose singular values, divided by sqrt(n), are `values`."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((samples, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return np.sqrt(samples) * (left * values) @ right


@pytest.mark.parametrize(("epsilon", "rank"), [(0.01, 3), (0.3, 2), (0.6, 1), (1.1, 0)])
def test_singular_values_above_epsilon_are_counted(epsilon, rank):
    assert numerical_rank(LAYER, epsilon) == rank
    assert effective_dimension(LAYER, epsilon) == rank / 3


def test_a_singular_value_equal_to_epsilon_does_not_count():
    assert [numerical_rank(LAYER, epsilon) for epsilon in (1.0, 0.5, 0.25)] == [0, 1, 2]


def test_the_default_threshold_is_one_hundredth():
    assert rank_of_gram(np.diag([0.0099**2, 0.0101**2])) == 1


def test_a_repeated_unit_adds_no_dimension():
    assert numerical_rank(np.vstack([LAYER, LAYER])[:, [0, 1, 2, 0]]) == 3


def test_a_dead_layer_has_dimension_zero():
    assert effective_dimension(np.zeros((5, 4))) == 0.0


def test_every_axis_but_the_last_counts_as_samples():
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    np.testing.assert_array_equal(gram(images), gram(images.reshape(24, 5)))


def test_a_gram_matrix_holds_second_moments_without_centring():
    np.testing.assert_array_equal(gram([[1, 3], [1, 5]]), [[1.0, 4.0], [4.0, 17.0]])


def test_a_layer_without_units_has_rank_zero_and_no_effective_dimension():
    assert numerical_rank(np.zeros((4, 0))) == 0
    with pytest.raises(ValueError, match="minimum width"):
        effective_dimension(np.zeros((4, 0)))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int32, bool])
def test_every_real_dtype_is_measured_in_float64(dtype):
    activations = np.random.default_rng(1).integers(0, 2, (50, 6)).astype(dtype)
    assert gram(activations).dtype == np.float64
    np.testing.assert_array_equal(gram(activations), gram(activations.astype(np.float64)))


def test_float16_activations_beyond_the_range_of_its_squares_are_measured():
    assert numerical_rank((1000 * LAYER).astype(np.float16), epsilon=600.0) == 1


def test_blocks_of_samples_add_up_to_the_whole(monkeypatch):
    activations = np.random.default_rng(2).standard_normal((103, 4))
    expected = activations.T @ activations / 103
    monkeypatch.setattr(sys.modules["keras_struct.measure.statistics.effective_dimension"], "_BLOCK_ENTRIES", 40)
    np.testing.assert_allclose(gram(activations), expected, rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.integers(1, 24), extra=st.integers(1, 60), kind=st.integers(0, 3))
def test_the_rank_is_that_of_a_singular_value_decomposition(seed, units, extra, kind):
    rng = np.random.default_rng(seed)
    activations = np.maximum(rng.standard_normal((units + extra, units)), 0)
    if kind == 1:
        activations[:, rng.integers(0, units, units // 2)] = 0.0
    if kind == 2:
        activations = activations[:, rng.integers(0, units, units)] * (1 + 1e-3 * rng.standard_normal(units))
    if kind == 3:
        activations = activations * 10.0 ** rng.uniform(-4, 1, units)
    values = singular_values(activations)
    if (np.abs(values / EPSILON - 1) > 1e-9).all():
        assert numerical_rank(activations, EPSILON) == (values > EPSILON).sum()


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("seed", range(5))
def test_a_singular_value_beside_the_threshold_is_decided_rightly(distance, side, seed):
    values = np.r_[np.geomspace(3, 0.03, 31), EPSILON * (1 + side * distance)]
    assert numerical_rank(planted(values, 200, seed), EPSILON) == 31 + (side > 0)


def test_scaling_activations_and_threshold_alike_changes_nothing():
    activations = planted(np.geomspace(1, 1e-4, 12), 50, 0)
    assert numerical_rank(activations, 0.01) == numerical_rank(64 * activations, 0.64) == 6


@pytest.mark.parametrize("samples", [3, 4])
def test_too_few_samples_are_refused_with_both_numbers_and_a_remedy(samples):
    with pytest.raises(ValueError, match=rf"4 units on {samples} samples.*Raise the buffer.*limit the width"):
        effective_dimension(np.ones((samples, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_activations_that_are_not_finite_are_refused_by_unit(value):
    activations = np.random.default_rng(0).standard_normal((20, 6))
    activations[3, [1, 4]] = value
    with pytest.raises(ValueError, match=r"units \[1, 4\] are not finite"):
        effective_dimension(activations)


@pytest.mark.parametrize("epsilon", [0.0, -0.01, np.nan, np.inf])
def test_an_epsilon_that_is_not_positive_is_refused(epsilon):
    with pytest.raises(ValueError, match="must be a positive number"):
        effective_dimension(LAYER, epsilon)


@pytest.mark.parametrize("activations", [np.ones(4), np.ones((0, 3)), np.float64(1)])
def test_activations_without_samples_are_refused(activations):
    with pytest.raises(ValueError, match=r"\(samples, \.\.\., units\)"):
        gram(activations)


def test_complex_activations_are_refused():
    with pytest.raises(TypeError, match="real numbers"):
        gram(np.ones((4, 2), complex))


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(4), np.array([[1.0, 2.0], [0.0, 1.0]])])
def test_what_is_no_gram_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="as a Gram matrix"):
        rank_of_gram(matrix)


def test_a_gram_matrix_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        rank_of_gram(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_the_package_exports_the_function_and_not_its_module():
    assert callable(exported)


def test_measuring_arrays_does_not_load_keras():
    code = (
        "import sys, keras_struct.statistics as s; s.effective_dimension([[1., 0.], [0., 1.], [1., 1.]]); "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_tensors_and_variables_of_the_backend_measure_as_arrays_do(dtype):
    import keras

    activations = np.random.default_rng(3).standard_normal((5, 8, 6)).astype(ml_dtypes.bfloat16).astype(np.float32)
    tensor = keras.ops.cast(keras.ops.convert_to_tensor(activations), dtype)
    for moments in (gram(tensor), gram(keras.Variable(tensor, dtype=dtype))):
        assert isinstance(moments, np.ndarray)
        assert moments.dtype == np.float64
        np.testing.assert_allclose(moments, gram(activations), rtol=2e-3 if dtype == "float16" else 1e-14, atol=1e-3)
    assert effective_dimension(tensor) == effective_dimension(activations)
