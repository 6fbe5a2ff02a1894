"""The orthogonality gap is that of equation 29, without its matrix of samples times samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_struct.statistics import orthogonality_gap


def literal(activations):
    """Equation 29 as it reads: `activations` of shape `(samples, units)` are the transpose of the text's H."""
    identity = np.eye(len(activations))
    covariance = activations @ activations.T / np.linalg.norm(activations) ** 2
    return 1 - np.linalg.norm(covariance - identity / np.linalg.norm(identity) ** 2)


def test_orthogonal_units_of_equal_norm_have_the_largest_value_of_their_width():
    assert orthogonality_gap(3 * np.eye(8)[:, :2]) == pytest.approx(1 - math.sqrt(1 / 2 - 1 / 8), abs=1e-15)


def test_as_many_orthogonal_units_as_samples_reach_one():
    assert orthogonality_gap(7 * np.eye(5)) == 1.0


def test_parallel_units_have_the_smallest_value():
    activations = np.outer([1.0, 0.0, 2.0, 0.0], [1.0, -3.0])
    assert orthogonality_gap(activations) == pytest.approx(1 - math.sqrt(1 - 1 / 4), abs=1e-15)


def test_two_units_at_a_right_angle_with_unequal_norms_can_be_worked_out_by_hand():
    # K / tr K = diag(4, 1, 0, 0) / 5; distance to I / 4: (11 / 20, -1 / 20, -1 / 4, -1 / 4), squared sum 172 / 400.
    activations = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert orthogonality_gap(activations) == pytest.approx(1 - math.sqrt(172 / 400), abs=1e-15)


def test_a_dead_layer_scores_as_parallel_units_do():
    assert orthogonality_gap(np.zeros((4, 3))) == pytest.approx(1 - math.sqrt(1 - 1 / 4), abs=1e-15)


def test_a_single_unit_on_a_single_sample_is_orthogonal():
    assert orthogonality_gap([[5.0]]) == 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 40), units=st.integers(1, 40))
def test_it_is_the_distance_of_the_full_covariance_to_the_identity(seed, samples, units):
    activations = np.random.default_rng(seed).standard_normal((samples, units))
    assert orthogonality_gap(activations) == pytest.approx(literal(activations), abs=1e-7)


def test_neither_the_scale_nor_the_order_of_samples_matters():
    activations = np.random.default_rng(0).standard_normal((30, 6))
    assert orthogonality_gap(100 * activations[::-1]) == pytest.approx(orthogonality_gap(activations), abs=1e-14)


def test_positions_count_as_samples():
    images = np.random.default_rng(0).standard_normal((4, 3, 3, 5)).astype(np.float32)
    assert orthogonality_gap(images) == orthogonality_gap(images.reshape(36, 5))


def test_a_layer_without_units_is_refused():
    with pytest.raises(ValueError, match="without units"):
        orthogonality_gap(np.zeros((4, 0)))


def test_activations_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"units \[1\] are not finite"):
        orthogonality_gap([[1.0, np.nan], [1.0, 2.0]])
