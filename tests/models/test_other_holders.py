"""Whoever else holds the layers of a structural model follows its edits: drawn at random, and one by one."""

import warnings

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, prune
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.testing.preservation import relative_change
from keras_struct.testing.random_models import random_data, random_model

layers = keras.layers
TOLERANCE = 1e-5
MAY_RAISE = {"function", "structural"}
OPTIMIZERS = (
    lambda: keras.optimizers.SGD(1e-3),
    lambda: keras.optimizers.SGD(1e-3, momentum=0.9),
    lambda: keras.optimizers.Adam(1e-3),
    lambda: keras.optimizers.RMSprop(1e-3, use_ema=True),
)


def flat(values):
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in keras.tree.flatten(values)]


def inputs_like(model):
    """New inputs of the shapes that a model takes."""
    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in model.inputs]
    return inputs if len(inputs) > 1 else inputs[0]


def hidden_tensor(model, rng):
    """Name and output of one of the layers in the middle."""
    names = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer | keras.Model)]
    name = names[int(rng.integers(len(names)))]
    return name, model.get_layer(name).output


class Trained:
    """A model that holds layers of another; its `step` trains it once, `agrees` compares it with a fresh network."""

    eagerly = False

    def __init__(self, model, rng, x, y):
        self.model, self.rng, self.x = model, rng, x
        self.holder = self.build()
        self.holder.compile(OPTIMIZERS[int(rng.integers(len(OPTIMIZERS)))](), "mse", run_eagerly=self.eagerly)
        self.holder.predict(self.x, verbose=0)

    def step(self):
        samples = len(keras.tree.flatten(self.x)[0])
        shapes = [(samples, *[1] * (len(out.shape) - 1)) for out in self.holder.outputs]  # whatever the widths are
        zeros = keras.tree.pack_sequence_as(self.holder.output, [np.zeros(shape, "float32") for shape in shapes])
        self.holder.train_on_batch(self.x, zeros)

    def agrees(self, fresh):
        return relative_change(flat(self.expected(fresh)), flat(self.holder.predict(self.x, verbose=0)))


class Nested(Trained):
    def build(self):
        inputs = inputs_like(self.model)
        return keras.Model(inputs, self.model(inputs))

    def expected(self, fresh):
        return fresh(self.x, training=False)


class Twin(Nested):
    def build(self):
        return keras.Model(self.model.inputs, self.model.outputs)

    def expected(self, fresh):
        return keras.tree.flatten(fresh(self.x, training=False))


class Extractor(Trained):
    def build(self):
        self.name, tensor = hidden_tensor(self.model, self.rng)
        return keras.Model(self.model.inputs, tensor)

    def expected(self, fresh):
        return keras.Model(fresh.inputs, fresh.get_layer(self.name).output)(self.x, training=False)


class NewHead(Extractor):
    def build(self):
        self.name, tensor = hidden_tensor(self.model, self.rng)
        self.head = layers.Dense(2)
        return keras.Model(self.model.inputs, self.head(tensor))

    def expected(self, fresh):
        kernel, bias = flat([self.head.kernel, self.head.bias])
        return flat(super().expected(fresh))[0] @ kernel + bias


class SharedHead(Trained):
    """Another network that ends in the last layer of the model."""

    def build(self):
        last = next(layer for layer in reversed(self.model.layers) if isinstance(layer, layers.Dense))
        inputs = keras.Input((5,))
        self.x, self.body = np.ones((3, 5), "float32"), layers.Dense(last.kernel.shape[0], activation="tanh")
        self.name = last.name
        return keras.Model(inputs, last(self.body(inputs)))

    def expected(self, fresh):
        kernel, bias = flat(fresh.get_layer(self.name).weights)
        return np.tanh(self.x @ flat(self.body.kernel)[0] + flat(self.body.bias)[0]) @ kernel + bias


class Distilled(Trained):
    def build(self):
        return keras.distillation.Distiller(
            self.model.to_plain(), self.model, keras.distillation.LogitsDistillation(), student_loss_weight=0.5
        )

    def __init__(self, model, rng, x, y):
        self.model, self.rng, self.x, self.y = model, rng, x, y
        self.holder = self.build()
        self.holder.compile(OPTIMIZERS[int(rng.integers(len(OPTIMIZERS)))](), "mse", run_eagerly=self.eagerly)

    def step(self):
        self.holder.train_on_batch(self.x, self.y)

    def expected(self, fresh):
        return fresh(self.x, training=False)


