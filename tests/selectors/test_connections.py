"""What connections are worth, against plain NumPy; which of them are kept."""

import keras
import numpy as np
import pytest

from keras_struct import Rewire, StructuralModel, selectors
from keras_struct.core.backend import current
from keras_struct.layers import MaskedDense
from keras_struct.measurements import ConnectionMeasurement
from keras_struct.policies.policy import pack, unpack
from keras_struct.sparse.selectors import keep_best

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 5)).astype("float32")
Y = RNG.standard_normal((24, 2)).astype("float32")
SELECTORS = [
    selectors.WeightMagnitude(),
    selectors.GradientMagnitude(),
    selectors.Snip(),
    selectors.OptimalBrainDamage(),
    selectors.RandomConnections(),
]


def read(variable):
    return current().read(variable).astype(np.float64)


@pytest.fixture(params=["silent", "training"])
def network(request):
    """tanh(x A) B with a third of the connections gone."""
    keras.utils.set_random_seed(1)
    stack = [keras.Input((5,)), MaskedDense(4, activation="tanh", use_bias=False, name="a", dormant=request.param)]
    model = StructuralModel([*stack, MaskedDense(2, use_bias=False, name="b", dormant=request.param)])
    model.compile("sgd", "mse", probe=X, targets=Y)
    rng = np.random.default_rng(2)
    model.apply([Rewire(name, rng.random(model.get_layer(name).kernel.shape) < 2 / 3) for name in "ab"])
    return model


def gradients(model, x, y):
    """Derivatives of the mean squared error by all weights of both layers, those that are not there included."""
    a, b = (read(model.get_layer(name).kernel) * read(model.get_layer(name).mask) for name in "ab")
    h = np.tanh(x @ a)
    error = 2 * (h @ b - y) / y.size
    return {"a": x.T @ (error @ b.T * (1 - h**2)), "b": h.T @ error}


def test_gradients_reach_connections_that_are_not_there(network):
    expected = gradients(network, X.astype(float), Y)
    measured = network.measure_connections()
    for name in "ab":
        np.testing.assert_allclose(measured[name].gradients(), expected[name], rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(measured[name].mask, read(network.get_layer(name).mask).astype(bool))


def test_each_criterion_is_what_its_formula_says(network):
    whole = gradients(network, X.astype(float), Y)
    single = [gradients(network, X[i : i + 1].astype(float), Y[i : i + 1]) for i in range(len(X))]
    rng, measured = np.random.default_rng(0), network.measure_connections()
    for name in "ab":
        w = read(network.get_layer(name).kernel)
        fisher = np.mean([part[name] ** 2 for part in single], axis=0)
        expected = {
            selectors.WeightMagnitude(): np.abs(w),
            selectors.GradientMagnitude(): np.abs(whole[name]),
            selectors.Snip(): np.abs(w * whole[name]),
            selectors.OptimalBrainDamage(): 0.5 * fisher * w**2,
        }
        for selector, scores in expected.items():
            np.testing.assert_allclose(selector.scores(measured[name], rng), scores, rtol=1e-3, atol=1e-7)


def test_first_order_saliency_is_the_derivative_of_the_loss_by_a_gate(network):
    """∂L/∂c at c = 1 of a factor c on a connection, by differences."""
    layer = network.get_layer("a")
    saliency = selectors.Snip().scores(network.measure_connections()["a"], RNG)
    kernel = read(layer.kernel)
    for place in [(0, 0), (3, 2), (4, 1)]:
        losses = []
        for factor in (1.01, 0.99):
            moved = kernel.copy()
            moved[place] *= factor
            layer.kernel.assign(moved)
            losses.append(float(network.evaluate(X, Y, batch_size=24, verbose=0)))
        layer.kernel.assign(kernel)
        there = read(layer.mask)[place]
        assert abs(losses[0] - losses[1]) / 0.02 == pytest.approx(saliency[place] * there, rel=2e-2, abs=2e-5)


def measurement(name, weights, mask=None):
    weights = np.asarray(weights, float)
    return ConnectionMeasurement(
        name, np.ones(weights.shape, bool) if mask is None else np.asarray(mask, bool), weights
    )


MAGNITUDE = selectors.WeightMagnitude()


def masks(edits):
    return {edit.layer: edit.mask.astype(int).tolist() for edit in edits}


def test_the_best_connections_of_all_layers_are_kept():
    measured = {"a": measurement("a", [[1, -5, 2]]), "b": measurement("b", [[10], [0.5], [-0.1]])}
    assert masks(keep_best(measured, MAGNITUDE, 0.5)) == {"a": [[0, 1, 1]], "b": [[1], [0], [0]]}
    assert masks(keep_best(measured, MAGNITUDE, 0.34, "local")) == {"a": [[0, 1, 1]], "b": [[1], [1], [0]]}


def test_saliencies_are_compared_relative_to_their_layer_when_asked_for():
    measured = {"a": measurement("a", [[100, 90, 80, 1]]), "b": measurement("b", [[4, 3, 2, 1]])}
    assert masks(keep_best(measured, MAGNITUDE, 0.5)) == {"b": [[1, 0, 0, 0]]} | {"a": [[1, 1, 1, 0]]}
    assert masks(keep_best(measured, MAGNITUDE, 0.5, normalize=True)) == {"a": [[1, 1, 0, 0]], "b": [[1, 1, 0, 0]]}


def test_every_layer_keeps_a_connection():
    measured = {"a": measurement("a", [[100.0] * 9]), "b": measurement("b", [[1e-9, 0]])}
    assert masks(keep_best(measured, MAGNITUDE, 0.8))["b"] == [[1, 0]]


def test_connections_that_are_gone_do_not_come_back():
    measured = {"a": measurement("a", [[9, 8, 1, 2]], mask=[[0, 1, 1, 1]])}
    assert masks(keep_best(measured, MAGNITUDE, 0.5)) == {"a": [[0, 1, 0, 1]]}
    assert keep_best(measured, MAGNITUDE, 0.1) == []  # it is sparser than that already


def test_nothing_goes_at_a_sparsity_of_zero_and_draws_without_a_generator_repeat():
    measured = {"a": measurement("a", np.ones((4, 5)))}
    assert keep_best(measured, MAGNITUDE, 0.0) == []
    drawn = (keep_best(measured, SELECTORS[-1], 0.5, rng=rng) for rng in (None, None, np.random.default_rng(0)))
    first, *others = drawn
    assert others == [first, first]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sparsity": 1.0}, "must be from 0 up to 1"),
        ({"sparsity": -0.1}, "must be from 0 up to 1"),
        ({"sparsity": 0.5, "scope": "layer"}, "`scope` must be 'global' or 'local'"),
    ],
)
def test_bad_arguments_are_explained(options, expected):
    with pytest.raises(ValueError, match=expected):
        keep_best({"a": measurement("a", [[1, 2]])}, MAGNITUDE, **options)


def test_saliencies_must_be_numbers():
    with pytest.raises(ValueError, match="saliencies are NaN"):
        keep_best({"a": measurement("a", [[1, np.nan]])}, MAGNITUDE, 0.5)


def test_without_targets_gradients_are_refused():
    keras.utils.set_random_seed(1)
    model = StructuralModel([keras.Input((5,)), MaskedDense(4, name="a")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no batch with targets"):
        model.prune_connections(0.5, selectors.Snip())
    assert model.connections == {"a": 20}


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda s: type(s).__name__)
def test_selectors_survive_saving(selector):
    assert unpack(pack(selector)) == selector
