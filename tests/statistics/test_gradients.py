"""Statistics of gradients, against finite differences and by hand."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, statistics
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableConv2D
from keras_struct.strategies import GradMax

RNG = np.random.default_rng(0)


def convolve(x, kernel):
    return np.asarray(keras.ops.conv(x, kernel, padding="same"))


@pytest.mark.parametrize(("first", "second"), [((3, 3), (3, 3)), ((3, 1), (2, 5)), ((2, 2), (4, 3))])
def test_a_convolutional_bridge_agrees_with_finite_differences_at_the_border(first, second):
    x, weights = RNG.standard_normal((2, 4, 5, 2)), RNG.standard_normal((2, 4, 5, 3))
    found = statistics.convolutional_auxiliary_gradient(x, weights, first, second)
    incoming, outgoing = RNG.standard_normal((*first, 2, 1)), RNG.standard_normal((*second, 1, 3))
    hidden = convolve(x.astype("float32"), incoming.astype("float32"))
    loss = (weights * convolve(hidden, outgoing.astype("float32"))).sum()
    expected = np.einsum("abc,abcdef,def->", incoming[..., 0], found, outgoing[:, :, 0])
    assert loss == pytest.approx(expected, rel=1e-3)


def test_the_measured_bridge_of_a_model_is_the_same():
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [
            keras.Input((5, 6, 2)),
            GrowableConv2D(3, 3, padding="same", name="a"),
            GrowableConv2D(4, 3, padding="same", activation="tanh", name="b"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", strategy=GradMax())
    x, y = RNG.standard_normal((4, 5, 6, 2)).astype("float32"), RNG.standard_normal((4, 1)).astype("float32")
    parts_of(model).observation.remember((x, y))
    measured = parts_of(model).runner.measured("a")
    import tensorflow as tf

    hidden = model.get_layer("a")(x)
    with tf.GradientTape() as tape:
        sums = tf.nn.conv2d(hidden, model.get_layer("b").kernel.value, 1, "SAME") + model.get_layer("b").bias.value
        tape.watch(sums)
        rest = model.layers[-1](model.layers[-2](tf.tanh(sums)))
        loss = tf.reduce_mean((rest - y) ** 2)
    gradient = tape.gradient(loss, sums).numpy()
    expected = statistics.convolutional_auxiliary_gradient(x, gradient, (3, 3), (3, 3)).reshape(18, 36)
    np.testing.assert_allclose(measured.gradients.auxiliary(), expected, rtol=1e-3, atol=1e-6)


def test_a_dense_bridge_is_a_sum_of_outer_products():
    x, g = RNG.standard_normal((7, 3)), RNG.standard_normal((7, 2))
    np.testing.assert_allclose(statistics.auxiliary_gradient(x, g), x.T @ g)
    with pytest.raises(ValueError, match="do not belong together"):
        statistics.auxiliary_gradient(x, g[:3])
    with pytest.raises(ValueError, match="do not belong together"):
        statistics.convolutional_auxiliary_gradient(x, g, (3, 3), (3, 3))


def test_norms_are_taken_over_all_other_axes():
    gradient = RNG.standard_normal((3, 3, 4, 5))
    np.testing.assert_allclose(statistics.unit_gradient_norms(gradient), np.sqrt((gradient**2).sum((0, 1, 2))))
    np.testing.assert_allclose(statistics.unit_gradient_norms(gradient, axis=2), np.sqrt((gradient**2).sum((0, 1, 3))))


def test_the_fisher_trace_of_a_linear_model_is_known():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="needs a loss"):
        statistics.fisher_trace(model, np.ones((1, 3)), np.ones((1, 1)))
    model.compile("sgd", "mse")
    x, y = RNG.standard_normal((6, 3)).astype("float32"), RNG.standard_normal((6, 1)).astype("float32")
    residual = 2 * (model(x).numpy() - y)[:, 0]
    expected = np.mean(residual**2 * ((x**2).sum(axis=1) + 1))
    assert statistics.fisher_trace(model, x, y) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="at least one sample"):
        statistics.fisher_trace(model, x[:0], y[:0])


def test_the_nuclear_norm_is_the_sum_of_singular_values():
    hidden = RNG.standard_normal((30, 4, 5))
    sigma = np.linalg.svd(hidden.reshape(-1, 5) / np.sqrt(120), compute_uv=False)
    assert statistics.nuclear_norm(hidden) == pytest.approx(sigma.sum())