class Structural(Twin):
    def build(self):
        return StructuralModel(self.model.inputs, self.model.outputs)


class OwnFunction:
    """A training loop of one's own under `tf.function`, with an optimizer of its own."""

    optimizers = OPTIMIZERS

    def __init__(self, model, rng, x, y):
        import tensorflow as tf

        self.model, self.x = model, x
        self.optimizer = self.optimizers[int(rng.integers(len(self.optimizers)))]()

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                outputs = model(x, training=True)
                loss = tf.add_n([tf.reduce_mean(tf.square(out)) for out in tf.nest.flatten(outputs)])
            gradients = tape.gradient(loss, model.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        self.run = tf.function(lambda: model(x, training=False))
        self.train = step

    def step(self):
        self.train()

    def agrees(self, fresh):
        return relative_change(flat(fresh(self.x, training=False)), flat(self.run()))


HOLDERS = {
    "nested": Nested,
    "twin": Twin,
    "extractor": Extractor,
    "head": NewHead,
    "shared": SharedHead,
    "distiller": Distilled,
    "function": OwnFunction,
    "structural": Structural,
}


def edit(model, rng):
    """Grow, split or prune an axis at random; returns whether there was one."""
    for axis in rng.permutation(list(model.structure.axes)):
        width = model.structure.axes[axis]
        kind = rng.integers(3)
        if kind == 0 and model.structure.units[axis].mixes is None:
            model.grow(axis, int(rng.integers(1, 3)), seed=0)
        elif kind == 1 and model.structure.units[axis].mixes is None:
            model.split(axis, [int(rng.integers(width))])
        elif width > 1:
            model.apply(prune(axis, width, [int(rng.integers(width))]), preserve=False)
        else:
            continue
        return True
    return False


def check_draw(seed, blocks, edits):
    """Draw a network and two other holders, edit it and train each once, some times; returns who raised."""
    rng = np.random.default_rng(seed)
    model = StructuralModel.from_model(random_model(seed, blocks=blocks))
    x, y = random_data(model)
    compiled = bool(rng.integers(2))
    if compiled:
        model.compile(OPTIMIZERS[1 if Trained.eagerly else 2](), "mse", run_eagerly=Trained.eagerly)
        model.train_on_batch(x, y)
    one_output = len(model.outputs) == 1
    names = [name for name in HOLDERS if one_output or name != "distiller"]
    held = {str(name): HOLDERS[str(name)](model, rng, x, y) for name in rng.choice(names, 2, replace=False)}
    for holder in held.values():
        holder.step()
    raised = set()
    for _ in range(edits):
        edit(model, rng)
        for name, holder in held.items():
            try:
                holder.step()
            except (ValueError, RuntimeError):
                raised.add(name)
        if compiled:
            model.train_on_batch(x, y)
    assert raised <= MAY_RAISE, f"seed {seed}: {raised - MAY_RAISE} failed after an edit"
    fresh = model.to_plain()
    assert relative_change(flat(fresh(x, training=False)), flat(model(x, training=False))) <= TOLERANCE
    for name, holder in held.items():
        if name not in raised:
            change = holder.agrees(fresh)
            assert change <= TOLERANCE, f"seed {seed}: {name} is off by {change}"
    return raised


@pytest.fixture(autouse=True)
def _structures_of_inputs():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match")  # a list of one tensor, say
        yield


tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="functions of TensorFlow")


@tensorflow_only
@pytest.mark.parametrize("seed", range(20))
def test_other_holders_of_random_networks_follow_edits(seed, monkeypatch):
    monkeypatch.setattr(Trained, "eagerly", seed % 5 != 0)  # of the many networks below, every second one is compiled
    monkeypatch.setattr(OwnFunction, "optimizers", OPTIMIZERS[:2])  # and those have every optimizer
    check_draw(seed, (0, 1), edits=1)


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 220))
def test_other_holders_of_many_random_networks_follow_edits(seed, monkeypatch):
    monkeypatch.setattr(Trained, "eagerly", seed % 2 != 0)
    check_draw(seed, (0, 2), edits=1)


