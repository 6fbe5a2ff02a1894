"""What a user does with a model, and what she is told when it cannot be done."""

import importlib.abc
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import AxisRule, StructuralModel, grow, prune, split
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableConv2D, GrowableDense
from keras_struct.strategies import NorthRandom
from keras_struct.testing.preservation import outputs, relative_change

pytestmark = pytest.mark.usefixtures("eager_module")  # steps are compiled where that is what matters
RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 5)).astype("float32")
Y = RNG.standard_normal((16, 2)).astype("float32")


def model_of(*hidden, compiled=True):
    keras.utils.set_random_seed(0)
    layers = hidden or (GrowableDense(6, max_units=10, activation="relu", name="hidden"),)
    model = StructuralModel([keras.Input((5,), name="x"), *layers, keras.layers.Dense(2, name="out")])
    if compiled:
        model.compile("adam", "mse")
        model.train_on_batch(X, Y)
    return model


def snapshot(model):
    variables = [*model.weights, *model.optimizer.variables]
    return (
        [v.numpy().copy() for v in variables],
        dict(model.structure.axes),
        model.get_config(),
        len(model.structure_log),
    )


def check_unchanged(model, before):
    after = snapshot(model)
    assert after[1:] == before[1:]
    for left, right in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(left, right)


def test_an_axis_may_grow_up_to_its_limit():
    assert model_of().grow("hidden", 4).after == 10


REFUSED = [
    (lambda m: m.grow("hiden"), r"no such axis.*Editable axes: 'hidden' \(6 units\)"),
    (lambda m: m.grow("out"), "its units are an output of the model"),
    (lambda m: m.grow("x"), "it is an input of the model"),
    (lambda m: m.grow("hidden", 5), "to 11 units: its limit is 10"),
    (lambda m: m.grow("hidden", 0), "positive integer"),
    (lambda m: m.prune("hidden", [6]), "numbered 0 to 5"),
    (lambda m: m.prune("hidden", range(6)), "keep at least one"),
    (lambda m: m.prune("hidden"), "exactly one of `units`, `count`"),
    (lambda m: m.prune("hidden", count=6), "so that one is left"),
    (lambda m: m.split("hidden", [9]), "numbered 0 to 5"),
    (lambda m: m.apply(grow("hidden", 6, 1)), "gradient would be zero for ever"),
    (lambda m: m.apply(grow("hidden", 7, 1)), r"it has 6 units, numbered 0 to 5, but `source` names \[6\]"),
    (lambda m: m.apply(grow("hidden", 6, 1, {"hidden/kernel": np.ones((5, 2))})), r"shape \(5, 2\): expected \(5, 1\)"),
    (lambda m: m.apply(grow("hidden", 6, 1, {"hidden/kernel": np.full((5, 1), np.nan)})), "NaN or infinity"),
    (lambda m: m.apply(grow("hidden", 6, 1, {"hidden/kernel": np.full((5, 1), np.inf)})), "NaN or infinity"),
    (lambda m: m.apply(grow("hidden", 6, 1, {"hidden/kernel": np.full((5, 1), "a")})), "expected numbers"),
    (lambda m: m.apply(grow("hidden", 6, 1, {"kernel": np.ones((5, 1))})), "belong to no variable"),
]


@pytest.fixture(scope="module")
def trained(eager_module):
    """A model for edits that are refused: each test leaves it as it is, but for one more step."""
    return model_of()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("edit", "message"), REFUSED)
def test_an_edit_that_cannot_be_made_says_why_and_changes_nothing(trained, edit, message):
    before = snapshot(trained)
    with pytest.raises(ValueError, match=message):
        edit(trained)
    check_unchanged(trained, before)
    trained.train_on_batch(X, Y)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("edit", [lambda m: m.grow("hidden", 2), lambda m: m.prune("hidden", [0])])
