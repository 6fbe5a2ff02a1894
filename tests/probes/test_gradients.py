"""Gradients around an axis, against the network with the units really added."""

import weakref

import keras
import numpy as np
import pytest
from scipy.stats import chi2

from keras_struct import StructuralModel, grow
from keras_struct.core.model.parts import parts_of
from keras_struct.measure.probes.gradient_sweep import LEAST_NORM, SKETCHES
from keras_struct.strategies import GradMax

layers = keras.layers
RNG = np.random.default_rng(0)
COPIES = weakref.WeakKeyDictionary()


@pytest.fixture(scope="module")
def trained(unchanged_network):
    model, x, y, axis = unchanged_network
    model.compile("sgd", "mse", strategy=GradMax(max_units=50))
    parts_of(model).observation.remember((x, y))
    return model, x, y, axis


@pytest.fixture
def case(trained):
    model, x, y, axis = trained
    return model, x, y, axis, parts_of(model).runner.measured(axis)


def loss(model, x, y):
    return float(((model(x).numpy() - y).astype(np.float64) ** 2).mean())


@pytest.fixture(autouse=True)
def _the_same_numbers_for_each_test(monkeypatch):
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


def drawn(measured, count, size):
    incoming = size * RNG.standard_normal((*measured.fan_in[0].weights.shape[:-1], count))
    return incoming, [size * RNG.standard_normal((count, *fan.weights.shape[1:])) for fan in measured.fan_out()]


def with_units(model, measured, incoming, outgoing):
    """The copy of the model with units added; it holds until the next one is asked for."""
    if model not in COPIES:
        COPIES[model] = StructuralModel.from_model(model)
    copy = COPIES[model]
    copy.set_weights(model.get_weights())
    values = {measured.fan_in[0].key: measured.fan_in[0].expand(incoming)}
    values |= {fan.key: fan.expand(part) for fan, part in zip(measured.fan_out(), outgoing, strict=True)}
    copy.apply(grow(measured.axis, measured.units, incoming.shape[-1], values))
    return copy


def test_gradients_of_units_that_do_not_exist_are_finite_differences_of_the_loss(case):
    model, x, y, axis, measured = case
    incoming, outgoing = drawn(measured, 3, 0.5)
    _, found = measured.gradients.virtual(incoming, [0 * part for part in outgoing])
    step = 2e-3
    for k in range(3):
        losses = [
            loss(with_units(model, measured, incoming[..., [k]], [s * part[[k]] for part in outgoing]), x, y)
            for s in (step, -step)
        ]
        expected = sum(float((part[k] * gradient[k]).sum()) for part, gradient in zip(outgoing, found, strict=True))
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=3e-2, abs=5e-4)


def test_the_auxiliary_gradient_is_that_of_incoming_weights_which_are_still_zero(case):
    model, x, y, axis, measured = case
    matrix = measured.gradients.auxiliary()
    incoming, outgoing = drawn(measured, 1, 1.0)
    rows = np.concatenate([part.reshape(1, -1) for part in outgoing], axis=1)
    gradient, _ = measured.gradients.virtual(None, outgoing, linear=True)
    np.testing.assert_allclose(matrix @ rows[0], gradient.reshape(-1), rtol=1e-3, atol=1e-6)
    _, by_outgoing = measured.gradients.virtual(incoming, outgoing, linear=True)
    joined = np.concatenate([part.reshape(1, -1) for part in by_outgoing], axis=1)[0]
    np.testing.assert_allclose(incoming.reshape(-1) @ matrix, joined, rtol=1e-3, atol=1e-5)


def test_the_auxiliary_gradient_of_a_linear_unit_is_a_finite_difference_also_at_borders(case):
    model, x, y, axis, measured = case
    if axis == "stem":
        pytest.skip("in a residual block the activation comes after the sum")
    linear = StructuralModel.from_model(linearised(model))
    linear.compile("sgd", "mse", strategy=GradMax(max_units=50))
    parts_of(linear).observation.remember((x, y))
    measured = parts_of(linear).runner.measured(axis)
    incoming, outgoing = drawn(measured, 1, 1.0)
    rows = np.concatenate([part.reshape(1, -1) for part in outgoing], axis=1)
    expected = float(incoming.reshape(-1) @ measured.gradients.auxiliary() @ rows[0])
    step = 3e-2
    ends = [
        loss(with_units(linear, measured, s * incoming, [step * part for part in outgoing]), x, y)
        for s in (step, -step)
    ]
    expected *= measured.slope()
    assert (ends[0] - ends[1]) / (2 * step**2) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def linearised(model):
    """The same network with the activation of the axis under test left out."""
    name = "c" if any(layer.name == "c" for layer in model.layers) else "h"

    def clone(layer):
        config = layer.get_config()
        if layer.name == name or isinstance(layer, layers.Activation):
            config["activation"] = "linear"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(keras.Model(model.inputs[0], model.outputs[0]), clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def test_gradient_norms_are_those_of_each_units_weights(case):
    import tensorflow as tf

    model, x, y, axis, measured = case
    first = model.get_layer(axis)
    reading = [model.get_layer(fan.key.split("/")[0]) for fan in measured.fan_out()]
    with tf.GradientTape() as tape:
        value = tf.reduce_mean((model(x, training=False) - y) ** 2)
    gradients = tape.gradient(value, [first.kernel, *(layer.kernel for layer in reading)])
    incoming, outgoing = measured.gradients.norms()
    expected = np.linalg.norm(np.reshape(gradients[0], (-1, measured.units)), axis=0)
    np.testing.assert_allclose(incoming, expected, rtol=1e-3)
    squares = np.zeros(measured.units)
    for fan, layer, gradient in zip(measured.fan_out(), reading, gradients[1:], strict=True):
        along = np.moveaxis(np.asarray(gradient), int(fan.key.split("/")[-1]), 0)
        units = along.reshape(-1, measured.units, *along.shape[1:]) if isinstance(layer, layers.Dense) else along[None]
        squares += (units**2).sum(axis=tuple(i for i in range(units.ndim) if i != 1))
    np.testing.assert_allclose(outgoing, np.sqrt(squares), rtol=1e-3)


def test_the_bound_holds_and_is_not_far_off(case):
    measured = case[-1]
    sigma = np.linalg.svd(measured.gradients.auxiliary(), compute_uv=False)
    assert sigma[0] * (1 - 1e-5) <= measured.gradients.bound() <= 4 * np.sqrt((sigma**2).sum())
    assert chi2(SKETCHES).cdf(LEAST_NORM**2) < 1 / 65536


def test_losses_are_those_of_networks_with_one_unit_more(case):
    model, x, y, axis, measured = case
    incoming, outgoing = drawn(measured, 3, 0.5)
    found = measured.gradients.losses(incoming, outgoing)
    for k in range(3):
        really = loss(with_units(model, measured, incoming[..., [k]], [part[[k]] for part in outgoing]), x, y)
        assert found[k] == pytest.approx(really, rel=1e-4)
