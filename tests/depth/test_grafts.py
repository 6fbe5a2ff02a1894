"""Layers, blocks and branches come and go: the function, the optimizer and all who share layers are kept."""

import json

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import Graft, StructuralModel, TensorRef
from keras_struct.layers import ParametricActivation
from tests.depth.networks import (
    assert_same_state,
    chain,
    data_for,
    image,
    nested,
    output,
    residual,
    state_of,
    trained,
    transformer,
)

layers = keras.layers
pytestmark = pytest.mark.usefixtures("eager_module")


def dense_block(model, after):
    return model.insert_block([layers.Dense(5, activation="tanh"), layers.Dense(8)], after=after)


EDITS = {
    "a layer behind relu": (chain, lambda m: m.insert(layers.Dense(8, activation="relu"), after="a")),
    "two layers": (chain, lambda m: m.insert([layers.Dense(8), ParametricActivation("tanh")], after="a")),
    "a block": (chain, lambda m: dense_block(m, "b")),
    "a gated block": (chain, lambda m: m.insert_block(layers.Dense(8, activation="relu"), after="b", gate=True)),
    "a branch": (chain, lambda m: m.branch("stem", "b", layers.Dense(8))),
    "a gated skip": (chain, lambda m: m.branch("stem", "b", gate=True)),
    "a convolution": (image, lambda m: m.insert(layers.Conv2D(4, 3, padding="same", activation="relu"), after="act")),
    "a depthwise convolution": (image, lambda m: m.insert(layers.DepthwiseConv2D(3, padding="same"), after="add")),
    "a normalised block": (
        image,
        lambda m: m.insert_block([layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()], after="add"),
    ),
    "dropout": (image, lambda m: m.insert(layers.SpatialDropout2D(0.5), after="add")),
    "a transformer block": (transformer, lambda m: m.duplicate("add_1b", init="identity")),
    "a layer in a nested model": (nested, lambda m: m.insert(layers.Dense(8, activation="relu"), after="backbone/one")),
    "behind a nested model": (nested, lambda m: m.insert(layers.Dense(8), after="backbone")),
    "at the end of a nested model": (nested, lambda m: m.insert(layers.Dense(8), after="backbone/two")),
}


@pytest.mark.parametrize("case", EDITS)
def test_what_begins_as_an_identity_or_as_zero_keeps_the_function_and_the_optimizer_and_then_learns(case):
    network, edit = EDITS[case]
    model, x, y = trained(network())
    before, slots = output(model, x), {v.path: v.numpy() for v in model.optimizer.variables}
    old = {id(variable) for variable in model.variables}
    event = edit(model)
    np.testing.assert_array_equal(output(model, x), before)
    assert event.after > event.before
    assert all(np.array_equal(v.numpy(), slots[v.path]) for v in model.optimizer.variables if v.path in slots)
    new = [variable for variable in model.trainable_variables if id(variable) not in old]
    start = [variable.numpy() for variable in new]
    for _ in range(2):  # what is behind a zero moves in the second step
        model.train_on_batch(x, y)
    still = [v.path for v, value in zip(new, start, strict=True) if np.array_equal(v.numpy(), value)]
    assert not [path for path in still if not path.endswith("key/bias")]  # which cancels in the softmax


def test_an_identity_normalisation_is_one_in_inference():
    model, x, _ = trained(image())
    before = output(model, x)
    model.insert(layers.BatchNormalization(), after="add")
    np.testing.assert_allclose(output(model, x), before, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.insert(layers.Dense(8, activation="relu", dtype="float64"), after="a"),
        lambda m: m.insert_block([layers.Dense(5, dtype="float64"), layers.Dense(8, dtype="float64")], after="a"),
        lambda m: m.duplicate("a", times=2),
        lambda m: m.remove("b"),
        lambda m: m.reorder(["b", "a"]),
    ],
    ids=["insert", "insert_block", "duplicate", "remove", "reorder"],
)
def test_the_next_step_is_that_of_a_new_model_with_the_same_weights_and_slots(edit):
    model, x, y = trained(chain("float64"), steps=3)
    edit(model)
    fresh = keras.Model.from_config(model.get_config())
    fresh.set_weights(model.get_weights())
    fresh.compile("adam", "mse", run_eagerly=True)
    fresh.optimizer.build(fresh.trainable_variables)
    for own, other in zip(fresh.optimizer.variables, model.optimizer.variables, strict=True):
        own.assign(other.value)
    for net in (model, fresh):
        net.train_on_batch(x, y)
    for own, other in zip(model.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-10)


