"""The same small set on TensorFlow, JAX and PyTorch: `KERAS_BACKEND=jax python -m pytest tests/backends`."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from keras_struct import AutoRGN, StructuralModel, StructuralTraining, initializers, sparsify
from keras_struct.activations import relu1
from keras_struct.applications import darts_language_model, darts_supernet
from keras_struct.callbacks import FreshStates
from keras_struct.core.model.parts import parts_of
from keras_struct.datasets import TextBatches
from keras_struct.export import to_compact
from keras_struct.layers import FreeNet, GrowableConv2D, GrowableDense
from keras_struct.schedules import EveryNSteps
from keras_struct.search import DARTS_RNN_V2, Darts, Proximity
from keras_struct.selectors import Snip
from keras_struct.statistics import fisher_trace
from keras_struct.strategies import FreeEvolve, GradMax, Grow, NorthRandom, NorthSelect, RigL, Synaptogenesis
from keras_struct.testing import check_edit
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.triggers import AuxiliaryGradient, EffectiveDimension

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype("float32")
Y = X[:, :1] * 0.5
IMAGES = RNG.standard_normal((8, 6, 6, 2)).astype("float32")


def mlp():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), GrowableDense(4, activation="relu", name="h1")]
    return StructuralModel([*layers, GrowableDense(4, activation="tanh", name="h2"), keras.layers.Dense(1)])


def residual():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same", name="branch")(x)])
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize(
    ("edit", "preserves", "optimizer"),
    [
        (lambda m: m.grow("h1", 2), True, "adam"),
        (lambda m: m.split("h2", [1]), True, "sgd"),
        (lambda m: m.prune("h1", count=1), False, "adam"),
    ],
)
def test_edits_keep_function_optimizer_and_saved_file(edit, preserves, optimizer):
    check_edit(mlp, edit, X, Y, optimizer=optimizer, preserves=preserves)


def test_a_residual_convolution_from_any_model_follows():
    model = check_edit(residual, lambda m: m.grow("stem", 2), IMAGES, Y[:8])
    assert isinstance(model.get_layer("branch"), GrowableConv2D)
    assert model.get_layer("branch").filters == 6
    assert relative_change(outputs(model, IMAGES), outputs(model.to_plain(), IMAGES)) < 1e-6


def strategy_of(kind=NorthRandom):
    return kind(EffectiveDimension(gamma=0.5), schedule=EveryNSteps(3), max_units=9)


def check_widths(model):
    widths = model.structure.axes
    assert model.get_layer("h2").kernel.shape == (widths["h1"], widths["h2"])
    assert np.isfinite(model.predict(X, verbose=0)).all()


class EditEverySecondBatch(keras.callbacks.Callback):
    """A user's callback: grows, splits and prunes in turn."""

    def on_train_batch_end(self, batch, logs=None):
        edit = (lambda m: m.grow("h1", 1), lambda m: m.split("h2", [0]), lambda m: m.prune("h1", count=1))
        if batch % 2:
            edit[len(self.model.structure_log) % 3](self.model)


@pytest.mark.parametrize("strategy", [NorthRandom, NorthSelect])
def test_the_structure_changes_while_fit_runs(strategy):
    model = mlp()
    model.compile("adam", "mse", strategy=strategy_of(strategy), probe=32)
    history = model.fit(X, Y, batch_size=16, epochs=5, verbose=0, validation_data=(X[:16], Y[:16]))
    assert model.structure_log
    assert all(event.change < 1e-5 for event in model.structure_log)
    check_widths(model)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert parts_of(model).progress.step == 20


