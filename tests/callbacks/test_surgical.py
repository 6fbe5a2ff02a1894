"""Auto-RGN: layers learn at rates of their own, and the optimizer's state goes on."""

import keras
import numpy as np
import pytest

from keras_struct import AutoRGN, StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.schedules import Linear
from keras_struct.strategies import Grow

pytestmark = pytest.mark.usefixtures("eager_module")  # steps are compiled where no new trace is what is tested

X = np.random.default_rng(0).standard_normal((32, 5)).astype("float32")
Y = X[:, :2] * 0.3


def network(kind=keras.Model, seed=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((5,))
    x = keras.layers.Dense(4, activation="tanh", name="a", bias_initializer="ones")(inputs)
    x = keras.layers.Dense(3, activation="tanh", name="b", bias_initializer="ones")(x)
    return kind(inputs, keras.layers.Dense(2, name="c", bias_initializer="ones")(x))


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def reference_factors(model, per):
    """‖gradient‖ / ‖weights‖ by finite differences."""

    def loss():
        return float(np.mean((np.asarray(model.predict_on_batch(X), np.float64) - Y) ** 2))

    norms = {}
    for variable in model.trainable_variables:
        weights, gradient = values([variable])[0], []
        for place in np.ndindex(weights.shape):
            both = []
            for step in (1e-2, -1e-2):
                moved = weights.copy()
                moved[place] += step
                variable.assign(moved)
                both.append(loss())
            gradient.append((both[0] - both[1]) / 2e-2)
        variable.assign(weights)
        name = variable.path if per == "variable" else variable.path.split("/")[0]
        old = norms.get(name, (0, 0))
        norms[name] = (old[0] + np.sum(np.square(gradient)), old[1] + np.sum(weights.astype(float) ** 2))
    relative = {name: np.sqrt(gradient / size) for name, (gradient, size) in norms.items()}
    return {name: value / max(relative.values()) for name, value in relative.items()}


@pytest.mark.parametrize("per", ["layer", "variable"])
def test_factors_are_relative_gradient_norms_over_the_largest(per):
    model = network()
    model.compile("sgd", "mse")
    expected = reference_factors(model, per)
    rates = AutoRGN(X, Y, batch_size=32, batches=1, per=per)
    model.fit(X, Y, batch_size=32, verbose=0, callbacks=[rates])
    assert rates.factors == pytest.approx(expected, rel=2e-2)
    assert len(set(rates.factors.values())) > 1


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, weight_decay=0.5),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.5),
        lambda: keras.optimizers.Nadam(0.01),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)),
    ],
)
def test_each_layer_moves_by_its_factor_of_what_it_would_move(optimizer):
    moved, seen = {}, {}
    for callbacks in ((), (AutoRGN(X, Y, batches=1),)):
        model = network()
        model.compile(optimizer(), "mse")
        before = values(model.weights)
        model.fit(X, Y, batch_size=32, verbose=0, callbacks=list(callbacks))
        moved[bool(callbacks)] = [new - old for new, old in zip(values(model.weights), before, strict=True)]
        seen[bool(callbacks)] = values(model.optimizer.variables)
    factors = callbacks[0].factors
    for variable, plain, scaled in zip(model.weights, moved[False], moved[True], strict=True):
        assert np.allclose(scaled, plain * factors[variable.path.split("/")[0]], rtol=1e-3, atol=1e-7)
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-8) for a, b in zip(seen[False], seen[True], strict=True))


@pytest.mark.usefixtures("compiled")
def test_factors_are_measured_anew_and_take_effect_without_a_new_trace():
    model = network()
    model.compile(keras.optimizers.SGD(0.05), "mse")
    rates = AutoRGN(X, Y, batches=1, every=2)
    traces, moves = [], []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            traces.append(model.train_function)
            self.before = values(model.weights)
            self.gradients = plain_step(model)

        def on_train_batch_end(self, batch, logs=None):
            moves.append(
                [np.linalg.norm(new - old) for new, old in zip(values(model.weights), self.before, strict=True)]
            )
            for variable, size, plain in zip(model.weights, moves[-1], self.gradients, strict=True):
                factor = rates.factors[variable.path.split("/")[0]]
                assert size == pytest.approx(factor * plain, rel=1e-3)

    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[rates, Watch()], shuffle=False)
    assert [step for step, _ in rates.history] == [0, 2, 4, 6]
    assert rates.history[0][1] != rates.history[-1][1]
    assert len(set(map(id, traces))) == 1


def plain_step(model):
    """How far plain gradient descent would move each weight on the batch that comes next."""
    twin = network()
    twin.set_weights(values(model.weights))
    twin.compile(keras.optimizers.SGD(0.05), "mse")
    place = int(model.optimizer.iterations.numpy()) % 4 * 8
    twin.fit(X[place : place + 8], Y[place : place + 8], batch_size=8, verbose=0)
    return [np.linalg.norm(new - old) for new, old in zip(values(twin.weights), values(model.weights), strict=True)]


def test_after_training_the_optimizer_is_as_before():
    model = network()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    names = set(vars(model.optimizer))
    variables = len(model.optimizer.variables)
    model.fit(X, Y, verbose=0, callbacks=[AutoRGN(X, Y, batches=1)])
    assert {name for name in vars(model.optimizer) if callable(vars(model.optimizer)[name])} <= names
    twin = network()
    twin.set_weights(values(model.weights))
    twin.compile(keras.optimizers.SGD(0.1), "mse")
    for net in (model, twin):
        net.fit(X, Y, batch_size=32, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(values(model.weights), values(twin.weights), strict=True))
    assert len(model.optimizer.variables) >= variables


@pytest.mark.usefixtures("compiled")
def test_growth_goes_on_beside_it():
    model = network(StructuralModel)
    model.compile("adam", "mse", strategy=Grow(schedule=Linear(4, 4)))
    rates = AutoRGN(X, Y, batches=1, every=1)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[rates])
    assert model.structure.axes == {"a": 8, "b": 7}
    assert len(rates.history) == 4
    assert parts_of(model).editor.retraces == 0


def test_loss_scaling_and_frozen_layers_are_followed():
    model = network()
    model.get_layer("a").trainable = False
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    before = values(model.weights)
    rates = AutoRGN(X, Y, batches=1)
    model.fit(X, Y, batch_size=32, verbose=0, callbacks=[rates])
    assert set(rates.factors) == {"b", "c"}
    assert np.array_equal(before[0], values(model.weights)[0])
    assert not np.array_equal(before[2], values(model.weights)[2])


def test_weights_of_zero_learn_at_the_full_rate():
    model = network()
    model.get_layer("c").kernel.assign(np.zeros((3, 2)))
    model.get_layer("c").bias.assign(np.zeros(2))
    model.compile("sgd", "mse")
    rates = AutoRGN(X, Y, batches=1)
    model.fit(X, Y, batch_size=32, verbose=0, callbacks=[rates])
    assert rates.factors["c"] == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"batches": 0}, "`batches` must be a positive integer"),
        ({"every": "step"}, "`every` must be 'epoch' or a positive number"),
        ({"per": "unit"}, "`per` must be 'layer' or 'variable'"),
    ],
)
def test_bad_arguments_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        AutoRGN(X, Y, **options)


def test_a_model_without_anything_to_learn_is_refused():
    model = network()
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="leave some layer trainable"):
        model.fit(X, Y, verbose=0, callbacks=[AutoRGN(X, Y)])
