"""Layers of one's own with several inputs, masks beside inputs, and products of two tensors."""

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import AxisRule, StructuralModel
from keras_struct.testing.preservation import outputs, relative_change

layers, ops = keras.layers, keras.ops
RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 6)).astype("float32")


class WeightedSum(layers.Layer):
    """A learned mixture of its inputs."""

    def build(self, shapes):
        self.weight = self.add_weight(shape=(len(shapes),), initializer="ones", name="weight")

    def call(self, inputs):
        return sum(self.weight[i] * x for i, x in enumerate(inputs))

    def unit_rules(self):
        return ()


class Conditioned(layers.Layer):
    """Shifts each unit of a tensor by what it reads from another."""

    def __init__(self, named=True, **options):
        super().__init__(**options)
        self.named = named

    def build(self, x_shape, condition_shape):
        self.kernel = self.add_weight(shape=(condition_shape[-1], x_shape[-1]), name="kernel")

    def call(self, x, condition):
        return ops.tanh(x) + ops.matmul(condition, self.kernel)

    def unit_rules(self):
        return (AxisRule("kernel", 0, "consume", tied_to=1), AxisRule("kernel", 1, "carry")) if self.named else ()


class Bilinear(layers.Layer):
    """Makes units from two inputs."""

    def __init__(self, units, rules=2, **options):
        super().__init__(**options)
        self.units, self.rules = units, rules

    def build(self, shapes):
        self.left = self.add_weight(shape=(shapes[0][-1], self.units), name="left")
        self.right = self.add_weight(shape=(shapes[1][-1], self.units), name="right")

    def call(self, inputs):
        return ops.matmul(inputs[0], self.left) * ops.matmul(inputs[1], self.right)

    def unit_rules(self):
        read = (AxisRule("left", 0, "consume"), AxisRule("right", 0, "consume", tied_to=1))[: self.rules]
        return (*read, AxisRule("left", 1, "produce", size="units"), AxisRule("right", 1, "produce"))


def model_of(operation):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    a, b = (layers.Dense(width, activation="tanh", name=name)(x) for name, width in (("a", 5), ("b", 5)))
    return StructuralModel(x, layers.Dense(2)(operation(a, b)))


def check(model, axes, x=X, kept=1e-6):
    assert dict(model.structure.axes) == axes
    for axis in axes:
        before = outputs(model, x)
        model.grow(axis, 2)
        assert relative_change(before, outputs(model, x)) < kept
        before = outputs(model, x)
        model.split(axis, [0])
        assert relative_change(before, outputs(model, x)) < kept
        model.prune(axis, [1])
    outputs(model, x)


def test_inputs_of_a_layer_that_passes_units_on_meet():
    check(model_of(lambda a, b: WeightedSum()([a, b])), {"a": 5})


def test_an_input_that_is_named_by_a_rule_is_read_and_the_other_passes():
    check(model_of(lambda a, b: Conditioned()(a, b)), {"a": 5, "b": 5})
    check(model_of(lambda a, b: Conditioned()(a, condition=b)), {"a": 5, "b": 5})


def test_a_layer_that_makes_units_of_two_inputs_reads_each_where_its_rules_say():
    model = model_of(lambda a, b: Bilinear(3, name="both")([a, b]))
    check(model, {"a": 5, "b": 5, "both": 3})
    silent = model_of(lambda a, b: Bilinear(3, rules=1, name="both")([a, b]))
    assert dict(silent.structure.axes) == {"a": 5, "both": 3}
    with pytest.raises(ValueError, match=r"layer 'both' by its input 1.*AxisRule\(\.\.\., tied_to=1\)"):
        silent.grow("b")


def test_units_of_a_registered_layer_with_several_inputs_meet_too():
    class Mixture(WeightedSum):
        unit_rules = None

    keras_struct.register_unit_rules(Mixture, lambda layer: (), elastic=True)
    check(model_of(lambda a, b: Mixture()([a, b])), {"a": 5})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (AxisRule("kernal", 0, "consume"), "names variable 'kernal'"),
        (AxisRule("weight", 1, "carry"), "names axis 1 of variable 'weight'"),
        (AxisRule("weight", 0, "carry", tied_to=2), "names input 2"),
    ],
)
def test_rules_of_what_a_layer_does_not_have_are_errors(rule, words):
    class Wrong(WeightedSum):
        def unit_rules(self):
            return (rule,)

    with pytest.raises(ValueError, match=words):
        model_of(lambda a, b: Wrong()([a, b]))


def test_several_outputs_are_fixed_with_a_remedy():
    class Two(layers.Layer):
        def call(self, x):
            return x, x + 1

        def unit_rules(self):
            return ()

    model = model_of(lambda a, b: layers.Add()(Two(name="two")(a)))
    assert "make it a layer for each output" in model.structure.locked["a"]


