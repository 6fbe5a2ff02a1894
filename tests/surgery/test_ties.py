"""Layers whose outputs are tied to their inputs: how they say so, and what is refused before anything is written."""

import re

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import AxisRule, Budget, StructuralModel
from keras_struct.activations import relu1
from keras_struct.core.surgery import checking
from keras_struct.strategies import Firefly, GradMax, Grow, NorthSelect, NorthWeight
from keras_struct.testing import check_layer
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.triggers import EffectiveDimension, FractionOfWidth, WeightEffectiveDimension

layers, ops = keras.layers, keras.ops
RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 6)).astype("float32")
Y = RNG.standard_normal((16, 2)).astype("float32")
pytestmark = [pytest.mark.usefixtures("eager_module"), pytest.mark.filterwarnings("ignore:__array__")]


@keras.saving.register_keras_serializable("test_ties")
class Highway(layers.Layer):
    """Weights of its own; other rules, for tests, by name."""

    def __init__(self, rules="right", **options):
        super().__init__(**options)
        self.rules = rules

    def build(self, shape):
        square = (shape[-1], shape[-1])
        self.kernel = self.add_weight(shape=square, name="kernel")
        self.gate = self.add_weight(shape=square, name="gate")
        self.shut = self.add_weight(shape=square[:1], initializer=keras.initializers.Constant(-2.0), name="shut")

    def call(self, x):
        gate = ops.sigmoid(x @ self.gate + self.shut)
        return ops.tanh(x @ self.kernel) * gate + x * (1 - gate)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "rules": self.rules}

    def unit_rules(self):
        right = {
            "kernel/0": AxisRule("kernel", 0, "consume"),
            "kernel/1": AxisRule("kernel", 1, "produce", tied_to="input"),
            "gate/0": AxisRule("gate", 0, "consume"),
            "gate/1": AxisRule("gate", 1, "produce", tied_to="input"),
            "shut/0": AxisRule("shut", 0, "produce", new=-2.0),
        }
        return tuple({**right, **CHANGES[self.rules]}.values())


UNTIED = {name: AxisRule(name[:-2], 1, "produce") for name in ("kernel/1", "gate/1")}
CHANGES = {
    "right": {},
    "untied": UNTIED,
    "one role": {"gate/0": AxisRule("gate", 0, "carry")},
    "two roles": {
        "kernel/0": AxisRule("kernel", 0, "produce", tied_to="input"),
        "kernel/1": AxisRule("kernel", 1, "consume"),
    },
    "twice": {"more": AxisRule("kernel", 0, "carry")},
    "unknown tie": {"kernel/1": AxisRule("kernel", 1, "produce", tied_to="inptu")},
    "no such attribute": {"kernel/1": AxisRule("kernel", 1, "produce", size="units")},
}


@keras.saving.register_keras_serializable("test_ties")
class Inner(layers.Layer):
    """A highway layer of Dense layers."""

    def build(self, shape):
        self.transform, self.gate = (layers.Dense(shape[-1], name=name) for name in ("transform", "gate"))
        self.transform.build(shape)
        self.gate.build(shape)

    def call(self, x):
        gate = ops.sigmoid(self.gate(x))
        return ops.tanh(self.transform(x)) * gate + x * (1 - gate)

    def unit_rules(self):
        found = ()
        for name in ("transform", "gate"):
            found += (
                AxisRule(f"{name}/kernel", 0, "consume"),
                AxisRule(f"{name}/kernel", 1, "produce", tied_to="input", size=f"{name}/units"),
                AxisRule(f"{name}/bias", 0, "produce"),
            )
        return found


@keras.saving.register_keras_serializable("test_ties")
class Sized(layers.Layer):
    """A residual layer that is told how many units enter it, and whether to say so in its rules."""

    def __init__(self, units, tied=True, **options):
        super().__init__(**options)
        self.units, self.tied = units, tied

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.units, self.units), name="kernel")

    def call(self, x):
        return x + ops.tanh(x @ self.kernel)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "tied": self.tied}

    def unit_rules(self):
        tie = "input" if self.tied else None
        return AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units", tied_to=tie)