# One by one


X = np.random.default_rng(0).standard_normal((16, 6, 5)).astype("float32")
Y = np.zeros((16, 1), "float32")
KINDS = {
    "Dense": lambda x: layers.Dense(6, activation="tanh", name="h")(layers.Flatten()(x)),
    "GRU": lambda x: layers.GRU(6, name="h")(x),
    "Conv1D": lambda x: layers.Flatten()(layers.Conv1D(6, 3, activation="tanh", name="h")(x)),
}


def small(kind="GRU", cls=StructuralModel):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 5))
    return cls(inputs, layers.Dense(1, name="o")(KINDS[kind](inputs)))


def moved(before, after):
    return [not np.array_equal(one, other) for one, other in zip(before, after, strict=True)]


@tensorflow_only
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_function_of_ones_own_is_traced_again_where_an_edit_replaced_variables(kind, monkeypatch):
    monkeypatch.setattr(OwnFunction, "optimizers", OPTIMIZERS[1:2])
    model = small(kind)
    own = OwnFunction(model, np.random.default_rng(0), X, Y)
    own.step(), own.run()
    model.grow("h", 2)
    before = model.get_weights()
    own.step()
    assert all(moved(before, model.get_weights()))
    assert own.agrees(model) <= TOLERANCE


@tensorflow_only
def test_a_concrete_function_of_replaced_variables_says_that_it_is_stale():
    import tensorflow as tf

    model = small()
    function = tf.function(lambda: model(X, training=False))
    concrete, holder = function.get_concrete_function(), model.get_layer("h").cell.kernel.value
    model.grow("h", 2)
    with pytest.raises(ValueError, match="structure of the network has changed"):
        concrete()
    assert holder.numpy().size == 0, "who holds the old variable itself sees no old values"
    np.testing.assert_allclose(function(), model(X), rtol=1e-5)


@tensorflow_only
def test_a_function_that_was_traced_before_the_model_became_structural_does_not_go_on_with_old_weights():
    import tensorflow as tf

    plain = small("GRU", keras.Model)
    function = tf.function(lambda: plain(X, training=False))
    function()
    plain.predict(X, verbose=0)
    model = StructuralModel(plain.inputs, plain.outputs)
    model.grow("h", 2)
    with pytest.raises(tf.errors.InvalidArgumentError):
        function()
    np.testing.assert_allclose(plain.predict(X, verbose=0), model(X), rtol=1e-5)


