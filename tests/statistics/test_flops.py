"""Counts that can be checked by hand, and against TensorFlow's profiler."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from keras_struct.measure.statistics.flops import (
    flops,
    flops_per_layer,
    parameters,
    parameters_per_layer,
    register_flops,
)
from keras_struct.measure.statistics.flops_counter import FlopsCounter

BY_HAND = {
    "dense": (layers.Dense(3), (5,), 2 * 5 * 3 + 3),
    "dense without bias": (layers.Dense(3, use_bias=False), (5,), 2 * 5 * 3),
    "dense with free activation": (layers.Dense(3, activation="relu"), (5,), 33),
    "dense with softmax": (layers.Dense(3, activation="softmax"), (5,), 33 + 5 * 3),
    "dense on a sequence": (layers.Dense(3), (4, 5), 4 * 33),
    "convolution": (layers.Conv2D(4, 3), (8, 8, 3), 6 * 6 * 4 * (2 * 9 * 3 + 1)),
    "padded": (layers.Conv2D(4, 3, padding="same"), (8, 8, 3), 8 * 8 * 4 * (2 * 9 * 3 + 1)),
    "strided": (layers.Conv2D(4, 3, strides=2), (9, 9, 3), 4 * 4 * 4 * (2 * 9 * 3 + 1)),
    "dilated": (layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 3), 4 * 4 * 4 * (2 * 9 * 3 + 1)),
    "grouped": (layers.Conv2D(4, 3, groups=2, use_bias=False), (8, 8, 6), 6 * 6 * 4 * (2 * 9 * 3)),
    "channels first": (layers.Conv2D(4, 3, data_format="channels_first"), (3, 8, 8), 6 * 6 * 4 * (2 * 9 * 3 + 1)),
    "convolution 1d": (layers.Conv1D(4, 3), (8, 5), 6 * 4 * (2 * 3 * 5 + 1)),
    "convolution 3d": (layers.Conv3D(4, 3), (5, 5, 5, 2), 27 * 4 * (2 * 27 * 2 + 1)),
    "transposed": (layers.Conv2DTranspose(5, 3, strides=2, use_bias=False), (4, 4, 3), 2 * 4 * 4 * 9 * 3 * 5),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 3), 6 * 6 * 6 * (2 * 9 + 1)),
    "depthwise 1d": (layers.DepthwiseConv1D(3), (8, 5), 6 * 5 * (2 * 3 + 1)),
    "separable": (layers.SeparableConv2D(5, 3), (8, 8, 3), 36 * (2 * 9 * 3 + 2 * 3 * 5 + 5)),
    "separable 1d": (layers.SeparableConv1D(5, 3), (8, 4), 6 * (2 * 3 * 4 + 2 * 4 * 5 + 5)),
    "batch normalization": (layers.BatchNormalization(), (4, 4, 3), 2 * 48),
    "layer normalization": (layers.LayerNormalization(), (10,), 8 * 10),
    "bare layer normalization": (layers.LayerNormalization(center=False, scale=False), (10,), 6 * 10),
    "group normalization": (layers.GroupNormalization(2), (4, 4, 6), 6 * 96),
    "rms normalization": (layers.RMSNormalization(), (10,), 4 * 10),
    "prelu": (layers.PReLU(), (10,), 3 * 10),
    "relu": (layers.ReLU(), (10,), 0),
    "softmax": (layers.Softmax(), (10,), 5 * 10),
    "softmax as activation": (layers.Activation("softmax"), (10,), 5 * 10),
    "layer as activation": (layers.Dense(3, activation=layers.PReLU()), (5,), 33 + 3 * 3),
    "max pooling": (layers.MaxPooling2D(2), (8, 8, 3), 4 * 4 * 3 * 4),
    "average pooling": (layers.AveragePooling1D(3), (9, 2), 3 * 2 * 3),
    "global average": (layers.GlobalAveragePooling2D(), (8, 8, 3), 192),
    "global maximum": (layers.GlobalMaxPooling1D(), (8, 3), 24),
    "add": (layers.Add(), [(8,), (8,), (8,)], 2 * 8),
    "multiply": (layers.Multiply(), [(8,), (8,)], 8),
    "average": (layers.Average(), [(8,), (8,)], 2 * 8),
    "concatenate": (layers.Concatenate(), [(8,), (8,)], 0),
    "dot": (layers.Dot(axes=1), [(8,), (8,)], 2 * 8),
    "embedding": (layers.Embedding(100, 8), (5,), 0),
    "flatten": (layers.Flatten(), (4, 5), 0),
    "upsampling": (layers.UpSampling2D(2), (4, 5, 1), 0),
    "dropout": (layers.Dropout(0.5), (4,), 0),
    "einsum": (layers.EinsumDense("abc,cd->abd", (6, 7), bias_axes="d"), (6, 5), 6 * 7 * (2 * 5 + 1)),
    "einsum with ellipsis": (layers.EinsumDense("...x,xy->...y", 7), (6, 5), 6 * 7 * 2 * 5),
    "attention": (layers.Attention(), [(6, 8), (5, 8)], 6 * 5 * (2 * 8 + 1 * 0 + 5 + 2 * 8)),
    "additive attention": (layers.AdditiveAttention(use_scale=False), [(6, 8), (5, 8)], 6 * 5 * (15 + 5 + 2 * 8)),
    "multi-head attention": (
        layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=4),
        [(6, 8), (5, 8)],
        6 * 6 * 17 + 5 * 6 * 17 + 5 * 8 * 17 + 2 * 6 * 5 * (2 * 3 + 1 + 5 + 2 * 4) + 6 * 8 * (2 * 8 + 1),
    ),
    "attention with another key": (
        layers.MultiHeadAttention(num_heads=1, key_dim=3, use_bias=False),
        [(6, 8), (5, 4), (5, 2)],
        2 * (6 * 3 * 8 + 5 * 3 * 2 + 5 * 3 * 4) + 6 * 5 * (2 * 3 + 1 + 5 + 2 * 3) + 2 * 6 * 8 * 3,
    ),
    "grouped-query attention": (
        layers.GroupQueryAttention(head_dim=3, num_query_heads=4, num_key_value_heads=2, use_bias=False),
        [(6, 8), (5, 8)],
        2 * (6 * 12 * 8 + 2 * 5 * 6 * 8) + 4 * 6 * 5 * (2 * 3 + 1 + 5 + 2 * 3) + 2 * 6 * 8 * 12,
    ),
    "simple recurrent": (layers.SimpleRNN(4), (3, 5), 3 * 4 * (2 * (5 + 4) + 1 + 1)),
    "lstm": (layers.LSTM(4), (3, 5), 3 * 4 * (2 * 4 * (5 + 4) + 4 + 4 + 4)),
    "gru": (layers.GRU(4), (3, 5), 3 * 4 * (2 * 3 * (5 + 4) + 3 + 6 + 5)),
    "gru, reset before": (layers.GRU(4, reset_after=False), (3, 5), 3 * 4 * (2 * 3 * (5 + 4) + 3 + 3 + 5)),
    "stacked cells": (
        layers.RNN([layers.SimpleRNNCell(4), layers.SimpleRNNCell(2)]),
        (3, 5),
        3 * (4 * (2 * 9 + 2) + 2 * (2 * 6 + 2)),
    ),
    "convolutional lstm": (
        layers.ConvLSTM2D(4, 3, padding="same"),
        (2, 5, 5, 3),
        2 * 25 * 4 * (2 * 4 * 9 * (3 + 4) + 4 + 4 + 4),
    ),
    "bidirectional": (layers.Bidirectional(layers.SimpleRNN(4)), (3, 5), 2 * 240),
    "bidirectional sum": (layers.Bidirectional(layers.SimpleRNN(4), merge_mode="sum"), (3, 5), 2 * 240 + 4),
    "time distributed": (layers.TimeDistributed(layers.Dense(4)), (3, 5), 3 * 4 * (2 * 5 + 1)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_layer_is_counted_as_by_hand(name):
    layer, shape, expected = BY_HAND[name]
    assert flops(layer, shape) == expected


@pytest.mark.parametrize("name", BY_HAND)
def test_batch_multiplies_the_count(name):
    layer, shape, expected = BY_HAND[name]
    assert flops(layer, shape, batch_size=3) == 3 * expected


def test_convolution_counts_input_channels_and_kernel_area():
    counts = [
        flops(layers.Conv2D(4, k, padding="same", use_bias=False), (8, 8, c)) for k, c in [(1, 1), (3, 1), (3, 5)]
    ]
    assert [count // counts[0] for count in counts] == [1, 9, 45]


OPERATIONS = {
    "arithmetic": (lambda x: x * 2.0 + x, 2 * 12),
    "free": (lambda x: keras.ops.exp(keras.ops.relu(x)), 0),
    "matmul": (lambda x: keras.ops.matmul(x, np.ones((4, 5), "float32")), 2 * 3 * 4 * 5),
    "tensordot": (lambda x: keras.ops.tensordot(x, np.ones((4, 5), "float32"), axes=1), 2 * 3 * 4 * 5),
    "einsum": (lambda x: keras.ops.einsum("bij,bkj->bik", x, x), 2 * 3 * 3 * 4),
    "einsum of three": (lambda x: keras.ops.einsum("bij,bij,bij->b", x, x, x), 3 * 3 * 4),
    "sum": (lambda x: keras.ops.sum(x, axis=1), 12),
    "softmax": (lambda x: keras.ops.softmax(x), 5 * 12),
    "convolution": (lambda x: keras.ops.conv(x, np.ones((2, 4, 5), "float32")), 2 * 2 * 4 * 2 * 5),
    "max pooling": (lambda x: keras.ops.max_pool(x, 3), 3 * 4),
    "attention": (
        lambda x: keras.ops.dot_product_attention(*[x[:, :, None, :]] * 3),
        3 * 3 * (2 * 4 + 1 + 5 + 2 * 4),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_between_layers_are_counted(name):
    operation, expected = OPERATIONS[name]
    x = keras.Input((3, 4))
    assert flops(keras.Model(x, operation(x))) == expected


def block():
    x = keras.Input((6,))
    return keras.Model(x, layers.Dense(6, name="dense")(x), name="block")  # 2 * 6 * 6 + 6 = 78


def nested_network():
    """One block called twice, and a layer shared between two places."""
    x, inner, shared = keras.Input((6,)), block(), layers.Dense(6, name="shared", use_bias=False)
    y = shared(inner(shared(inner(x))))
    return keras.Model(x, layers.Add(name="add")([x, y]), name="outer")


def test_nested_and_shared_layers_count_once_a_call():
    assert flops_per_layer(nested_network()) == {"block/dense": 2 * 78, "shared": 2 * 72, "add": 6}


def test_layers_sum_up_to_the_network():
    model = nested_network()
    assert sum(flops_per_layer(model, batch_size=7).values()) == flops(model, batch_size=7) == 7 * (2 * 78 + 2 * 72 + 6)


def test_nested_layers_see_the_shapes_of_their_call():
    filters = keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(1, 1, use_bias=False)], name="filters")
    x, y = keras.Input((2, 2, 1)), keras.Input((3, 3, 1))
    model = keras.Model([x, y], [filters(x), filters(y)])
    assert flops(model) == 2 * 4 + 2 * 9


def test_batch_folded_into_another_axis_is_counted():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.Dense(3, use_bias=False)(keras.ops.reshape(x, (-1, 4))))
    assert flops(model, batch_size=2) == 2 * 5 * (2 * 4 * 3)


def test_layers_that_state_no_shape_are_traced():
    x = keras.Input((6, 5))
    y = layers.EinsumDense("abc,cd->abd", output_shape=(None, 7))(x)  # Keras says (None, None, 7)
    assert flops(keras.Model(x, y)) == 2 * 6 * 5 * 7


def test_model_for_any_size_needs_the_input_shape():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, use_bias=False, padding="same")])
    with pytest.raises(ValueError, match=r"not fully known.*input_shape=\(32, 32, 3\)"):
        flops(model)
    assert flops(model, (8, 8, 3)) == 8 * 8 * 4 * 54


def test_sequential_model_is_counted_before_it_is_built():
    model = keras.Sequential([layers.Dense(4), layers.Dense(3)])
    assert flops(model, (5,)) == 4 * 11 + 3 * 9
    assert not model.built


def test_layer_of_a_model_knows_its_input():
    x = keras.Input((5,))
    layer = layers.Dense(3)
    layer(x)
    assert flops(layer) == 33


@pytest.mark.parametrize(
    ("shape", "batch", "message"),
    [
        ((None, 5), 1, "does not fit|not fully known"),
        ((4,), 1, "does not fit"),
        ([(5,), (5,)], 1, "does not fit"),
        (None, 0, "positive integer"),
        (None, 1.5, "positive integer"),
    ],
)
def test_wrong_shapes_are_refused(shape, batch, message):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    with pytest.raises(ValueError, match=message):
        flops(model, shape, batch)


def test_layer_that_was_never_called_needs_the_input_shape():
    with pytest.raises(ValueError, match="not fully known"):
        flops(layers.Dense(3))


@pytest.mark.parametrize("width", [4, 9, 1])
def test_count_follows_the_width(width):
    model = keras.Sequential([keras.Input((5,)), layers.Dense(width), layers.Dense(3)])
    assert flops(model) == width * (2 * 5 + 1) + 3 * (2 * width + 1)
    assert parameters(model) == width * (5 + 1) + 3 * (width + 1)


def test_nothing_is_remembered_when_a_layer_changes_in_place():
    hidden = layers.Dense(4)
    model = keras.Sequential([keras.Input((5,)), hidden, layers.Dense(3)])
    before = flops(model)
    hidden.units = 9
    assert (before, flops(model)) == (4 * 11 + 3 * 9, 9 * 11 + 3 * 19)


class Scaled(layers.Layer):
    """A layer that nobody taught the library about."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],))

    def call(self, inputs):
        return inputs * self.scale