@keras.saving.register_keras_serializable("test_ties")
class Channels(layers.Layer):
    """A residual convolution with channels first."""

    def __init__(self, **options):
        super().__init__(**options)
        self.data_format = "channels_first"

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[1], shape[1]), name="kernel")

    def call(self, x):
        return x + ops.einsum("bcxy,cd->bdxy", x, self.kernel)

    def unit_rules(self):
        return AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", tied_to="input")


def network(*tied, before=None):
    keras.utils.set_random_seed(0)
    stack = [keras.Input((6,)), layers.Dense(4, activation="tanh", name="h") if before is None else before]
    return StructuralModel([*stack, *tied, layers.Dense(2, name="out")])


def kept_by_edits(model, axis, x=X):
    for edit in (lambda: model.grow(axis, 2), lambda: model.split(axis, [0, 3])):
        before = outputs(model, x)
        edit()
        assert relative_change(before, outputs(model, x)) < 1e-6
    model.prune(axis, [1])
    outputs(model, x)


@pytest.fixture
def nothing_written(monkeypatch):
    """An edit that comes to be written fails the test."""
    monkeypatch.setattr(
        "keras_struct.core.model.steps.Commit", lambda *_: pytest.fail("the edit was written", pytrace=False)
    )


@pytest.mark.parametrize("layer", [Highway(), Inner(), Sized(4)], ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("compiled", [False, True])
def test_tied_units_are_edited_with_those_that_enter(layer, compiled):
    layer = type(layer).from_config(layer.get_config())
    model = network(layer)
    if compiled:
        model.compile("adam", "mse")
        model.train_on_batch(X, Y)
    assert dict(model.structure.axes) == {"h": 4}
    assert [name for name, _ in model.structure.units["h"].producers] == ["h", layer.name]
    kept_by_edits(model, "h")
    assert all(7 in variable.shape for variable in layer.weights)
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)


def test_several_tied_layers_are_one_axis_and_weights_of_new_units_are_random_in_each():
    first, second = Highway(name="first"), Highway(name="second")
    model = network(first, second)
    model.grow("h", 2)
    assert dict(model.structure.axes) == {"h": 6}
    for layer in (first, second):
        kernel, shut = (ops.convert_to_numpy(variable) for variable in (layer.kernel, layer.shut))
        assert (kernel[:4, 4:] != 0).all()
        assert (kernel[4:] == 0).all()
        np.testing.assert_array_equal(shut, np.full(6, -2.0, "float32"))


def test_channels_first_are_tied():
    model = network(layers.Reshape((4, 1, 1)), Channels(), layers.Flatten())
    assert dict(model.structure.axes) == {"h": 4}
    kept_by_edits(model, "h")


def test_units_of_a_sequence_are_tied():
    x = keras.Input((5, 6))
    y = Highway()(layers.Dense(4, name="h")(x))
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(y)))
    kept_by_edits(model, "h", RNG.standard_normal((3, 5, 6)).astype("float32"))


def test_units_tied_to_an_input_of_the_model_are_fixed():
    model = StructuralModel([keras.Input((6,)), Highway(name="highway"), layers.Dense(2)])
    assert "ties its units to those that enter it" in model.structure.locked["highway"]


def test_a_registered_layer_may_be_tied():
    class Plain(Sized):
        unit_rules = None

    keras_struct.register_unit_rules(Plain, lambda layer: Sized.unit_rules(layer), elastic=True)
    kept_by_edits(network(Plain(4)), "h")


class Mixed(layers.Layer):
    """Two inputs that meet in a gate, by rules that are given."""

    def __init__(self, *rules, **options):
        super().__init__(**options)
        self.given = rules

    def get_config(self):
        return layers.Layer.get_config(self)

    def build(self, x_shape, other_shape):
        self.kernel = self.add_weight(shape=(x_shape[-1], x_shape[-1]), name="kernel")
        self.read = self.add_weight(shape=(other_shape[-1], x_shape[-1]), name="read")

    def call(self, x, other):
        return x * ops.sigmoid(x @ self.kernel + other @ self.read)

    def unit_rules(self):
        return self.given


