"""Gradient methods on every kind of layer: what is computed is right, and an axis that cannot be computed is left out."""

import warnings

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, grow, initializers, selectors, strategies, triggers
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.schedules import Linear
from keras_struct.testing.preservation import silence

layers = keras.layers


def tokens(*stack):
    return _network(keras.Input((4,), dtype="int32"), stack)


def sequence(*stack):
    return _network(keras.Input((5, 4)), stack)


def images(*stack):
    return _network(keras.Input((5, 5, 2)), stack)


def attention(layer):
    inputs = keras.Input((3, 4))
    x = layers.Dense(4, name="d")(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layer(x, x))))


def _network(inputs, stack):
    x = inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def _einsum(name, **options):
    return layers.EinsumDense("abc,cde->abde", output_shape=(5, 2, 3), bias_axes="e", name=name, **options)


COMPUTED = {
    "embedding": lambda: tokens(layers.Embedding(7, 3, name="k")),
    "separable": lambda: sequence(layers.SeparableConv1D(3, 3, activation="tanh", name="k")),
    "separable images": lambda: images(layers.SeparableConv2D(3, 3, padding="same", activation="tanh", name="k")),
    "each step": lambda: sequence(layers.TimeDistributed(layers.Dense(3, activation="tanh"), name="k")),
    "read at each step": lambda: sequence(
        layers.Dense(3, "tanh", name="k"), layers.TimeDistributed(layers.Dense(2, "tanh"))
    ),
    "grouped": lambda: sequence(layers.Conv1D(6, 3, groups=2, activation="tanh", name="k")),
    "read in groups": lambda: images(layers.Conv2D(4, 3, activation="tanh", name="k"), layers.Conv2D(4, 2, groups=2)),
    "einsum": lambda: sequence(_einsum("k", activation="tanh")),
    "read by an einsum": lambda: sequence(layers.Dense(3, "tanh", name="k"), _einsum("e")),
    "normalised": lambda: sequence(
        layers.SpectralNormalization(layers.Dense(3, "tanh"), name="k"), layers.Conv1D(2, 3)
    ),
}
LEFT_OUT = {
    "read by a separable convolution": lambda: images(layers.Conv2D(3, 3, name="k"), layers.SeparableConv2D(2, 3)),
    "depthwise": lambda: sequence(layers.Conv1D(3, 3, name="k"), layers.DepthwiseConv1D(3)),
    "simple": lambda: sequence(layers.SimpleRNN(3, name="k")),
    "gru": lambda: sequence(layers.GRU(3, return_sequences=True, name="k")),
    "lstm": lambda: sequence(layers.Dense(3, name="k"), layers.LSTM(2)),
    "bidirectional": lambda: sequence(layers.Bidirectional(layers.LSTM(2), name="k")),
    "attention": lambda: attention(layers.MultiHeadAttention(2, 3, name="k")),
    "grouped queries": lambda: attention(layers.GroupQueryAttention(3, 4, 2, name="k")),
    "transposed": lambda: images(layers.Conv2DTranspose(3, 3, strides=2, name="k")),
}


TRACED = ("[einsum]", "[separable images]", "unit[lstm]", "layers[each step]", "[grouped]", "[read in groups]")
"""Some kinds, and convolutions in groups, which not every processor differentiates otherwise."""


@pytest.fixture(autouse=True)
def eager_but_for_some(request, eager_module):
    """What is computed is compiled for a few kinds only: tracing takes longer than computing."""
    if request.node.name.endswith(TRACED):
        request.getfixturevalue("compiled")


def made(build, seed=0):
    keras.utils.set_random_seed(seed)
    model = StructuralModel.from_model(build())
    rng, entering = np.random.default_rng(seed), model.inputs[0]
    shape = (8, *entering.shape[1:])
    x = rng.integers(0, 7, shape) if "int" in entering.dtype else rng.standard_normal(shape).astype("float32")
    return model, x, rng.standard_normal((8, 2)).astype("float32")