def test_a_failure_at_any_write_leaves_model_and_optimizer_bit_identical(monkeypatch, edit):
    from keras_struct.core.backend import current

    model, write = model_of(), current().write
    for fail_at in range(12):
        before, calls = snapshot(model), []

        def failing(variable, value, calls=calls, fail_at=fail_at):
            calls.append(variable)
            if len(calls) == fail_at + 1:
                raise RuntimeError("the disk is on fire")
            return write(variable, value)

        monkeypatch.setattr(current(), "write", failing)
        try:
            edit(model)
        except RuntimeError:
            monkeypatch.undo()
            check_unchanged(model, before)
            model.train_on_batch(X, Y)
        else:
            break
    assert fail_at >= 9, "three variables with two slots each are written"
    monkeypatch.undo()
    model.train_on_batch(X, Y)


def test_something_that_is_no_edit_is_refused():
    with pytest.raises(TypeError, match="Expected an edit"):
        model_of(compiled=False).apply("grow")


def test_models_without_a_graph_of_layers_are_refused():
    with pytest.raises(ValueError, match="it is not built"):
        StructuralModel.from_model(keras.Sequential([keras.layers.Dense(3)]))

    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="A subclassed model keeps its graph in Python code"):
        StructuralModel.from_model(Own())
    with pytest.raises(ValueError, match=r"use StructuralModel\.from_model"):
        StructuralModel(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"must begin with keras\.Input"):
        StructuralModel([GrowableDense(3)])


def test_what_has_no_unit_rules_is_fixed_and_the_reason_names_the_remedy():
    inputs = keras.Input((4, 3))
    x = keras.layers.Lambda(lambda h: h[:, -1], name="last")(keras.layers.Dense(6, name="before")(inputs))
    model = StructuralModel(inputs, keras.layers.Dense(2)(keras.layers.Dense(4, name="after")(x)))
    assert dict(model.structure.axes) == {"after": 4}
    assert "register_unit_rules" in model.structure.locked["last"]
    with pytest.raises(ValueError, match=r"layer 'last' \(Lambda\) runs Python code"):
        model.grow("before")


def test_lora_and_quantised_layers_are_fixed():
    lora = keras.layers.Dense(6, name="lora")
    model = keras.Sequential([keras.Input((5,)), lora, keras.layers.Dense(4, name="int8"), keras.layers.Dense(2)])
    lora.enable_lora(2)
    model.layers[1].quantize("int8")
    found = StructuralModel(model.inputs, model.outputs).structure
    assert "LoRA" in found.locked["lora"]
    assert "quantised (int8)" in found.locked["int8"]


MIXING = [
    keras.layers.LayerNormalization(name="mix"),
    keras.layers.GroupNormalization(2, name="mix"),
    keras.layers.UnitNormalization(name="mix"),
    keras.layers.Softmax(name="mix"),
    keras.layers.Activation("softmax", name="mix"),
]


@pytest.mark.parametrize("layer", MIXING)
def test_units_that_are_mixed_can_only_be_edited_without_keeping_the_function(layer):
    model = model_of(keras.layers.Dense(6, name="hidden"), type(layer).from_config(layer.get_config()))
    edits = {
        model.grow: ("hidden", 2),
        model.split: ("hidden", [0, 5]),
        model.prune: ("hidden", [1, 2]),
        partial(model.prune, fraction=0.25): ("hidden",),
        model.apply: (grow("hidden", 6, 2, {"hidden/kernel": np.ones((5, 2), "float32")}),),
    }
    for edit, arguments in edits.items():
        with pytest.raises(ValueError, match=r"keep the function: .*mix.*preserve=False"):
            edit(*arguments)
    for width, (edit, arguments) in zip((8, 10, 8, 6, 8), edits.items(), strict=True):
        edit(*arguments, preserve=False)
        assert model.structure.axes["hidden"] == width
    model.fit(X, Y, epochs=2, verbose=0)
    assert np.isfinite(model(X, training=False)).all()