def mixed(*rules, width=3):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    left, right = (layers.Dense(units, name=name)(x) for name, units in (("left", 4), ("right", width)))
    return StructuralModel(x, layers.Dense(2)(Mixed(*rules, name="mixed")(left, right)))


@pytest.mark.parametrize(
    ("x", "other"), [(0, 1), ("x", "other"), (("x",), (1,))], ids=["positions", "parameters", "tuples"]
)
def test_inputs_are_named_by_position_or_parameter(x, other):
    model = mixed(
        AxisRule("kernel", 0, "consume", tied_to=x),
        AxisRule("kernel", 1, "produce", tied_to=x),
        AxisRule("read", 0, "consume", tied_to=other),
        AxisRule("read", 1, "produce"),
    )
    assert dict(model.structure.axes) == {"left": 4, "right": 3}
    kept_by_edits(model, "left")
    model.grow("right", 2)


WRONG = {
    "names input 2. It has 2, numbered from 0": AxisRule("kernel", 0, "consume", tied_to=2),
    r"is tied to 'inputs'.*Expected 'input', 'output', the number of an input or a parameter.*\['x', 'other'\]": AxisRule(
        "kernel", 0, "consume", tied_to="inputs"
    ),
    "is tied to 'input'.*Expected to be told which of its 2 inputs": AxisRule("kernel", 1, "produce", tied_to="input"),
    r"AxisRule\('read', 0, 'consume'\) says that axis 0 of its variable 'read' lies along the units of its input 0, of which "
    "there are 4, and the axis has 3 entries. Input 1 has as many units: tied_to=1": AxisRule("read", 0, "consume"),
    "axis 0 of its variable 'read' lies along the units of its output, of which there are 4": AxisRule(
        "read", 0, "produce"
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_rules_that_do_not_fit_are_refused_when_the_model_is_read(words):
    with pytest.raises(ValueError, match=r"layer 'mixed' \(Mixed\).*" + words):
        mixed(WRONG[words])


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("twice", "Two unit rules of layer .* name axis 0 of variable 'kernel'"),
        ("unknown tie", r"is tied to 'inptu'.*tied_to='inptu'.*Expected.*\['x'\]"),
        ("no such attribute", "has no such attribute"),
    ],
)
def test_rules_of_what_is_not_there_are_refused_when_the_model_is_read(rules, words):
    with pytest.raises(ValueError, match=words):
        network(Highway(rules))


READS, MAKES = AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units")


class Projected(layers.Layer):
    """Reads and makes units along one kernel, by rules that are given."""

    def __init__(self, units, *rules, **options):
        super().__init__(**options)
        self.units, self.given = units, rules

    def build(self, shape):
        self.kernel = self.add_weight(shape=(int(np.prod(shape[1:])), self.units), name="kernel")

    def call(self, x):
        return ops.reshape(x, (ops.shape(x)[0], -1)) @ self.kernel

    def unit_rules(self):
        return self.given


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (AxisRule("kernel", 0, "produce"), "lies along the units of its output, of which there are 5"),
        (
            AxisRule("kernel", 0, "consume", keras_struct.core.structure.rules.Layout(tile=2)),
            "of which there are 4, 2 entries",
        ),
        (AxisRule("kernel", 1, "produce", tied_to="input"), "units that enter it, of which there are 4"),
        (AxisRule("kernel", 1, "produce", size="fixed"), "The attribute is 9, and the axis has 5 entries"),
    ],
)
def test_an_axis_with_another_number_of_entries_than_units_is_refused_when_the_model_is_read(rule, words):
    layer = Projected(5, rule, name="p")
    layer.fixed = 9
    with pytest.raises(ValueError, match=rf"unit rule of layer 'p' \(Projected\).*{words}"):
        network(layer)