def test_the_effective_dimension_is_the_same_on_every_backend():
    model = mlp()
    kernel = np.linspace(-1, 1, 24).reshape(6, 4).astype("float32")
    model.get_layer("h1").kernel.assign(kernel)
    found = parts_of(model).observation.probe.measure(X, ["h1"], {})["h1"]
    hidden = np.maximum(X @ kernel, 0).astype("float64")
    np.testing.assert_allclose(found.gram(), hidden.T @ hidden / 64, rtol=1e-5, atol=1e-7)
    assert found.gram().dtype == np.float64
    cross, energy = found.candidates(kernel[:, :2])
    np.testing.assert_allclose(cross, found.gram()[:, :2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(energy, np.diag(found.gram())[:2], rtol=1e-5)


@pytest.mark.usefixtures("eager")
def test_a_callback_of_ones_own_may_edit_in_the_middle_of_fit():
    model = mlp()
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[EditEverySecondBatch()])
    assert dict(model.structure.axes) == {"h1": 4, "h2": 6}
    check_widths(model)
    left = [float(model.train_on_batch(X, Y)[0]) for _ in range(3)]
    assert left[-1] < left[0]


def test_a_plain_model_changes_its_structure_with_a_callback():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.Dense(4, activation="relu", name="h1")]
    model = keras.Sequential([*layers, keras.layers.Dense(4, activation="tanh", name="h2"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    training = StructuralTraining(strategy_of(), probe=X[:32])
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[training])
    widths = training.structure.axes
    assert training.structure_log
    assert model.layers[1].kernel.shape == (widths["h1"], widths["h2"])
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_a_loop_of_single_batches_steps_by_hand():
    model = mlp()
    model.compile("adam", "mse", strategy=strategy_of(), probe=32)
    for step in range(9):
        batch = slice(16 * (step % 4), 16 * (step % 4) + 16)
        logs = model.train_on_batch(X[batch], Y[batch], return_dict=True)
        model.structural_step(X[batch], logs)
    held = np.unique(keras.ops.convert_to_numpy(parts_of(model).observation.buffer.inputs()), axis=0)
    assert len(held) == 32, "each batch is remembered once"
    assert model.structure_log
    check_widths(model)


@pytest.mark.usefixtures("eager")
def test_weights_of_another_width_restore_its_structure(tmp_path):
    model, other = mlp(), mlp()
    for net in (model, other):
        net.compile("adam", "mse")
    model.grow("h1", 2)
    model.train_on_batch(X, Y)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert dict(other.structure.axes) == {"h1": 6, "h2": 4}
    np.testing.assert_array_equal(outputs(model, X)[0], outputs(other, X)[0])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["momentum", "ftrl", "accumulation", "ema"])
def test_optimizers_of_every_kind_train_on(name):
    optimizers = keras.optimizers
    optimizer = {
        "momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "ftrl": lambda: optimizers.Ftrl(0.05),
        "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
        "ema": lambda: optimizers.AdamW(0.01, use_ema=True, ema_overwrite_frequency=2),
    }[name]()
    model = check_edit(mlp, lambda m: (m.grow("h1", 1), m.split("h2", [1]))[1], X, Y, optimizer=optimizer)
    assert dict(model.structure.axes) == {"h1": 5, "h2": 5}


@pytest.mark.usefixtures("eager")
def test_a_converted_model_does_not_share_anything_with_its_source():
    source = residual()
    source.compile("adam", "mse")
    source.train_on_batch(IMAGES, Y[:8])
    model = StructuralModel.from_model(source)
    losses = [[float(net.train_on_batch(IMAGES, Y[:8])) for _ in range(3)] for net in (source, model)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    model.prune("stem", [0])
    model.train_on_batch(IMAGES, Y[:8])
    assert source.get_layer("stem").kernel.shape == (3, 3, 2, 4)


LOOKS = Grow(AuxiliaryGradient(threshold_factor=1e9))


INITIALIZERS = [
    (mlp, initializers.RandomFanOut()),
    (mlp, initializers.PreActivation(candidates=5)),
    (mlp, initializers.OptimizedActivation(candidates=3, steps=2)),
    (mlp, initializers.OrthogonalWeights()),
    (mlp, initializers.LargestGradient()),
    (mlp, initializers.OptimizedGradient(ascends="fan_in", steps=2)),
    (mlp, initializers.Bridge(candidates=3)),
    (mlp, initializers.DivideOrAdd(keeps="loss_decrease", epsilon=1e-2, candidates=20)),
    (mlp, initializers.CopyAndPerturb(0.0)),
    # Behind the plain ReLU of this one, new units without incoming weights would never learn.
    (residual, initializers.PreActivation(candidates=5)),
    (residual, initializers.OptimizedActivation(candidates=3, steps=2)),
    (residual, initializers.OptimizedGradient(ascends="fan_in", steps=2)),
    (residual, initializers.Bridge(candidates=3)),
    (residual, initializers.DivideOrAdd(keeps="loss_decrease", epsilon=1e-2, candidates=20)),
]


@pytest.mark.filterwarnings("ignore:.*waits for more than")
@pytest.mark.usefixtures("eager")  # on TensorFlow: measurements are compiled in the tests of strategies
@pytest.mark.parametrize(
    ("build", "initializer"), INITIALIZERS, ids=lambda value: getattr(value, "__name__", type(value).__name__)
)
def test_every_initializer_works_on_every_backend(build, initializer):
    model = StructuralModel.from_model(build())
    x, y = (X, Y) if build is mlp else (IMAGES, Y[:8])
    narrow = isinstance(
        initializer, initializers.PreActivation | initializers.OrthogonalWeights
    )  # need free directions
    axis = ("h1" if narrow else "h2") if build is mlp else "stem"
    model.compile("sgd", "mse", strategy=LOOKS, probe=x, targets=y)
    divides = isinstance(initializer, initializers.DivideOrAdd)
    before, start = outputs(model, x), model.evaluate(x, y, verbose=0) if divides else None
    event = model.grow(axis, 1, initializer)
    assert event.after == event.before + 1
    if divides:
        assert model.evaluate(x, y, verbose=0) < start
    elif not isinstance(initializer, initializers.Bridge):
        assert relative_change(before, outputs(model, x)) < 1e-5
    model.train_on_batch(x, y)


@pytest.mark.usefixtures("eager")
def test_gradients_are_finite_differences_on_every_backend():
    model = mlp()
    model.compile("sgd", "mse", strategy=LOOKS, probe=X, targets=Y)
    gradients = model.measure("h1").gradients
    incoming, outgoing = RNG.standard_normal((6, 1)), [RNG.standard_normal((1, 1, 4))]
    _, (found,) = gradients.virtual(incoming, [0 * outgoing[0]])
    step = 1e-2
    ends = [gradients.losses(incoming, [sign * step * outgoing[0]])[0] for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((found * outgoing[0]).sum()), rel=1e-2)
    assert np.linalg.svd(gradients.auxiliary(), compute_uv=False)[0] <= gradients.bound()
    assert fisher_trace(model, X[:3], Y[:3]) > 0


@pytest.mark.usefixtures("eager")
def test_a_gradient_strategy_grows_on_every_backend():
    model = StructuralModel([keras.Input((6,)), GrowableDense(4, activation=relu1, name="h1"), keras.layers.Dense(1)])
    strategy = GradMax(AuxiliaryGradient(threshold_factor=0.05), schedule=EveryNSteps(2), max_units=7)
    model.compile("adam", "mse", strategy=strategy)
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    assert 4 < model.structure.axes["h1"] <= 7


@pytest.mark.usefixtures("eager")
def test_connections_come_and_go_on_every_backend():
    model = sparsify(mlp(), sparsity=0.5)
    model.compile("adam", "mse", strategy=RigL(schedule=EveryNSteps(2), decay_steps=20))
    count = sum(model.connections.values())
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    assert sum(model.connections.values()) == count
    assert model.structure_log
    model.prune_connections(0.7, Snip())
    model.fit(X, Y, batch_size=16, verbose=0)
    for name, layer in model.masked_layers.items():
        kernel, mask = (keras.ops.convert_to_numpy(v) for v in (layer.kernel, layer.mask))
        assert (kernel[~mask] == 0).all(), name
    assert relative_change(outputs(model, X), outputs(model.to_plain(), X)) < 1e-6


@pytest.mark.usefixtures("eager")
def test_layers_learn_at_rates_of_their_own_on_every_backend():
    moved = []
    for callbacks in ([], [AutoRGN(X, Y, batch_size=64, batches=1, every=1)]):
        model = mlp()
        model.compile(keras.optimizers.SGD(0.1), "mse")
        steps = [weights(model)]
        model.fit(X, Y, batch_size=64, epochs=2, verbose=0, callbacks=[*callbacks, Watch(steps)])
        moved.append([[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(steps)])
    (_, factors), (_, later) = callbacks[0].history
    for variable, plain, scaled in zip(model.weights, moved[0][0], moved[1][0], strict=True):
        np.testing.assert_allclose(scaled, plain * factors[variable.path.rpartition("/")[0]], rtol=1e-3, atol=1e-6)
    assert later != factors
    assert not np.allclose(moved[1][1][0] / moved[1][0][0], 1, rtol=1e-3)


class Watch(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(weights(self.model))


def weights(model):
    parts_of(model).editor.sync()
    return [np.array(keras.ops.convert_to_numpy(weight.value)) for weight in model.weights]


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tests/search does on TensorFlow")
def test_cells_are_searched_and_chosen():
    keras.utils.set_random_seed(0)
    x, y = np.random.default_rng(3).normal(size=(32, 8, 8, 1)).astype("float32"), np.arange(32) % 2
    operations = ["max_pool_3x3", "skip_connect", "dil_conv_3x3"]
    supernet = darts_supernet((8, 8, 1), 2, init_channels=2, layers=2, nodes=1, operations=operations, reductions=[1])
    if keras.backend.backend() == "jax":
        with pytest.raises(NotImplementedError, match="TensorFlow and PyTorch"):
            Darts(supernet, "sparse_categorical_crossentropy")
        return
    search = Darts(
        supernet,
        "sparse_categorical_crossentropy",
        architecture_optimizer=keras.optimizers.Adam(0.05),
        penalty=Proximity(),
    )
    before = search.weights()["alpha_normal"]
    search.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert np.abs(search.weights()["alpha_normal"] - before).max() > 0.005
    assert search.trained.architecture[0].trainable is False
    supernet.choose()
    chosen = {(name, state) for name, state, _ in supernet.get_layer("cell_0").choice["paths"]}
    assert chosen == set(search.genotype().normal)
    assert supernet.predict(x, verbose=0).shape == (32, 2)


def test_language_models_of_a_recurrent_cell_learn():
    keras.utils.set_random_seed(0)
    text = np.cumsum(np.random.default_rng(5).choice([1, 1, 1, 2], 1600)) % 5
    model = darts_language_model(
        DARTS_RNN_V2, 5, 8, batch_size=16, dropout=0.1, input_dropout=0.1, recurrent_dropout=0.1, word_dropout=0.0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    batches = TextBatches(text, 16, 9)
    losses = model.fit(batches, epochs=6, shuffle=False, callbacks=[FreshStates()], verbose=0).history["loss"]
    assert losses[-1] < 0.95 * losses[0]


def free_network(density=1.0):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    edges = np.tril(np.random.default_rng(1).random((20, 20)) < density, -1)
    if density == 0:
        edges[12:, :5] = True
    free = FreeNet(20, adjacency=edges, block=6, bias_initializer="random_normal", name="free")
    return StructuralModel(x, keras.layers.Dense(1)(free(x)))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("density", [1.0, 0.0])
def test_neurons_without_layers_are_computed_in_order_and_by_levels(density):
    model = free_network(density)
    layer = model.get_layer("free")
    assert (layer.schedule.order is None) == (density == 1)
    encoder, bias, kernel = (np.array(keras.ops.convert_to_numpy(w)) for w in (layer.encoder, layer.bias, layer.kernel))
    a = np.zeros((64, 20))
    for j in range(20):
        a[:, j] = np.maximum(X @ encoder[:, j] + bias[j] + a[:, :j] @ (kernel * layer.adjacency)[j, :j], 0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(X)), a, rtol=1e-5, atol=1e-5)
    expected = model.predict(X, verbose=0)
    for written in (to_compact(model), model.to_plain()):
        np.testing.assert_allclose(written.predict(X, verbose=0), expected, atol=1e-5)
    layer.mask.assign(np.tril(np.ones((20, 20), bool), -1))  # behind the layer's back
    moved = np.abs(model.predict(X, verbose=0) - expected).max()
    assert moved == 0 if density == 1 else moved > 1e-3


@pytest.mark.parametrize("strategy", [FreeEvolve, Synaptogenesis])
def test_edges_follow_what_fires_together(strategy):
    model = free_network(1.0 if strategy is FreeEvolve else 0.5)
    before = model.get_layer("free").edges
    seen = model.coactivation("free", X)
    active = keras.ops.convert_to_numpy(model.get_layer("free")(X)) > 0
    np.testing.assert_allclose(seen.together, active.T.astype(float) @ active / 64, atol=1e-6)
    model.compile("adam", "mse", strategy=strategy(0.45, every=3, warmup=3, samples=32))
    history = model.fit(X, Y, batch_size=16, epochs=3, verbose=0).history
    assert (model.get_layer("free").edges < before) == (strategy is FreeEvolve)
    assert model.structure_log
    assert history["loss"][-1] < history["loss"][0]
    assert not np.triu(keras.ops.convert_to_numpy(model.get_layer("free").mask)).any()


def test_layers_come_and_go_in_the_middle_of_fit_and_are_saved(tmp_path):
    class Deepen(keras.callbacks.Callback):
        changes = ()

        def on_train_batch_end(self, batch, logs=None):
            before = outputs(self.model, X)
            if batch == 0:
                self.model.insert(keras.layers.Dense(4, activation="relu", name="new"), after="h1")
                self.model.insert_block([keras.layers.Dense(3), keras.layers.Dense(4)], after="h2", name="block")
                self.changes = [*self.changes, relative_change(before, outputs(self.model, X))]
            elif batch == 2:
                self.model.duplicate("block", init="identity")
                self.changes = [*self.changes, relative_change(before, outputs(self.model, X))]
                self.model.remove("new")

    model, deepen = mlp(), Deepen()
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False, callbacks=[deepen])
    assert deepen.changes == [0.0, 0.0]
    assert [event.edit for event in model.structure_log] == ["Graft"] * 4
    names = {layer.name for layer in model.layers}
    assert names >= {"block", "block_copy"}
    assert "new" not in names
    assert int(model.optimizer.iterations) == 8
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for net in (model, again):
        net.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    assert relative_change(outputs(model, X), outputs(again, X)) < 1e-6