def test_groups_of_a_normalisation_must_still_divide_the_width():
    model = model_of(keras.layers.Dense(6, name="hidden"), keras.layers.GroupNormalization(3, name="norm"))
    edit = grow("hidden", 6, 1, {"hidden/kernel": np.ones((5, 1), "float32")})
    with pytest.raises(ValueError, match="multiple of 3 units, but would get 7"):
        model.apply(edit, preserve=False)


def test_glu_fixes_the_units_that_it_halves():
    model = model_of(keras.layers.Dense(6, name="hidden"), keras.layers.Activation("glu"), compiled=False)
    assert "halves its units" in model.structure.locked["hidden"]


def test_a_strategy_needs_a_layer_to_act_on():
    model = StructuralModel([keras.Input((5,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="no layer to act on"):
        model.compile("sgd", "mse", strategy=NorthRandom())
    with pytest.raises(ValueError, match="too few to measure axis 'hidden' up to its limit of 10"):
        model_of(compiled=False).compile("sgd", "mse", strategy=NorthRandom(), probe=X[:8])


def test_metadata_is_that_of_the_new_structure(capsys):
    model = model_of()
    model.grow("hidden", 3)
    assert model.get_layer("hidden").get_config()["units"] == 9
    assert model.get_layer("hidden").output.shape == (None, 9)
    assert model.count_params() == 5 * 9 + 9 + 9 * 2 + 2
    model.summary()
    assert "(None, 9)" in capsys.readouterr().out
    assert keras.models.clone_model(model).get_layer("hidden").units == 9


@pytest.mark.parametrize("edit", [lambda m: m.grow("hidden", 2), lambda m: m.split("hidden", [0, 3])])
def test_a_loaded_model_has_structure_log_and_strategy(tmp_path, edit):
    model = model_of(compiled=False)
    model.compile("adam", "mse", strategy=NorthRandom(axes=["hidden"], seed=4), probe=12)
    edit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert list(loaded.structure_log) == list(model.structure_log)
    assert parts_of(loaded).runner.strategy == parts_of(model).runner.strategy
    assert parts_of(loaded).observation.buffer.samples == 12
    assert parts_of(loaded).editor.initial_widths == {"hidden": 6}


@pytest.fixture
def saved_plain_copy(tmp_path):
    """The file of a plain copy, inputs, and what the model computes from them."""
    inputs, relu1 = keras.Input((8, 8, 2)), keras_struct.activations.relu1
    x = keras.layers.BatchNormalization()(GrowableConv2D(3, 3, activation=relu1, name="conv")(inputs))
    model = StructuralModel(inputs, keras.layers.Dense(2)(GrowableDense(4, name="d")(keras.layers.Flatten()(x))))
    model.grow("conv", 2)
    plain = model.to_plain()
    images = RNG.standard_normal((3, 8, 8, 2)).astype("float32")
    np.testing.assert_allclose(plain(images), model(images), rtol=1e-6, atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in plain.layers} == {"keras"}
    plain.save(tmp_path / "plain.keras")
    return tmp_path / "plain.keras", images, np.asarray(model(images))


class Missing(importlib.abc.MetaPathFinder):
    """As if this library were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "keras_struct":
            raise ModuleNotFoundError(name)


def test_a_plain_copy_computes_the_same_without_this_library(monkeypatch, saved_plain_copy):
    path, images, expected = saved_plain_copy
    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.split(".")[0] == "keras_struct"]:
            without.delitem(sys.modules, name)
        for name in [name for name in keras.saving.get_custom_objects() if name.startswith("keras_struct>")]:
            without.delitem(keras.saving.get_custom_objects(), name)
        without.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("keras_struct")
        found = keras.models.load_model(path)(images)
        assert "keras_struct" not in sys.modules
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_plain_copy_computes_the_same_in_a_process_that_never_had_this_library(tmp_path, saved_plain_copy):
    path, images, expected = saved_plain_copy
    np.save(tmp_path / "x.npy", images)
    code = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1] + '/plain.keras');"
        "np.save(sys.argv[1] + '/y.npy', m(np.load(sys.argv[1] + '/x.npy'))); assert 'keras_struct' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path.parent)], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=1e-6)


def test_a_grown_model_is_exported_as_a_saved_model(tmp_path):
    import tensorflow as tf

    model = model_of()
    model.grow("hidden", 2)
    model.to_plain().export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(X), model(X), rtol=1e-5, atol=1e-6)


def test_any_model_is_converted_with_nested_ones_and_left_alone():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="tanh", name="inside")], name="inner")
    inputs = keras.Input((5,))
    plain = keras.Model(inputs, keras.layers.Dense(2)(inner(keras.layers.Dense(6, name="first")(inputs))))
    model = StructuralModel.from_model(plain)
    assert dict(model.structure.axes) == {"first": 6, "inner/inside": 4}
    before = outputs(plain, X)
    for axis in model.structure.axes:
        model.grow(axis, 2)
        model.split(axis, 0)
    assert relative_change(before, outputs(model, X)) < 1e-6
    np.testing.assert_array_equal(outputs(plain, X)[0], before[0])


class Gain(keras.layers.Layer):
    """A user's layer: one factor for each unit."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(input_shape[-1],), name="factor", initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


def test_a_layer_of_ones_own_can_be_taught():
    keras_struct.register_unit_rules(Gain, lambda layer: (AxisRule("factor", 0, "carry", new=1.0),), elastic=True)
    model = model_of(keras.layers.Dense(6, name="hidden"), Gain())
    before = outputs(model, X)
    assert not model.grow("hidden", 2).retraced
    assert relative_change(before, outputs(model, X)) < 1e-6
    assert model.layers[2].factor.shape == (8,)
    with pytest.raises(TypeError, match="expected a subclass"):
        keras_struct.register_unit_rules("Gain", lambda layer: ())


def test_limits_are_checked_when_a_layer_is_made():
    with pytest.raises(ValueError, match="max_units=3"):
        GrowableDense(4, max_units=3)
    with pytest.raises(ValueError, match="grouped convolutions"):
        GrowableConv2D(4, 3, groups=2)


@pytest.mark.usefixtures("compiled")
def test_twenty_edits_trace_the_step_once():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs))
    x = keras.layers.Add()([x, keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)])
    x = keras.layers.Dense(5, activation="relu", name="fc")(keras.layers.Flatten()(x))
    model = StructuralModel.from_model(keras.Model(inputs, keras.layers.Dense(1)(x)))
    model.compile("adam", "mse")
    traces, step = [], model.train_step
    model.train_step = lambda data: (traces.append(1), step(data))[1]
    images = RNG.standard_normal((8, 8, 8, 2)).astype("float32")
    model.train_on_batch(images, Y[:8, :1])
    for _ in range(5):
        for edit in (grow, split):
            axis = "stem" if edit is grow else "fc"
            width = model.structure.axes[axis]
            model.grow(axis, 1) if edit is grow else model.apply(split(axis, width, 0))
            model.train_on_batch(images, Y[:8, :1])
        for axis in ("stem", "fc"):
            model.apply(prune(axis, model.structure.axes[axis], [0]))
            model.train_on_batch(images, Y[:8, :1])
    assert len(model.structure_log) == 20
    assert not any(event.retraced for event in model.structure_log)
    assert len(traces) == 1


def test_relu1_has_derivative_one_at_zero():
    import tensorflow as tf

    x = tf.constant([-1.0, 0.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras_struct.activations.relu1(x)
    assert y.numpy().tolist() == [0, 0, 2]
    assert tape.gradient(y, x).numpy().tolist() == [0, 1, 1]


def test_importing_the_library_imports_no_backend():
    code = "import sys, keras_struct, keras_struct.structure, keras_struct.strategies; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
