"""Variables that belong to several layers: tied where all of them say how they use it, otherwise fixed, with the reason."""

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, StructuralModel, grow, prune, split
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense
from keras_struct.testing.preservation import outputs, relative_change

layers = keras.layers
X = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")


class Transposed(layers.Layer):
    """Multiplies by the transposed kernel of a layer that it holds."""

    def __init__(self, tied, **options):
        super().__init__(**options)
        self.tied = tied

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.tied.kernel))


class TransposedWithRules(Transposed):
    def unit_rules(self):
        kernel = f"{self.tied.name}/kernel"
        return (AxisRule(kernel, 1, "consume"), AxisRule(kernel, 0, "produce"))


class Borrowing(layers.Layer):
    """Holds variables of other layers in a list and a dictionary."""

    def __init__(self, kernel, how, **options):
        super().__init__(**options)
        self.held = [kernel] if how == "list" else {"kernel": kernel}

    def call(self, x):
        kernel = self.held[0] if isinstance(self.held, list) else self.held["kernel"]
        return keras.ops.matmul(x, keras.ops.transpose(kernel))


class SameKernel(GrowableDense):
    """A dense layer with the kernel of another."""

    def __init__(self, other, **options):
        super().__init__(other.units, use_bias=False, **options)
        self.other = other.kernel

    def build(self, shape):
        self.built = True

    @property
    def connected_kernel(self):
        return self.other


def autoencoder(decoder):
    x = keras.Input((6,))
    h = layers.Dense(5, activation="tanh", name="h")(x)
    code = layers.Dense(3, name="code")
    y = code(h)
    return StructuralModel(x, layers.Dense(6, name="out")(decoder(code)(y)))


@pytest.mark.parametrize(
    "decoder",
    [
        lambda code: Transposed(code, name="dec"),
        lambda code: Borrowing(code.kernel, "list", name="dec"),
        lambda code: Borrowing(code.kernel, "dict", name="dec"),
    ],
)
def test_both_axes_of_a_shared_kernel_are_fixed_and_the_reason_names_both_layers(decoder):
    model = autoencoder(decoder)
    assert dict(model.structure.axes) == {}
    for axis in ("h", "code"):
        with pytest.raises(ValueError, match=r"of layer 'code' also belongs to 'dec'.*unit_rules\(\).*AxisRule"):
            model.grow(axis)


def test_a_variable_that_is_passed_to_an_operation_is_fixed():
    x = keras.Input((6,))
    code = layers.Dense(6, name="code")
    y = code(layers.Dense(6, name="h")(x))
    model = StructuralModel(x, layers.Dense(2)(keras.ops.matmul(y, code.kernel)))
    assert dict(model.structure.axes) == {}
    assert "of layer 'code' also belongs to" in model.structure.locked["h"]


def test_rules_of_both_layers_tie_the_units_of_a_decoder_to_those_of_its_encoder():
    model = autoencoder(lambda code: TransposedWithRules(code, name="dec"))
    assert dict(model.structure.axes) == {"h": 5, "code": 3}
    assert "both makes and reads" in model.structure.units["h"].mixes
    with pytest.raises(ValueError, match="preserve=False"):
        model.grow("h")
    kernels = {"h/kernel": np.ones((6, 2), "float32")}
    model.apply(grow("h", 5, 2, kernels), preserve=False)
    assert model.get_layer("code").kernel.shape == (7, 3)
    assert model.get_layer("out").kernel.shape == (7, 6)
    model.apply(prune("code", 3, [1]), preserve=False)
    assert model.get_layer("code").kernel.shape == (7, 2)
    assert outputs(model, X)[0].shape == (8, 6)


@pytest.mark.parametrize("edit", [lambda m: m.grow("a", 2), lambda m: m.split("a", [0]), lambda m: m.grow("twin", 1)])
def test_layers_of_the_same_kernel_are_edited_as_one_and_keep_the_function(edit):
    x = keras.Input((6,))
    first = layers.Dense(4, activation="tanh", name="a")
    a = first(x)
    both = layers.Concatenate()([a, SameKernel(first, name="twin")(x)])
    model = StructuralModel(x, layers.Dense(2)(layers.Dense(3, name="top")(both)))
    assert dict(model.structure.axes) == {"a": 4, "top": 3}
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(X, X[:, :2])
    before, count = outputs(model, X), model.count_params()
    if "twin" in str(edit.__code__.co_consts):
        with pytest.raises(ValueError, match="belong to axis 'a'"):
            edit(model)
        return
    edit(model)
    assert relative_change(before, outputs(model, X)) < 1e-6
    width = model.structure.axes["a"]
    assert model.get_layer("twin").units == model.get_layer("a").units == width
    assert model.count_params() == count + (width - 4) * (6 + 1 + 2 * 3) == parts_of(model).editor.parameters
    model.train_on_batch(X, X[:, :2])


def test_a_reversible_embedding_is_edited_with_both_its_uses():
    x = keras.Input((4,), dtype="int32")
    table = layers.ReversibleEmbedding(9, 5, name="table")
    h = layers.Dense(5, activation="tanh", name="h")(table(x))
    model = StructuralModel(x, table(h, reverse=True))
    assert dict(model.structure.axes) == {"table": 5, "h": 5} or dict(model.structure.axes) == {"table": 5}
    model.apply(split("table", 5, [1]), preserve=False)
    assert table.embeddings.shape == (9, 6)
    assert outputs(model, np.zeros((2, 4), "int32"))[0].shape == (2, 4, 9)
    untied = layers.ReversibleEmbedding(9, 5, tie_weights=False, name="untied")
    model = StructuralModel(x, untied(layers.Dense(5, name="h")(untied(x)), reverse=True))
    before = outputs(model, np.zeros((2, 4), "int32"))
    for axis in ("untied", "h"):
        model.grow(axis, 2)
    assert relative_change(before, outputs(model, np.zeros((2, 4), "int32"))) < 1e-6
    assert untied.reverse_embeddings.shape == (7, 9)


def test_a_layer_inside_a_wrapper_and_beside_it_is_one():
    x = keras.Input((3, 6))
    inner = layers.Dense(4, activation="tanh", name="inner")
    y = layers.Add()([layers.TimeDistributed(inner)(x), inner(x)])
    model = StructuralModel(x, layers.Dense(2)(y))
    data = np.stack([X[:4]] * 3, 1)
    before = outputs(model, data)
    assert len(model.structure.axes) == 1
    model.grow(next(iter(model.structure.axes)), 2)
    assert relative_change(before, outputs(model, data)) < 1e-6
    assert inner.units == 6