def loss(model, x, y):
    return float(((np.asarray(model(x)) - y).astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("kind", COMPUTED)
def test_losses_with_units_that_do_not_exist_are_those_with_them_added(kind):
    model, x, y = made(COMPUTED[kind])
    model.compile("sgd", "mse", probe=x, targets=y)
    measured, rng = model.measure("k"), np.random.default_rng(1)
    first, outgoing = measured.fan_in[0], measured.fan_out()
    incoming = 0.5 * rng.standard_normal((*first.weights.shape[:-1], 2)).astype("float32")
    rows = [0.5 * rng.standard_normal((2, *fan.weights.shape[1:])) for fan in outgoing]
    found = measured.gradients.losses(incoming, rows)
    slopes = measured.gradients.virtual(incoming, [0 * part for part in rows])[1]
    expected = sum((part * slope).reshape(2, -1).sum(axis=1) for part, slope in zip(rows, slopes, strict=True))
    copy = StructuralModel.from_model(model)
    matrix = measured.gradients.auxiliary()
    assert matrix.shape == (incoming[..., 0].size, sum(part[0].size for part in rows))
    for k in range(2):
        for step in (1.0, 1e-2):
            values = {first.key: first.expand(incoming[..., [k]])}
            values |= {fan.key: fan.expand(step * part[[k]]) for fan, part in zip(outgoing, rows, strict=True)}
            copy.set_weights(model.get_weights())
            copy.apply(grow("k", measured.units, 1, values), preserve=False)
            if step == 1.0:
                assert found[k] == pytest.approx(loss(copy, x, y), rel=1e-4)
            else:
                assert (loss(copy, x, y) - loss(model, x, y)) / step == pytest.approx(expected[k], rel=0.1, abs=5e-3)


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_an_axis_around_which_gradients_are_not_known_is_left_out_and_named(kind):
    model, x, y = made(LEFT_OUT[kind])
    strategy = strategies.Grow(triggers.AuxiliaryGradient(), max_units=9)
    with pytest.raises(ValueError, match=r"nothing to act on.*'k"):
        model.compile(
            "sgd",
            "mse",
            strategy=strategies.GradMax(max_units=9, axes=[next(a for a in model.structure.axes if "k" in a)]),
        )
    assert strategy.requirements() == {"gradients"}
    model.compile("sgd", "mse", probe=x, targets=y)
    with pytest.raises(AxisRefused, match=r"'k'.*[Uu]se"):
        model.grow("k", 1, initializers.Bridge(keep=0.5))


@pytest.mark.parametrize("kind", ["lstm", "depthwise", "attention"])
@pytest.mark.parametrize("initializer", [initializers.Bridge(), initializers.DivideOrAdd(candidates=3)])
def test_an_initializer_that_cannot_work_on_an_axis_gives_way_to_random_fan_in(kind, initializer):
    model, x, y = made(LEFT_OUT[kind])
    strategy = strategies.Grow(triggers.FractionOfWidth(0.4), initializer, max_units=6, axes="k")
    model.compile("sgd", "mse", strategy=strategy, run_eagerly=True)
    with pytest.warns(UserWarning, match="gives new units of axis 'k' random incoming weights") as caught:
        history = model.fit(x, y, batch_size=4, verbose=0)
    assert sum("axis 'k'" in str(w.message) for w in caught) == 1
    assert history.structure[0].change < 1e-5


@pytest.mark.parametrize(
    "kind", ["simple", "gru", "lstm", "bidirectional", "attention", "grouped queries", "depthwise"]
)
def test_perturbation_is_the_loss_of_the_network_without_each_unit(kind):
    model, x, y = made(LEFT_OUT[kind])
    model.compile("sgd", "mse", probe=x, targets=y)
    copy = StructuralModel.from_model(model)
    for axis in model.structure.axes:
        found = selectors.Perturbation().scores(model.measure(axis))
        for unit in range(len(found)):
            copy.set_weights(model.get_weights())
            silence(copy, axis, unit)
            assert found[unit] == pytest.approx(loss(copy, x, y), rel=1e-4), axis


@pytest.mark.parametrize("kind", ["gru", "attention", "grouped queries", "bidirectional", "each step"])
def test_gates_are_derivatives_by_factors_on_outgoing_weights_also_inside_of_layers(kind):
    from keras_struct.core.backend.keras_internals import own_variables

    model, x, y = made((LEFT_OUT | COMPUTED)[kind])
    x, y = x[:4], y[:4]
    model.compile("sgd", "mse", probe=x, targets=y)
    copy = StructuralModel.from_model(model)
    for axis, width in model.structure.axes.items():
        gates = model.measure(axis).gradients.gates()
        assert gates.shape == (len(x), width)
        for unit in range(width):
            ends = []
            for factor in (1.01, 0.99):
                copy.set_weights(model.get_weights())
                for port, rule in copy.structure.ports(axis).items():
                    if rule.role == "consume":
                        variable = own_variables(copy.get_layer(port.layer))[port.variable]
                        along = [-1 if i == port.axis else 1 for i in range(len(variable.shape))]
                        units = copy.structure.unit_along(port, axis) == unit
                        variable.assign(np.asarray(variable) * np.where(units, factor, 1.0).reshape(along))
                ends.append(loss(copy, x, y))
            assert gates.mean(axis=0)[unit] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=3e-2, abs=3e-4), axis


@pytest.mark.usefixtures("compiled")
def test_taylor_prunes_the_heads_and_states_that_matter_least_while_training():
    model, x, y = made(LEFT_OUT["attention"])
    strategy = strategies.Prune(selector=selectors.Taylor(), schedule=Linear(1, 2))
    model.compile("sgd", "mse", strategy=strategy, run_eagerly=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(x[:4], y[:4], batch_size=2, verbose=0)
    assert {"k/heads", "k/key_dim", "k/value_dim", "k", "d"} == {event.axis for event in history.structure}


def test_units_of_attention_and_of_einsums_are_no_convolutions():
    for build, kinds in (
        (LEFT_OUT["attention"], {"d": "dense", "k": "dense", "k/heads": "dense", "k/key_dim": "dense"}),
        (COMPUTED["read by an einsum"], {"k": "dense", "e": "dense"}),
        (COMPUTED["separable"], {"k": "conv"}),
        (lambda: images(layers.TimeDistributed(layers.Conv1D(3, 2), name="k")), {"k": "conv"}),
    ):
        model, *_ = made(build)
        assert {axis: model.measure(axis).kind for axis in kinds} == kinds