class Taught(Scaled):
    """The same, with a rule."""


class Wider(layers.Dense):
    """A subclass of a known layer."""


class Block(layers.Layer):
    """A container of other layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inside = [layers.Dense(6), block()]

    def build(self, input_shape):
        for layer in self.inside:
            layer.build(input_shape)

    def call(self, inputs):
        for layer in self.inside:
            inputs = layer(inputs)
        return inputs


register_flops(Taught, lambda call: math.prod(call.outputs[0]))


@register_flops(Block)
def count_block(call):
    return sum(call.of(layer, call.inputs[0]) for layer in call.layer.inside)


def one_layer_network(layer):
    return keras.Sequential([keras.Input((6,)), layer])


def test_unknown_layer_with_weights_is_refused():
    with pytest.raises(ValueError, match=r"'scaled_?\w*' \(Scaled\).*register_flops\(Scaled, function\)"):
        flops(one_layer_network(Scaled(name="scaled_1")))


def test_unknown_layer_counts_zero_on_demand_with_one_warning():
    model = keras.Sequential([keras.Input((6,)), Scaled(name="one"), Scaled(name="two"), layers.Dense(3)])
    with pytest.warns(UserWarning, match="one, two") as record:
        assert flops(model, unknown="zero") == 3 * 13
    assert len(record) == 1
    assert FlopsCounter("zero").total(Scaled(), [keras.KerasTensor((1, 6))]) == 0


def test_unknown_must_be_a_known_word():
    with pytest.raises(ValueError, match="'ignore'"):
        flops(block(), unknown="ignore")


def test_registered_rule_is_used():
    assert flops(one_layer_network(Taught()), batch_size=2) == 12


def test_containers_count_what_is_inside():
    assert flops(one_layer_network(Block())) == 2 * 78


def test_subclass_inherits_the_rule():
    assert flops(one_layer_network(Wider(3))) == 3 * 13


@pytest.mark.parametrize(("layer_class", "function"), [(layers.Dense(1), len), (Taught, 3)])
def test_registering_nonsense_is_refused(layer_class, function):
    with pytest.raises(TypeError):
        register_flops(layer_class, function)


def test_subclassed_model_is_refused():
    class Opaque(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    model = Opaque()
    model(np.ones((1, 5), "float32"))
    with pytest.raises(ValueError, match="Opaque"):
        flops(model, (5,))
    with pytest.raises(ValueError, match="functional or sequential"):
        flops_per_layer(model, (5,))


def test_parameters_of_shared_layers_count_once():
    model = nested_network()
    assert parameters_per_layer(model) == {"block/dense": 42, "shared": 36, "add": 0}
    assert parameters(model) == model.count_params() == 78


def test_trainable_parameters_leave_out_moving_averages():
    model = keras.Sequential([keras.Input((5,)), layers.BatchNormalization(name="bn"), layers.Dense(3, name="out")])
    assert parameters_per_layer(model) == {"bn": 20, "out": 18}
    assert parameters_per_layer(model, trainable_only=True) == {"bn": 10, "out": 18}
    assert parameters(model, trainable_only=True) == 28


def test_parameters_of_what_is_not_built_are_refused():
    with pytest.raises(ValueError, match="no weights yet"):
        parameters(layers.Dense(3))


# ---------------------------------------------------------------------------------------- against TensorFlow's profiler


def profiled(model):
    """Operations of a frozen forward pass, by kind, as TensorFlow's profiler counts them."""
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*signature))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen.graph.as_graph_def(), name="")
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    node = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    kinds = {}
    while node.children:  # a chain, one kind of operation after the other
        node = node.children[0]
        kinds[node.name] = node.float_ops
    return kinds