@pytest.mark.parametrize(
    "optimizer", ["adam", "rmsprop", "lion", keras.optimizers.SGD(0.1, 0.9), keras.optimizers.Adam(use_ema=True)]
)
def test_copies_have_the_weights_of_the_block_and_the_state_that_its_optimizer_has_of_them(optimizer):
    if isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer = type(optimizer).from_config(optimizer.get_config())
    model, _, _ = trained(chain(), optimizer=optimizer)
    model.duplicate("a")
    copy, source = model.get_layer("a_copy"), model.get_layer("a")
    for one, other in zip(copy.weights, source.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    state = {v.path: v.numpy() for v in model.optimizer.variables}
    copies = {path: value for path, value in state.items() if "a_copy_" in path}
    assert len(copies) == sum("/a_" in path for path in state) - len(copies) > 0
    for path, value in copies.items():
        np.testing.assert_array_equal(value, state[path.replace("a_copy_", "a_")])


@pytest.mark.parametrize("network", [chain, image, transformer, nested])
def test_a_removed_copy_leaves_the_model_and_its_optimizer_bit_identical(network):
    model, _, _ = trained(network())
    before = state_of(model)
    name = list(model.blocks)[-1]
    model.duplicate(name)
    copy = next(block for block in model.blocks if block not in name and "copy" in block)
    model.remove(copy)
    assert_same_state(state_of(model), before)


def test_a_model_is_saved_and_goes_on_as_if_it_had_not_been(tmp_path):
    model, x, y = trained(transformer(2), steps=1)
    model.duplicate("add_1b")
    model.remove("add_0b")
    model.insert_block([layers.Dense(4), layers.Dense(8)], after="add_1b")
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(output(again, x), output(model, x))
    for net in (model, again):
        net.run_eagerly = True
        net.train_on_batch(x, y)
    np.testing.assert_array_equal(output(again, x), output(model, x))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_widths_of_new_layers_are_edited_as_those_of_others():
    model, x, y = trained(chain())
    dense_block(model, "a")
    name = next(axis for axis in model.structure.axes if axis.startswith("dense"))
    before = output(model, x)
    model.grow(name, 3)
    np.testing.assert_allclose(output(model, x), before, atol=1e-6)
    model.train_on_batch(x, y)
    assert model.structure.axes[name] == 8


def test_extractors_models_around_and_heads_on_shared_layers_follow():
    inner = chain()
    inner.compile("adam", "mse", run_eagerly=True)
    extractor = keras.Model(inner.input, inner.get_layer("b").output)
    head = keras.Model(inner.input, layers.Dense(2, name="other")(inner.get_layer("a").output))
    around_in = keras.Input((6,))
    around = keras.Model(around_in, layers.Dense(1)(inner(around_in)))
    x, y = data_for(inner)
    for net in (inner, extractor, head, around):
        net.compile("adam", "mse", run_eagerly=True)
        net.train_on_batch(x, np.zeros((len(x), net.output_shape[-1])))
    inner.insert(layers.Dense(8, name="new"), after="stem", init="fresh")
    assert [len(net.layers) for net in (inner, extractor, head)] == [6, 5, 5]
    value = output(inner.get_layer("new"), output(inner.get_layer("stem"), x))
    value = output(inner.get_layer("b"), output(inner.get_layer("a"), value))
    np.testing.assert_allclose(output(extractor, x), value, rtol=1e-5)
    np.testing.assert_allclose(output(inner, x), output(inner.get_layer("head"), value), rtol=1e-5)
    for net in (inner, extractor, head, around):
        kernel = inner.get_layer("new").kernel.numpy()
        net.train_on_batch(x, np.zeros((len(x), net.output_shape[-1])))
        assert not np.array_equal(inner.get_layer("new").kernel.numpy(), kernel)


def test_optimizers_that_train_some_of_the_weights_go_on_training_these_only():
    model, x, y = trained(chain())
    head = keras.optimizers.Adam()
    head.build(model.get_layer("head").trainable_variables)
    other = keras.optimizers.SGD(0.1, 0.9)
    other.build(model.trainable_variables[:2])
    model.insert(layers.Dense(8, activation="relu"), after="a")
    model.remove("b")
    assert [v.path for v in head._trainable_variables] == ["head/kernel", "head/bias"]
    assert [v.path for v in other._trainable_variables] == ["stem/kernel", "stem/bias"]
    assert len(model.optimizer._trainable_variables) == len(model.trainable_variables)


def test_a_block_that_another_model_reads_is_not_removed():
    model, _, _ = trained(chain())
    extractor = keras.Model(model.input, model.get_layer("a").output)
    before = state_of(model)
    with pytest.raises(ValueError, match=f"that another model reads: '{extractor.name}' reads 'a'"):
        model.remove("a")
    assert_same_state(state_of(model), before)
    del extractor
    model.remove("a")
    assert "a" not in [layer.name for layer in model.layers]


@pytest.mark.parametrize("fails", ["trace", "refit", "read_again", "take_out", "redirect", "copy"])
def test_a_failure_anywhere_leaves_model_and_optimizer_as_they_were(fails, monkeypatch):
    model, x, y = trained(residual())
    extractor = keras.Model(model.input, model.get_layer("add_1").output)
    before, outside = state_of(model), str(extractor.get_config())
    graft = [
        keras_struct.duplicate(model.blocks["add_1"]),
        keras_struct.insert_block([layers.Dense(4), layers.Dense(8, name="last")], after="add_0"),
        keras_struct.remove(model.blocks["add_2"]),
    ]

    def failing(*args, **kwargs):
        raise RuntimeError("on purpose")

    places = {
        "trace": "keras_struct.core.model.call_editor.trace",
        "refit": "keras_struct.core.model.call_editor.refit",
        "read_again": "keras_struct.core.backend.keras_internals.WiringChange.read_again",
        "take_out": "keras_struct.core.backend.keras_internals.WiringChange.take_out",
        "redirect": "keras_struct.core.backend.keras_internals.WiringChange.redirect",
        "copy": "keras_struct.depth.grafting.copy_state",
    }
    for edit in graft if fails != "copy" else graft[:1]:
        with monkeypatch.context() as patch:
            patch.setattr(places[fails], failing)
            with pytest.raises(RuntimeError, match="on purpose"):
                model.apply(edit)
        assert_same_state(state_of(model), before)
        assert str(extractor.get_config()) == outside
    model.train_on_batch(x, y)
    model.apply(graft)
    model.train_on_batch(x, y)


def test_edits_of_several_kinds_are_carried_out_in_their_order_all_or_none():
    model, x, y = trained(chain())
    before, value = state_of(model), output(model, x)
    edits = [
        keras_struct.grow("a", 8, 2, {"a/kernel": np.ones((8, 2), "float32")}),
        keras_struct.insert(layers.Dense(10, activation="relu", name="new"), after="a"),
        keras_struct.prune("stem", 8, [3]),
    ]
    wrong = keras_struct.insert(layers.Dense(11), after="a")
    with pytest.raises(ValueError, match="expected 10 units"):
        model.apply([*edits, wrong])
    assert_same_state(state_of(model), before)
    events = model.apply(edits[:2])
    assert [(event.before, event.after) for event in events] == [(8, 10), (4, 5)]
    np.testing.assert_allclose(output(model, x), value, atol=1e-6)
    model.train_on_batch(x, y)


def test_an_edit_is_data_that_can_be_compared_and_read_again():
    block = chain().blocks["a"]
    edits = [
        keras_struct.insert_block([layers.Dense(4, name="p"), layers.Dense(8, name="q")], after="a", name="sum"),
        keras_struct.duplicate(block),
        keras_struct.remove(block),
        keras_struct.branch("stem", TensorRef("b"), layers.Dense(8, name="r"), gate=True),
    ]
    for edit in edits:
        again = Graft.from_config(json.loads(json.dumps(edit.to_config(arrays=True))))
        assert again == edit
        assert hash(again) == hash(edit)
    assert len(set(edits)) == len(edits)


def test_layers_that_are_built_bring_their_weights():
    model, x, _ = trained(chain())
    layer = layers.Dense(8, name="new")
    layer.build((None, 8))
    model.insert(layer, after="a")
    np.testing.assert_array_equal(model.get_layer("new").kernel.numpy(), layer.kernel.numpy())
    assert model.get_layer("new") is not layer


def test_a_model_is_put_in_as_its_layers():
    i = keras.Input((8,))
    part = keras.Model(i, layers.Add(name="sum")([i, layers.Dense(8, name="inside", kernel_initializer="zeros")(i)]))
    model, x, _ = trained(chain())
    before = output(model, x)
    model.insert(part, after="a")
    np.testing.assert_array_equal(output(model, x), before)
    assert {"sum", "inside"} <= {layer.name for layer in model.layers}


def test_edits_in_the_middle_of_fit_are_followed():
    class Deepen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                value = output(self.model, self.x)
                self.model.insert(layers.Dense(8, activation="relu", name=f"new{self.epoch}"), after="a")
                self.changes.append(np.abs(output(self.model, self.x) - value).max())

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    model = chain()
    x, y = data_for(model, 32)
    model.compile("adam", "mse")
    callback = Deepen()
    callback.x, callback.changes = x, []
    model.fit(x, y, batch_size=8, epochs=2, callbacks=[callback], verbose=0)
    assert callback.changes == [0.0, 0.0]
    assert int(model.optimizer.iterations.numpy()) == 8
    assert not np.array_equal(model.get_layer("new0").kernel.numpy(), np.eye(8))


REFUSALS = {
    "unknown layer": (lambda m: m.insert(layers.Dense(8), after="nowhere"), "There is no layer 'nowhere'. Layers of"),
    "no layer": (lambda m: m.insert("dense", after="a"), "Expected a layer, or a list of layers"),
    "name": (lambda m: m.insert(layers.Dense(8, name="b"), after="a"), "There is a layer 'b' in the network"),
    "rank": (lambda m: m.insert(layers.Conv2D(8, 3), after="a"), "does not fit where it is put: it is called on"),
    "units": (lambda m: m.insert(layers.Dense(7), after="a"), "makes 7 units of 8, and has no identity"),
    "shape": (
        lambda m: m.insert(layers.Dense(7), after="a", init="fresh"),
        r"expected \(None, 8\), float32. Received: \(None, 7\)",
    ),
    "tanh": (
        lambda m: m.insert(layers.Dense(8, activation="tanh"), after="a"),
        "with activation tanh has no identity where",
    ),
    "relu behind linear": (
        lambda m: m.insert(layers.Dense(3, activation="relu"), after="head"),
        "expected no activation",
    ),
    "no identity": (
        lambda m: m.insert(layers.LayerNormalization(), after="a"),
        r"model.insert_block\(\[...\], after=...\)",
    ),
    "last layer": (lambda m: m.insert_block(layers.Dropout(0.1), after="a"), "No layer of the path has weights"),
    "relu at zero": (
        lambda m: m.insert_block(layers.Dense(8, activation="relu"), after="a"),
        "whose activation is 0 at 0",
    ),
    "merge": (lambda m: m.branch("stem", "a", merge="sum"), "`merge` must be one of 'add', 'average'"),
    "product": (
        lambda m: m.branch("stem", "a", layers.Dense(8), merge="multiply"),
        'expected merge="add", or init="fresh"',
    ),
    "block": (lambda m: m.remove("head"), "There is no block 'head'. A block is named after the layer that ends it"),
    "times": (lambda m: m.duplicate("a", times=0), "`times` must be 1 or more. Received: 0"),
    "not residual": (lambda m: m.duplicate("a", init="zero"), "`init` must be one of 'copy', 'identity', 'fresh'"),
    "init": (lambda m: m.insert(layers.Dense(8), after="a", init="zero"), "`init` must be one of 'identity', 'fresh'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_refused_before_anything_changes(case):
    edit, message = REFUSALS[case]
    model, _, _ = trained(chain(), steps=1)
    before = state_of(model)
    with pytest.raises((ValueError, TypeError), match=message):
        edit(model)
    assert_same_state(state_of(model), before)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            layers.Conv2D(4, 3, padding="same", strides=2),
            r"has strides \(2, 2\), and no identity: expected strides of 1",
        ),
        (layers.Conv2D(4, 3), 'expected padding="same", or a kernel size of 1'),
        (layers.Conv2D(4, 2, padding="same"), "expected odd sizes, which have a centre"),
        (layers.BatchNormalization(scale=False), "expected scale=True"),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), "expected depth_multiplier=1"),
    ],
)
def test_identities_that_do_not_exist_are_refused_with_what_would_do(layer, message):
    with pytest.raises(ValueError, match=message):
        image().insert(layer, after="add")


