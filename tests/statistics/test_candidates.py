"""A candidate's score is what one singular value decomposition with that candidate added would give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_struct.statistics import Border, CandidateScorer, MeasurementError, border, gram, rank_of_gram

EPSILON = 0.01
# Singular values of H / sqrt(4): 1 and 1/2.
LAYER = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])


def singular_values(activations):
    return np.linalg.svd(activations / np.sqrt(len(activations)), compute_uv=False)


def one_by_one(layer, candidates):
    """Singular values with each candidate in turn, from an SVD each: shape (candidates, units + 1)."""
    return np.array([singular_values(np.column_stack([layer, candidate])) for candidate in candidates.T])


def planted(values, samples, rng):
    left = np.linalg.qr(rng.standard_normal((samples, len(values))))[0]
    right = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return np.sqrt(samples) * (left * values) @ right


def random_layer(rng, samples, units):
    return np.maximum(rng.standard_normal((samples, units)), 0)


def degenerate_layer(rng, samples, units):
    """Units of low rank with a little noise; some dead, some repeated, some nearly so."""
    factors = rng.standard_normal((samples, 3)) @ rng.standard_normal((3, units))
    layer = np.maximum(factors + 1e-3 * rng.standard_normal(factors.shape), 0)
    layer[:, : units // 4] = 0.0
    layer[:, units // 4 : units // 2] = layer[:, [-1]]
    layer[:, units // 2] = layer[:, -1] * (1 + 0.02 * rng.standard_normal(samples))
    return layer


def near_threshold_layer(rng, samples, units):
    values = np.r_[np.geomspace(2, 0.02, units - units // 2), EPSILON * (1 + rng.uniform(-1e-4, 1e-4, units // 2))]
    return planted(values, samples, rng)


def all_kinds_of_candidates(rng, layer, count=40):
    """Fresh, repeated, nearly repeated, faint and loud ones, combinations of units, and a dead one."""
    samples, units = layer.shape
    copies = layer[:, rng.integers(0, units, count)]
    noise = rng.standard_normal((samples, count))
    groups = (
        np.maximum(noise, 0),
        copies,
        copies + EPSILON * rng.uniform(0, 2, count) * noise,
        np.maximum(noise, 0) * 10.0 ** rng.uniform(-3, 2, count),
        layer @ rng.standard_normal((units, count)),
        np.zeros((samples, 1)),
    )
    return np.column_stack(groups)


def check_against_svd(layer, candidates, tolerance):
    expected = one_by_one(layer, candidates)
    scorer, moments = CandidateScorer(gram(layer), EPSILON), border(layer, candidates)
    decided = (np.abs(expected / EPSILON - 1) > 1e-9).all(axis=1)
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(scorer.counts(*moments)[decided], (expected > EPSILON).sum(axis=1)[decided])
    np.testing.assert_allclose(scorer.nuclear_norms(*moments), expected.sum(axis=1), rtol=0, atol=tolerance)


def test_a_border_holds_mean_products_and_mean_squares():
    cross, energy = border(LAYER, np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 2.0]]))
    np.testing.assert_array_equal(cross, [[0.5, 0.0], [0.5, 0.0]])
    np.testing.assert_array_equal(energy, [3.5, 1.0])


def test_scores_of_orthogonal_and_repeated_candidates_can_be_worked_out_by_hand():
    candidates = np.array([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.01], [0.0, 0.0, 0.0, 0.0]])
    scorer, moments = CandidateScorer(gram(LAYER), EPSILON), border(LAYER, candidates)
    assert (scorer.count, scorer.nuclear_norm) == (2, 1.5)
    # A new direction of norm 1 / sqrt(4); a repetition of unit 0 (1 becomes sqrt(2)); dead; new but too faint.
    np.testing.assert_array_equal(scorer.counts(*moments), [3, 2, 2, 2])
    np.testing.assert_allclose(scorer.nuclear_norms(*moments), [2.0, 0.5 + np.sqrt(2), 1.5, 1.505], atol=1e-7)
    np.testing.assert_array_equal(scorer.rank(*moments), [0, 1, 3, 2])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("make", "tolerance"), [(random_layer, 1e-6), (degenerate_layer, 5e-6), (near_threshold_layer, 1e-6)]
)
@pytest.mark.parametrize(("samples", "units"), [(40, 4), (120, 16), (200, 64)])
def test_scores_equal_those_of_one_svd_per_candidate(make, tolerance, samples, units, seed):
    rng = np.random.default_rng([seed, units])
    layer = make(rng, samples, units)
    check_against_svd(layer, all_kinds_of_candidates(rng, layer), tolerance)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.integers(1, 10), extra=st.integers(2, 30), faint=st.floats(-3, 0))
def test_counts_are_those_of_the_bordered_gram_matrix(seed, units, extra, faint):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, units + extra, units) * 10.0 ** rng.uniform(faint, 0, units)
    candidates = all_kinds_of_candidates(rng, layer, count=3)
    both = [np.column_stack([layer, candidate]) for candidate in candidates.T]
    decided = [(np.abs(singular_values(b) / EPSILON - 1) > 1e-7).all() for b in both]
    counts = CandidateScorer.from_activations(layer, EPSILON).counts(*border(layer, candidates))
    np.testing.assert_array_equal(counts[decided], [rank_of_gram(gram(b), EPSILON) for b in np.array(both)[decided]])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.integers(0, 10))
def test_a_candidate_adds_at_most_one_to_the_count_and_at_most_its_norm_to_the_sum(seed, units):
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, 30, units)
    candidates = rng.standard_normal((30, 5)) * 10.0 ** rng.uniform(-4, 2, 5)
    scorer, (cross, energy) = CandidateScorer(gram(layer)), border(layer, candidates)
    assert np.isin(scorer.counts(cross, energy) - scorer.count, (0, 1)).all()
    gain = scorer.nuclear_norms(cross, energy) - scorer.nuclear_norm
    assert (gain >= -1e-6).all()
    assert (gain <= np.sqrt(energy) + 1e-6).all()


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("side", [-1, 1])
def test_totals_stay_right_if_an_old_singular_value_lies_beside_the_threshold(distance, side):
    rng = np.random.default_rng(0)
    layer = planted(np.r_[np.geomspace(3, 0.02, 31), EPSILON * (1 + side * distance)], 200, rng)
    candidates = np.column_stack([0.3 * rng.standard_normal((200, 50)), layer @ rng.standard_normal((32, 50)) / 8])
    expected = (one_by_one(layer, candidates) > EPSILON).sum(axis=1)
    np.testing.assert_array_equal(CandidateScorer(gram(layer), EPSILON).counts(*border(layer, candidates)), expected)


def test_a_singular_value_exactly_on_the_threshold_counts_once_a_candidate_leans_on_it():
    layer = np.array([[1.0], [0.0], [0.0], [0.0]])  # singular value 1 / 2
    candidates = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    scorer = CandidateScorer(gram(layer), epsilon=0.5)
    assert scorer.count == 0
    # Leaning on it: eigenvalues 0.65 and 0.10 against 0.25. At a right angle with the same norm, with twice it, dead.
    np.testing.assert_array_equal(scorer.counts(*border(layer, candidates)), [1, 0, 1, 0])


@pytest.mark.parametrize("nudge", [-1e-12, 0.0, 1e-12])
def test_a_candidate_that_pushes_an_old_singular_value_below_the_threshold_adds_only_itself(nudge):
    # [[e, 1e-6], [1e-6, 1]] with e = epsilon^2 has the eigenvalues e - 1e-12 and 1 + 1e-12.
    moments = np.diag([1.0, EPSILON**2 * (1 + nudge)])
    counts = CandidateScorer(moments, EPSILON).counts(np.array([[0.0], [1e-6]]), np.array([1.0]))
    np.testing.assert_array_equal(counts, [2])


def test_a_layer_without_units_counts_the_candidates_alone():
    scorer = CandidateScorer(np.zeros((0, 0)), EPSILON)
    moments = np.zeros((0, 4)), np.array([4.0, 1.0, 0.0, EPSILON**2 / 2])
    np.testing.assert_array_equal(scorer.counts(*moments), [1, 1, 0, 0])
    np.testing.assert_allclose(scorer.nuclear_norms(*moments), [2.0, 1.0, 0.0, EPSILON / np.sqrt(2)], atol=1e-9)
    np.testing.assert_array_equal(scorer.rank(*moments), [0, 1, 3, 2])


def test_no_candidates_have_no_scores():
    scorer = CandidateScorer(gram(LAYER))
    assert scorer.counts(np.zeros((2, 0)), np.zeros(0)).shape == (0,)
    assert scorer.nuclear_norms(np.zeros((2, 0)), np.zeros(0)).shape == (0,)
    assert scorer.rank(np.zeros((2, 0)), np.zeros(0)).shape == (0,)


def test_a_dead_layer_with_dead_candidates_keeps_their_order():
    scorer = CandidateScorer(np.zeros((3, 3)))
    moments = np.zeros((3, 2)), np.zeros(2)
    np.testing.assert_array_equal(scorer.counts(*moments), [0, 0])
    np.testing.assert_array_equal(scorer.nuclear_norms(*moments), [0.0, 0.0])
    for normalized in (False, True):
        np.testing.assert_array_equal(scorer.rank(*moments, normalized=normalized), [0, 1])


def test_equal_candidates_keep_their_order():
    rng = np.random.default_rng(0)
    layer, candidate = random_layer(rng, 100, 8), rng.standard_normal((100, 1))
    order = CandidateScorer(gram(layer)).rank(*border(layer, np.repeat(candidate, 37, axis=1)))
    np.testing.assert_array_equal(order, np.arange(37))


def test_a_new_direction_comes_before_any_loud_repetition():
    candidates = np.array([[200.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    scorer, moments = CandidateScorer(gram(LAYER)), border(LAYER, candidates)
    np.testing.assert_array_equal(scorer.rank(*moments), [1, 0])
    np.testing.assert_array_equal(scorer.rank(*moments, ranking="count_plus_nuclear"), [0, 1])


def test_normalized_ranking_prefers_the_more_orthogonal_of_two_new_directions():
    # Both count; the first is loud and almost unit 0, the second quiet and at a right angle to both units.
    candidates = np.array([[20.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    scorer, moments = CandidateScorer(gram(LAYER)), border(LAYER, candidates)
    np.testing.assert_array_equal(scorer.counts(*moments), [3, 3])
    np.testing.assert_array_equal(scorer.rank(*moments), [0, 1])
    np.testing.assert_array_equal(scorer.rank(*moments, normalized=True), [1, 0])


def test_normalized_norms_do_not_depend_on_how_loud_candidates_are():
    rng = np.random.default_rng(0)
    layer, candidates = random_layer(rng, 100, 8), rng.standard_normal((100, 6))
    scorer, loudness = CandidateScorer(gram(layer)), 10.0 ** np.arange(-3, 3)
    unit_energy = candidates / np.sqrt(np.mean(candidates**2, axis=0))
    expected = scorer.nuclear_norms(*border(layer, unit_energy))
    norms = scorer.nuclear_norms(*border(layer, candidates * loudness), normalized=True)
    np.testing.assert_allclose(norms, expected, rtol=1e-9)


def test_a_dead_candidate_comes_last_also_if_normalized():
    candidates = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1e-3], [0.0, 0.0]])
    order = CandidateScorer(gram(LAYER)).rank(*border(LAYER, candidates), normalized=True)
    np.testing.assert_array_equal(order, [1, 0])


def test_the_scorer_leaves_its_arguments_as_they_are():
    moments, (cross, energy) = gram(LAYER), border(LAYER, np.ones((4, 2)))
    for array in (moments, cross, energy):
        array.setflags(write=False)
    CandidateScorer(moments).rank(cross, energy, normalized=True)


def test_candidates_of_float32_samples_are_scored_in_float64():
    layer, candidates = LAYER.astype(np.float32), np.ones((4, 1), np.float32)
    moments = border(layer, candidates)
    assert isinstance(moments, Border)
    assert moments.cross.dtype == moments.energy.dtype == np.float64


def test_candidates_on_other_samples_are_refused():
    with pytest.raises(ValueError, match=r"3 samples with activations on 4"):
        border(LAYER, np.ones((3, 2)))


def test_candidates_that_are_not_finite_are_refused_by_index():
    candidates = np.ones((4, 3))
    candidates[0, 1] = np.nan
    with pytest.raises(ValueError, match=r"candidates \[1\] are not finite"):
        border(LAYER, candidates)


@pytest.mark.parametrize(("cross", "energy"), [((3, 2), (2,)), ((2, 2), (3,)), ((2,), (1,)), ((2, 2), (2, 2))])
def test_moments_of_other_shapes_are_refused(cross, energy):
    with pytest.raises(ValueError, match=r"shapes must be \(2, candidates\) and \(candidates,\)"):
        CandidateScorer(gram(LAYER)).counts(np.zeros(cross), np.ones(energy))


def test_moments_that_were_not_divided_by_the_number_of_samples_are_refused():
    cross, energy = border(LAYER, np.ones((4, 1)))
    with pytest.raises(ValueError, match="same number of samples"):
        CandidateScorer(gram(LAYER)).counts(cross * 4, energy)


def test_negative_energies_are_refused():
    with pytest.raises(ValueError, match="no activations have these second moments"):
        CandidateScorer(gram(LAYER)).counts(np.zeros((2, 1)), np.array([-1.0]))


def test_an_unknown_ranking_is_refused():
    with pytest.raises(ValueError, match="'worst'"):
        CandidateScorer(gram(LAYER)).rank(np.zeros((2, 1)), np.ones(1), ranking="worst")


def test_a_scorer_needs_more_samples_than_units():
    with pytest.raises(ValueError, match="5 units on 5 samples"):
        CandidateScorer.from_activations(np.eye(5))


def test_tensors_of_the_backend_have_the_border_of_arrays():
    import keras

    rng = np.random.default_rng(0)
    layer, candidates = (rng.standard_normal((5, 4, width)).astype(np.float32) for width in (3, 6))
    expected = border(layer, candidates)
    tensors = keras.ops.convert_to_tensor(layer), keras.ops.convert_to_tensor(candidates)
    for moments in (border(*tensors), border(layer, tensors[1]), border(tensors[0], candidates)):
        for measured, array in zip(moments, expected, strict=True):
            assert isinstance(measured, np.ndarray)
            np.testing.assert_allclose(measured, array, rtol=1e-13, atol=1e-13)


def test_candidates_that_are_lost_in_float32_beside_large_units_are_scored():
    """Squares below what float32 can hold are 0 in sums, while their products with large activations are not."""
    scorer = CandidateScorer(np.diag([4.0, 1.0]), EPSILON)
    cross, energy = np.array([[1e-20], [0.0]]), np.zeros(1)
    assert np.isfinite(scorer.nuclear_norms(cross, energy)).all()
    with pytest.raises(MeasurementError, match="Cauchy-Schwarz"):
        scorer.nuclear_norms(cross * 1e3, energy)