def perceptron(x):
    return layers.Dense(3, activation="softmax")(layers.Dense(7, activation="relu")(x))


def convolutional(x, **options):
    x = layers.Conv2D(4, 3, padding="same", activation="relu", **options)(x)
    x = layers.MaxPooling2D(2)(layers.DepthwiseConv2D(3, **options)(x))
    x = layers.SeparableConv2D(5, 3, padding="same", **options)(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", **options)(x)
    return layers.Dense(10, **options)(layers.GlobalAveragePooling2D()(x))


def residual(x):
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(x))
    y = layers.ReLU()(y)
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(y))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(layers.Add()([layers.Conv2D(8, 1)(x), y])))


def recurrent(x):
    return layers.GRU(3, unroll=True)(layers.LSTM(4, unroll=True, return_sequences=True)(x))


def normalised(x):
    return layers.Dense(4)(layers.LayerNormalization()(layers.GroupNormalization(2)(layers.Dense(64)(x))))


on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow's profiler")


@on_tensorflow
@pytest.mark.parametrize(
    ("network", "shape"),
    [(perceptron, (5,)), (perceptron, (4, 5)), (convolutional, (12, 12, 3)), (recurrent, (3, 5))],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_count_equals_tensorflows(network, shape):
    x = keras.Input(shape)
    model = keras.Model(x, network(x))
    assert flops(model) == sum(profiled(model).values())


@on_tensorflow
def test_products_equal_tensorflows():
    x = keras.Input((12, 12, 3))
    model = keras.Model(x, convolutional(x, use_bias=False))
    kinds = profiled(model)
    products = sum(kinds[kind] for kind in kinds if kind.startswith(("MatMul", "Conv2D", "Depthwise")))
    pooled = {"MaxPool", "Mean"}
    assert products == sum(count for name, count in flops_per_layer(model).items() if "pool" not in name)
    assert flops(model) - products == sum(kinds[kind] for kind in pooled)


@on_tensorflow
@pytest.mark.parametrize(
    ("network", "shape", "tolerance"), [(residual, (16, 16, 3), 0.001), (normalised, (5, 8), 0.05)]
)
def test_normalised_networks_agree_with_tensorflow_up_to_constants(network, shape, tolerance):
    """TensorFlow recomputes the constants of a normalisation in each pass, those of LayerNormalization row by row."""
    x = keras.Input(shape)
    model = keras.Model(x, network(x))
    assert flops(model) == pytest.approx(sum(profiled(model).values()), rel=tolerance)


class WholeNumbersOnly(keras.layers.Layer):
    """Doubles whole numbers, and takes no others."""

    def call(self, inputs):
        if keras.backend.standardize_dtype(inputs.dtype) != "int32":
            raise TypeError(f"Expected whole numbers. Received {inputs.dtype}")
        return keras.ops.cast(inputs, "float32") * 2.0


def test_inputs_have_the_dtype_that_a_layer_takes():
    inputs, layer = keras.Input((5,), dtype="int32"), WholeNumbersOnly()
    model = keras.Model(inputs, layers.Dense(2)(layer(inputs)))
    assert flops(layer) == flops(layer, (5,))
    assert flops(model) == flops(model, (5,)) == flops(layer) + flops(model.layers[-1])