PRODUCTS = {
    "matmul with an adjacency": (lambda a, h: ops.matmul(a, h), True),
    "einsum": (lambda a, h: ops.einsum("bij,bjk->bik", a, h), True),
    "einsum transposed": (lambda a, h: ops.einsum("bij,bjk->bki", a, h), True),
    "einsum with an ellipsis": (lambda a, h: ops.einsum("...ij,...jk->...ik", a, h), True),
    "einsum with one over two axes": (lambda a, h: ops.einsum("...ij,...jk->...ik", a[:, None], h[:, None]), True),
    "Dot": (lambda a, h: layers.Dot((2, 1))([a, h]), True),
    "similarity": (lambda a, h: ops.matmul(h, ops.transpose(h, (0, 2, 1))), False),
    "similarity by Dot": (lambda a, h: layers.Dot(2)([h, h]), False),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_units_pass_through_products_and_are_mixed_where_these_are_summed_over_them(name):
    product, passes = PRODUCTS[name]
    a, x = keras.Input((4, 4)), keras.Input((4, 3))
    y = layers.Flatten()(product(a, layers.Dense(5, name="h")(x)))
    model = StructuralModel([a, x], layers.Dense(2)(y))
    data = [RNG.standard_normal((3, 4, 4)).astype("float32"), RNG.standard_normal((3, 4, 3)).astype("float32")]
    if passes:
        return check(model, {"h": 5}, data)
    assert "sums products over its units" in model.structure.units["h"].mixes
    model.apply(keras_struct.prune("h", 5, [0]), preserve=False)
    outputs(model, data)
    return None


def test_products_with_an_array_or_by_outer_products_are_fixed():
    model = model_of(lambda a, b: ops.matmul(a, np.ones((5, 3), "float32")))
    assert "fixed positions" in model.structure.locked["a"]
    model = model_of(lambda a, b: layers.Flatten()(ops.einsum("bi,bj->bij", a, b)))
    assert "by each unit of another tensor" in model.structure.locked["a"]
    assert "by each unit of another tensor" in model.structure.locked["b"]


@pytest.mark.parametrize(
    "gate",
    [
        lambda s: s[:, None, None, :],
        lambda s: s[:, None, ..., None, :],
        lambda s: ops.expand_dims(s, (1, 2)),
        lambda s: ops.squeeze(s[..., None, None], -1)[:, None, :, 0][:, None],
    ],
)
def test_a_gate_with_new_axes_meets_the_units_that_it_scales(gate):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 5, 2))
    maps = layers.Conv2D(4, 3, name="maps")(x)
    scale = layers.Dense(4, activation="sigmoid", name="scale")(layers.GlobalAveragePooling2D()(maps))
    model = StructuralModel(x, layers.Dense(2)(layers.GlobalMaxPooling2D()(maps * gate(scale))))
    check(model, {"maps": 4}, RNG.standard_normal((3, 5, 5, 2)).astype("float32"))


MASKED = {
    "pooling": lambda e: layers.GlobalAveragePooling1D()(e),
    "normalisation": lambda e: layers.LSTM(3, name="r")(layers.BatchNormalization()(e)),
    "concatenation": lambda e: layers.LSTM(3, name="r")(layers.Concatenate()([e, layers.Dense(4, name="d")(e)])),
    "sum": lambda e: layers.GlobalAveragePooling1D()(layers.Add()([e, layers.Dense(6, name="d")(e)])),
}


@pytest.mark.parametrize("name", MASKED)
def test_the_mask_of_an_embedding_fixes_nothing(name):
    keras.utils.set_random_seed(0)
    x = keras.Input((7,), dtype="int32")
    model = StructuralModel(x, layers.Dense(2)(MASKED[name](layers.Embedding(9, 6, mask_zero=True, name="e")(x))))
    tokens = RNG.integers(0, 9, (4, 7))
    free = {n: w for n, w in {"e": 6, "d": 4, "r": 3}.items() if n in model.structure.axes}
    assert "e" in free
    check(model, dict(model.structure.axes), tokens)
    assert not any("not_equal" in name or "zeros_like" in name for name in model.structure.locked)


@pytest.mark.parametrize(
    "attention", [layers.AdditiveAttention(), layers.Attention(), layers.Attention(use_scale=True)]
)
def test_attention_without_projections_ties_queries_to_keys_and_passes_values(attention):
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 3))
    q, v, k = (layers.Dense(w, name=n)(x) for n, w in (("q", 5), ("v", 6), ("k", 5)))
    copy = type(attention).from_config(attention.get_config())
    model = StructuralModel(x, layers.Dense(2)(layers.Flatten()(copy([q, v, k]))))
    data = RNG.standard_normal((3, 4, 3)).astype("float32")
    assert dict(model.structure.axes) == {"q": 5, "v": 6}
    if isinstance(attention, layers.AdditiveAttention):
        check(model, {"q": 5, "v": 6}, data)
    else:
        assert "compare queries with keys" in model.structure.units["q"].mixes
        before = outputs(model, data)
        model.grow("v", 2)
        assert relative_change(before, outputs(model, data)) < 1e-6