def test_entries_that_each_unit_has_several_of_are_told_to_be_laid_out():
    x = keras.Input((3, 6))
    hidden = layers.Dense(4, name="h")(x)
    with pytest.raises(ValueError, match=r"has 12 entries. If each unit has 3 entries.*layout=Layout\(tile=3\)"):
        StructuralModel(x, layers.Dense(2)(Projected(5, AxisRule("kernel", 0, "consume"), name="p")(hidden)))


def test_a_layer_that_makes_units_and_has_no_rule_for_it_fixes_what_enters():
    model = network(Projected(5, AxisRule("kernel", 0, "consume"), name="p"))
    assert "makes 5 units, which none of its inputs has" in model.structure.locked["h"]


def test_rules_of_an_input_that_is_not_passed_say_nothing():
    class Optional(layers.Layer):
        def build(self, x_shape, other_shape=None):
            self.kernel = self.add_weight(shape=(5, x_shape[-1]), name="kernel")

        def call(self, x, other=None):
            return x if other is None else x + other @ self.kernel

        def unit_rules(self):
            return AxisRule("kernel", 0, "consume", tied_to="other"), AxisRule("kernel", 1, "produce", tied_to="x")

    model = network(Optional(name="optional"))
    kept_by_edits(model, "h")
    assert model.get_layer("optional").kernel.shape == (5, 7)


def test_a_layer_that_outputs_one_number_reads_units_and_makes_none():
    class Total(layers.Layer):
        def __init__(self, *rules, **options):
            super().__init__(**options)
            self.given = rules

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1],), name="kernel")

        def call(self, x):
            return ops.sum(x * self.kernel, axis=-1)

        def get_config(self):
            return layers.Layer.get_config(self)

        def unit_rules(self):
            return self.given

    x = keras.Input((6,))
    model, wrong = (
        StructuralModel(x, Total(AxisRule("kernel", 0, role), name="total")(layers.Dense(4, name="h")(x)))
        for role in ("consume", "produce")
    )
    kept_by_edits(model, "h")
    assert "outputs one number a sample" in wrong.structure.locked["h"]