def test_a_subclassed_part_of_a_model_is_a_box():
    class Mine(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(6)

        def call(self, x):
            return self.dense(x)

    i = keras.Input((6,))
    model = StructuralModel(i, layers.Dense(2)(Mine(name="mine")(i)))
    with pytest.raises(ValueError, match="Cannot edit the calls inside 'mine': expected a Functional model"):
        model.insert(layers.Dense(6), after="mine/dense")


def test_gates_behind_operations_keep_their_number_in_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        i = keras.Input((6,))
        x = layers.Dense(8)(i)
        model = StructuralModel(i, layers.Dense(2, dtype="float32")(x + layers.Dense(8)(x)))
        place = next(operation.name for operation in model.operations if "add" in operation.name)
        model.insert_block(layers.Dense(8), after=place, gate=True)
        assert model.get_layer("gate").scale.dtype == "float32"
        assert model.get_layer("gate").compute_dtype == "float16"
    finally:
        keras.config.set_dtype_policy(before)


def test_memory_and_graph_stay_as_they_are_over_many_edits():
    import gc

    model, x, y = trained(chain())

    def counted():
        gc.collect()
        found = gc.get_objects()
        return [
            sum(type(item).__name__ == name for item in found)
            for name in ("Node", "KerasVariable", "Variable", "ElasticVariable", "Dense")
        ]

    numbers = []
    for round_ in range(12):
        model.insert(layers.Dense(8, activation="relu", name=f"new{round_}"), after="a")
        model.train_on_batch(x, y)
        model.remove(f"new{round_}")
        if round_ in (3, 11):
            numbers.append(counted())
    assert numbers[0] == numbers[1]