@tensorflow_only
def test_code_that_reads_the_shape_of_a_variable_is_traced_again_when_it_changes():
    import tensorflow as tf

    model = small("Dense")
    model.compile("sgd", "mse")
    kernel = model.get_layer("h").kernel
    zeros = tf.function(lambda: tf.zeros(kernel.shape) + kernel)
    assert zeros().shape == (30, 6)
    assert not model.grow("h", 2).retraced
    assert zeros().shape == (30, 8)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_the_state_of_another_optimizer_follows_an_edit(make):
    model, other = small("Dense"), make()
    other.build(model.trainable_variables)
    for variable in other.variables:
        if len(variable.shape) > 0:
            variable.assign(np.arange(np.prod(variable.shape)).reshape(variable.shape))
    held = {v.path: current().read(v) for v in other.variables if len(v.shape) > 0}
    model.prune("h", units=[0, 3])
    for variable in other.variables:
        if len(variable.shape) > 0:
            old = held[variable.path]
            axis = 0 if variable.shape[0] == 4 else len(variable.shape) - 1
            expected = old if variable.shape == old.shape else np.delete(old, [0, 3], axis=axis)
            np.testing.assert_array_equal(current().read(variable), expected)
    other.apply([keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)


def test_an_edit_that_another_optimizer_cannot_follow_is_refused_and_changes_nothing():
    model = small("Dense")
    other = keras.Model(model.inputs, model.outputs)
    other.compile(keras.optimizers.Adafactor(), "mse")
    other.optimizer.build(other.trainable_variables)
    before = model.get_weights()
    with pytest.raises(ValueError, match="Adafactor"):
        model.grow("h", 2)
    assert not any(moved(before, model.get_weights()))
    assert model.structure.axes["h"] == 6
    del other
    assert model.grow("h", 2).after == 8, "the optimizer is gone with the model that it trained"


def test_models_around_an_edited_one_know_its_structure():
    inner = StructuralModel([keras.Input((6,)), layers.Dense(8, name="h1"), layers.Dense(4, name="o")], name="s")
    inputs = keras.Input((6,))
    outer = StructuralModel(inputs, layers.Dense(2)(inner(inputs)))
    outer.compile("adam", "mse")
    x = X[:, 0, [0, 1, 2, 3, 4, 0]]
    outer.fit(x, np.zeros((16, 2)), verbose=0)
    inner.grow("h1", 2)
    assert outer.structure.axes["s/h1"] == 10
    before = outer.predict(x, verbose=0)
    outer.grow("s/h1", 1)
    np.testing.assert_allclose(outer.predict(x, verbose=0), before, rtol=1e-5, atol=1e-6)
    assert inner.structure.axes["h1"] == inner.get_layer("h1").units == 11
    outer.fit(x, np.zeros((16, 2)), verbose=0)
    assert outer.count_params() == parts_of(outer).editor.parameters


def test_a_structural_model_whose_own_layers_do_not_fit_any_more_is_refused():
    plain = small("Dense", keras.Model)
    model = StructuralModel(plain.inputs, plain.outputs)
    current().write(model.get_layer("h").kernel, np.zeros((30, 7), "float32"))
    with pytest.raises(ValueError, match="out of date"):
        model.split("h", [1])


def test_a_new_head_on_a_hidden_layer_follows():
    model = small("Dense")
    head = layers.Dense(2)
    other = keras.Model(model.inputs, head(model.get_layer("h").output))
    other.compile("adam", "mse")
    other.train_on_batch(X, np.zeros((16, 2)))
    before = other.predict(X, verbose=0)
    model.grow("h", 3)
    assert tuple(head.kernel.shape) == (9, 2)
    np.testing.assert_allclose(other.predict(X, verbose=0), before, rtol=1e-5, atol=1e-6)
    other.train_on_batch(X, np.zeros((16, 2)))
    assert parts_of(model).editor.parameters == model.count_params(), "the head is not the model's own"


def test_another_model_may_be_edited_in_the_middle_of_its_training():
    model = small("Dense")
    other = keras.Model(model.inputs, model.outputs)
    other.compile(OPTIMIZERS[1](), "mse")
    grow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: model.grow("h", 1))
    before = model.get_weights()[0]
    other.fit(X, Y, batch_size=4, verbose=0, callbacks=[grow])
    assert model.structure.axes["h"] == 10
    assert not np.array_equal(model.get_weights()[0][:, :6], before)
    np.testing.assert_allclose(other.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


def test_measurements_follow_weights_of_another_width():
    def network(width):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6, 5))
        x = layers.Conv1D(width, 3, name="c")(inputs)
        return StructuralModel(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))

    model, wider = network(4), network(8)
    model.compile("sgd", "mse", probe=X, strategy=None)
    assert parts_of(model).runner.measured("c").gram().shape == (4, 4)
    model.set_weights(wider.get_weights())
    assert parts_of(model).runner.measured("c").gram().shape == (8, 8)


def test_a_head_that_mixes_units_is_named_when_what_it_computes_changes():
    model = small("Dense")
    normalization = layers.RMSNormalization(name="rms")
    keras.Model(model.inputs, layers.Dense(2)(normalization(model.get_layer("h").output)))
    with pytest.warns(UserWarning, match="outside of .* reads axis 'h'.*layer 'rms'"):
        model.grow("h", 2)
    assert model.structure.axes["h"] == 8


@pytest.mark.filterwarnings("ignore:A layer outside of")
@pytest.mark.parametrize("kind", [layers.LayerNormalization, lambda: layers.GroupNormalization(3)])
def test_a_head_that_needs_to_know_the_width_is_put_on_a_compiled_model(kind):
    model = small("Dense")
    model.compile(OPTIMIZERS[1](), "mse")
    model.train_on_batch(X, Y)
    other = keras.Model(model.inputs, layers.Dense(1)(kind()(model.get_layer("h").output)))
    other.compile(OPTIMIZERS[1](), "mse")
    other.train_on_batch(X, Y)
    model.grow("h", 3)
    other.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(other.predict(X, verbose=0), other(X), rtol=1e-5, atol=1e-6)