@keras.saving.register_keras_serializable("test_ties")
class Mean(layers.Layer):
    """The mean over positions, scaled unit by unit."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return ops.mean(x, axis=1) * self.scale

    def compute_output_shape(self, shape):
        return (shape[0], shape[-1])

    def unit_rules(self):
        return (AxisRule("scale", 0, "carry", new=1.0),)


def test_a_layer_over_positions_passes_units_on():
    x = keras.Input((5, 6))
    model = StructuralModel(x, layers.Dense(2)(Mean()(layers.Dense(4, name="h")(x))))
    assert dict(model.structure.axes) == {"h": 4}
    kept_by_edits(model, "h", RNG.standard_normal((3, 5, 6)).astype("float32"))


@pytest.mark.parametrize(("layer", "shape"), [(Highway(name="inner"), (3, 6)), (Mean(name="inner"), (3, 5, 6))])
def test_a_layer_at_each_step_is_edited_as_it_is_alone(layer, shape):
    x = keras.Input(shape)
    y = layers.TimeDistributed(layer, name="steps")(layers.Dense(4, name="h")(x))
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(y)))
    assert dict(model.structure.axes) == {"h": 4}
    kept_by_edits(model, "h", RNG.standard_normal((2, *shape)).astype("float32"))
    assert all(7 in variable.shape for variable in layer.weights)


@pytest.mark.usefixtures("nothing_written")
def test_a_layer_at_each_step_whose_rules_are_wrong_is_refused():
    x = keras.Input((3, 6))
    y = layers.TimeDistributed(Highway("untied", name="inner"), name="steps")(layers.Dense(4, name="h")(x))
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(y)))
    with pytest.raises(ValueError, match=r"'steps' \(TimeDistributed\).*'inner/kernel' would have 4 .*tied_to='input'"):
        model.grow("h", 2)


def unchanged(model):
    layer = model.layers[2]
    facts = (layer.get_config(), layer.get_build_config(), [tuple(w.shape) for w in layer.weights])
    return facts, [ops.convert_to_numpy(v).copy() for v in model.variables], dict(model.structure.axes)


REFUSED = {
    "untied": (
        Highway("untied", name="highway"),
        r"layer 'highway' \(Highway\) does not do with it what its unit rules say. Axis 1 of its variable 'kernel' would have "
        r"4 entries, and has 6 .* write AxisRule\('kernel', 1, 'produce', tied_to='input'\)",
    ),
    "untied with an attribute": (
        Sized(4, tied=False, name="sized"),
        r"layer 'sized' \(Sized\) does not do with it what its unit rules say; its call fails: .* Axis 1 of its variable "
        r"'kernel' would have 4 entries, for 6 units that enter: there were 4 of both. .*AxisRule\('kernel', 1, 'produce', "
        r"tied_to='input'\)",
    ),
}


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_tie_that_is_not_stated_is_refused_before_anything_is_written(kind):
    layer, words = REFUSED[kind]
    model = network(type(layer).from_config(layer.get_config()))
    before = unchanged(model)
    with pytest.raises(ValueError, match=words):
        model.grow("h", 2)
    with pytest.raises(ValueError, match=f"'{layer.name}'.*tied_to='input'"):
        model.grow(layer.name, 2)
    facts, values, axes = unchanged(model)
    assert (facts, axes) == (before[0], before[2])
    for old, new in zip(before[1], values, strict=True):
        np.testing.assert_array_equal(old, new)
    model(X)


@pytest.mark.usefixtures("nothing_written")
def test_a_layer_that_cannot_be_made_anew_is_tried_all_the_same():
    class Held(Highway):
        def get_config(self):
            raise NotImplementedError

    model = network(Held("untied", name="held"))
    with pytest.raises(ValueError, match=r"for 6 units that enter: there were 4 of both.*tied_to='input'"):
        model.grow("h", 2)


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    ("rules", "axis", "words"),
    [
        ([MAKES], "h", r"No unit rule names that axis: add AxisRule\('kernel', 0, 'consume'\)"),
        ([READS, AxisRule("kernel", 1, "produce")], "p", r"could not be loaded.*\(size='units'\)"),
        ([READS], "h", "If it makes units, name the variable that makes them"),
    ],
)
def test_what_is_missing_in_the_rules_of_a_layer_is_named(rules, axis, words):
    class Saved(Projected):
        def get_config(self):
            return {**layers.Layer.get_config(self), "units": self.units}

    with pytest.raises(ValueError, match=words):
        network(Saved(4, *rules, name="p")).grow(axis, 2)


@pytest.mark.usefixtures("nothing_written")
def test_the_input_that_an_untied_layer_of_several_follows_is_named():
    model = mixed(
        AxisRule("kernel", 0, "consume", tied_to="x"),
        AxisRule("kernel", 1, "produce"),
        AxisRule("read", 0, "consume", tied_to="other"),
        AxisRule("read", 1, "produce"),
    )
    with pytest.raises(ValueError, match=r"Axis 1 of its variable 'kernel' would have 4 .*'produce', tied_to=0\)"):
        model.grow("left", 2)


def test_only_layers_that_an_edit_touches_are_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(checking, "_check", lambda network, planned, call, layer: tried.append(call.layer))
    x = keras.Input((6,))
    first = Highway(name="first")(layers.Dense(4, name="h")(x))
    second = Highway(name="second")(layers.Dense(3, name="g")(first))
    model = StructuralModel(x, layers.Dense(2, name="out")(second))
    model.grow("g", 1)
    assert tried == ["second"]
    model.grow("h", 1)
    assert tried == ["second", "first"]


def test_the_battery_passes_a_tied_layer_of_layers():  # and one with weights of its own in the guide
    check_layer(Inner(), (5,))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            Highway("one role"),
            r"is kept with AxisRule\('gate', 0, 'consume'\) in place of AxisRule\('gate', 0, 'carry'\)",
        ),
        (
            Highway("two roles"),
            r"AxisRule\('kernel', 0, 'consume', tied_to='input'\) in place of .* and AxisRule\('kernel', 1, 'produce'\) in ",
        ),
        (Highway("untied"), r"is refused: .*Axis 1 of its variable 'kernel' would have 5 .*tied_to='input'"),
    ],
    ids=["one role", "two roles", "untied"],
)
def test_the_battery_names_the_rule_that_is_wrong(layer, words):
    with pytest.raises(AssertionError, match=words):
        check_layer(layer, (5,))


def test_the_battery_says_that_a_tied_layer_is_edited_with_what_enters():
    with pytest.raises(AssertionError, match="ties its units to those that enter it"):
        check_layer(Highway(), (5,), reads=False)


def with_other_axis():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    y = Highway(name="highway")(layers.Dense(4, activation=relu1, name="h")(x))
    return StructuralModel(x, layers.Dense(2)(layers.Dense(5, activation=relu1, name="g")(y)))


UNKNOWN = r"'h'.*of what reads its units, layer 'highway' \(Highway\) is of a kind of which it is not known"


@pytest.mark.parametrize("strategy", [GradMax(), Firefly()])
def test_triggers_of_gradients_leave_out_what_a_layer_of_ones_own_reads_and_name_it(strategy):
    model = with_other_axis()
    with pytest.warns(UserWarning, match=f"leaves out {UNKNOWN}"):
        model.compile("sgd", "mse", strategy=strategy, probe=X, targets=Y)
    model.fit(X, Y, epochs=1, verbose=0)
    assert model.structure.axes["h"] == 4
    alone = network(Highway(name="highway"))
    with pytest.raises(ValueError, match=f"nothing to act on.*{UNKNOWN}"):
        alone.compile("sgd", "mse", strategy=strategy, probe=X, targets=Y)


@pytest.mark.parametrize("strategy", [GradMax, Firefly])
def test_initializers_of_gradients_fall_back_on_random_weights_and_name_the_layer(strategy):
    model = with_other_axis()
    model.compile("sgd", "mse", strategy=strategy(trigger=FractionOfWidth(0.5)), probe=X, targets=Y)
    with pytest.warns(UserWarning, match=f"random incoming weights.*{UNKNOWN}"):
        model.fit(X, Y, epochs=1, verbose=0)
    assert dict(model.structure.axes) == {"h": 6, "g": 7}


@pytest.mark.parametrize(
    "strategy",
    [
        NorthSelect(EffectiveDimension(gamma=0.5), max_units=7),
        NorthWeight(WeightEffectiveDimension(gamma=0.5)),
        Grow(FractionOfWidth(0.5)),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_strategies_of_activations_weights_and_schedules_grow_tied_layers(strategy):
    model = network(Highway(name="highway"))
    model.compile("sgd", "mse", strategy=strategy, probe=X)
    model.fit(X, Y, epochs=1, verbose=0)
    width = model.structure.axes["h"]
    assert width > 4
    assert model.get_layer("highway").kernel.shape == (width, width)


def test_a_budget_of_operations_asks_for_those_of_the_layer():
    model = network(Highway(name="highway"))
    with pytest.raises(ValueError, match=r"layer 'highway' \(Highway\).*method count_flops\(self, call\)"):
        model.prune(budget=Budget(flops=0.5))

    class Counted(Highway):
        def count_flops(self, call):
            return 4 * call.inputs[0][-1] ** 2 * call.outputs[0][0]

    model = network(Counted(name="highway"))
    before = keras_struct.statistics.flops(model)
    model.prune(budget=Budget(flops=0.5))
    assert keras_struct.statistics.flops(model) <= 0.5 * before
    assert model.structure.axes["h"] < 4


def test_a_plain_model_keeps_the_layer_and_says_so(tmp_path):
    model = network(Highway(name="highway"))
    model.grow("h", 3)
    with pytest.warns(UserWarning, match=r"layers of your own: 'highway' \(Highway\)"):
        plain = model.to_plain()
    np.testing.assert_allclose(plain.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6, atol=1e-6)
    plain.save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_array_equal(outputs(loaded, X), outputs(plain, X))
    assert re.search("highway", loaded.layers[2].name)
