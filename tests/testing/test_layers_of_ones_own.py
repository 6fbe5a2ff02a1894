"""What the battery of layers finds in a layer of one's own, and what such a layer can say of itself."""

import re
import warnings

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import AxisRule, StructuralModel, statistics
from keras_struct.activations import relu1
from keras_struct.core.surgery import activation, registry
from keras_struct.layers import GrowableDense
from keras_struct.strategies import Grow, Prune
from keras_struct.testing import check_layer, example_layer
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.triggers import FractionOfWidth

pytestmark = pytest.mark.usefixtures("eager")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((16, 5)).astype("float32"), RNG.standard_normal((16, 2)).astype("float32")


@keras.saving.register_keras_serializable("keras_struct_tests")
class Projection(keras.layers.Layer):
    """A matrix product."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        return x @ self.kernel

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def unit_rules(self):
        return AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size="units")


@keras.saving.register_keras_serializable("keras_struct_tests")
class Normalized(Projection):
    """The same of inputs that are divided by their root mean square."""

    def call(self, x):
        return super().call(x * keras.ops.rsqrt(keras.ops.mean(keras.ops.square(x), -1, keepdims=True) + 1e-6))


@keras.saving.register_keras_serializable("keras_struct_tests")
class SaysSo(Normalized):
    mixes = "divides its units by their root mean square"


@keras.saving.register_keras_serializable("keras_struct_tests")
class Plain(Projection):
    """What it makes of itself for export is set from outside."""

    form = staticmethod(lambda layer: layer)

    def plain_layer(self):
        return type(self).form(self)


@keras.saving.register_keras_serializable("keras_struct_tests")
class Counted(Projection):
    count = staticmethod(lambda call: 0)

    def count_flops(self, call):
        return type(self).count(call)


def network(layer, width=4):
    keras.utils.set_random_seed(0)
    first = GrowableDense(width, activation=relu1, name="h")
    return StructuralModel([keras.Input((5,)), first, layer, keras.layers.Dense(2, name="o")])


def stock(layer, **options):
    """A dense layer with the weights of a projection."""
    inputs = keras.Input((layer.kernel.shape[0],))
    dense = keras.layers.Dense(layer.units, use_bias=False, **options)
    outputs = dense(inputs)
    dense.set_weights([keras.ops.convert_to_numpy(layer.kernel)])
    return keras.Model(inputs, outputs, name=layer.name)


def test_a_class_is_enough_where_small_numbers_will_do():
    assert example_layer(Projection).units == 4
    assert example_layer(keras_struct.layers.MaskedConv2D).kernel_size == (3, 3)
    check_layer(Projection)
    with pytest.raises(
        TypeError, match=r"MixedOp cannot be made with \{'operations': 4\}.*Give its arguments defaults"
    ):
        check_layer(keras_struct.layers.MixedOp)
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 5\). Put numbers"):
        check_layer(Projection(3), (None, 5))


def test_a_layer_that_mixes_units_without_a_word_fails_and_the_attribute_is_named():
    with pytest.raises(AssertionError, match=r"units added before layer .* changed the outputs by .* mixes = 'norm"):
        check_layer(Normalized(3), (5,))
    check_layer(SaysSo(3), (5,))


def test_edits_of_units_that_a_layer_says_it_mixes_are_refused_unless_the_function_may_change():
    model = network(SaysSo(3, name="own"))
    words = r"layer 'own' \(SaysSo\) divides its units by their root mean square"
    for axis in ("h", "own"):
        with pytest.raises(ValueError, match=words):
            model.grow(axis, 1)
        model.grow(axis, 1, preserve=False)
    assert model.structure.axes == {"h": 5, "own": 4}


def test_strategies_leave_such_units_out_or_prune_them():
    model = network(SaysSo(3, name="own"))
    with pytest.raises(ValueError, match=r"nothing to act on.*root mean square"):
        model.compile("sgd", "mse", strategy=Grow(FractionOfWidth(0.5)))
    model.compile("sgd", "mse", strategy=Prune(FractionOfWidth(0.3)))
    model.fit(X, Y, verbose=0)
    assert model.structure.axes["h"] < 4


def test_mixing_can_be_registered_for_a_class_that_cannot_be_changed(monkeypatch):
    monkeypatch.setattr(registry, "_OWN", dict(registry._OWN))
    monkeypatch.setattr(activation, "MIXING_CLASSES", dict(activation.MIXING_CLASSES))
    monkeypatch.setattr(registry, "MIXING_CLASSES", activation.MIXING_CLASSES)

    @keras.saving.register_keras_serializable("keras_struct_tests")
    class Foreign(Normalized):
        pass

    rules = Projection(3).unit_rules()
    keras_struct.register_unit_rules(Foreign, lambda layer: rules, elastic=True, mixes="divides its units by a mean")
    with pytest.raises(ValueError, match=r"layer 'own' \(Foreign\) divides its units by a mean"):
        network(Foreign(3, name="own")).grow("h", 1)
    check_layer(Foreign(3), (5,))
    keras_struct.register_unit_rules(Foreign, lambda layer: rules, elastic=True)
    assert network(Foreign(3, name="own")).structure.units["h"].mixes is None


def test_a_layer_that_is_not_registered_or_keeps_no_arguments_fails_with_the_remedy():
    class Unregistered(Projection):
        pass

    with pytest.raises(AssertionError, match=r"decorate its class with @keras\.saving\.register_keras_serializable"):
        check_layer(Unregistered(3), (5,))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (lambda layer: None, "must return a stock layer.* Received: None"),
        (lambda layer: layer, "must return a stock layer"),
        (lambda layer: keras.layers.Dense(layer.units), "is not built, so that it has no weights"),
        (
            lambda layer: keras.Sequential([keras.Input((7,)), keras.layers.Dense(layer.units)]),
            "computes something else|",
        ),
    ],
    ids=["nothing", "itself", "unbuilt", "other weights"],
)
def test_a_plain_layer_that_is_none_or_computes_something_else_fails(form, words, monkeypatch):
    monkeypatch.setattr(Plain, "form", staticmethod(form))
    with pytest.raises(AssertionError, match=words):
        check_layer(Plain(3), (5,))


def test_a_plain_layer_has_the_precision_and_the_frozen_weights_of_the_layer_and_stock_activations(monkeypatch):
    monkeypatch.setattr(Plain, "form", staticmethod(lambda layer: stock(layer, activation=relu1)))
    keras.config.set_dtype_policy("float64")
    try:
        model = network(Plain(3, name="own", trainable=False))
        model.get_layer("own").kernel.assign(np.abs(model.get_layer("own").get_weights()[0]))  # relu1 changes nothing
    finally:
        keras.config.set_dtype_policy("float32")
    plain = model.to_plain()
    own = plain.get_layer("own")
    assert own.layers[-1].dtype_policy.name == "float64"
    assert own.trainable_weights == []
    assert own.layers[-1].activation is keras.activations.relu
    assert keras.config.dtype_policy().name == "float32"
    assert keras.config.floatx() == "float32"
    data = RNG.standard_normal((8, 5))  # float64: nothing on the way may be rounded to less
    assert relative_change(outputs(model, data), outputs(plain, data)) < 1e-14


def test_own_layers_that_stay_are_named_with_what_would_replace_them():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        network(Projection(3, name="own")).to_plain()
    told = " ".join(str(warning.message) for warning in heard)
    assert re.search(r"'own' \(Projection\).*A method plain_layer\(\) that returns stock layers", told)


@pytest.mark.parametrize("count", [None, -3, 2.5])
def test_operations_are_whole_numbers_of_zero_or_more(count, monkeypatch):
    monkeypatch.setattr(Counted, "count", staticmethod(lambda call: count))
    words = rf"layer 'own' \(Counted\) must be counted as a whole number of 0 or more.* Received: {count}"
    with pytest.raises(TypeError, match=words):
        statistics.flops(network(Counted(3, name="own")))
    with pytest.raises(AssertionError, match="must be counted as a whole number"):
        check_layer(Counted(3), (5,))


def test_operations_are_those_of_the_whole_batch(monkeypatch):
    monkeypatch.setattr(Counted, "count", staticmethod(lambda call: 2 * call.inputs[0][-1] * call.outputs[0][-1]))
    with pytest.raises(AssertionError, match="twice the batch must take twice the operations"):
        check_layer(Counted(3), (5,))
    monkeypatch.setattr(Counted, "count", staticmethod(lambda call: 2 * call.inputs[0][-1] * np.prod(call.outputs[0])))
    check_layer(Counted(3), (5,))


def test_values_that_do_not_fit_name_the_axis_and_role_of_the_rule():
    model = network(Projection(3, name="own"))
    with pytest.raises(ValueError, match=r"New entries lie along axis 1, of role 'produce' by its unit rule"):
        model.apply(keras_struct.grow("own", 3, 1, {"own/kernel": np.ones((1, 4))}))


def test_methods_that_look_at_what_is_not_kept_say_how_to_ask_for_it():
    model = network(Projection(3))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"of your own that looks at activations says so, `needs_inputs"):
        model.measure("h").gram()
