"""Attributes that only some layers of Keras have: a Keras that renames one fails here first."""

import keras
import numpy as np
import pytest

from keras_struct.core.backend import keras_internals as internals

layers = keras.layers


def test_tables_by_name_become_tables_by_class_without_what_is_missing():
    assert internals.layer_classes({"Dense": 1, "NoSuchLayer": 2, "LSTM": 3}) == {layers.Dense: 1, layers.LSTM: 3}


def test_convolutions_and_their_kin_are_told_apart():
    plain = [layers.Conv1D(2, 3), layers.Conv2D(2, 3), layers.Conv3D(2, 3)]
    kin = [layers.DepthwiseConv2D(3), layers.SeparableConv2D(2, 3), layers.Conv2DTranspose(2, 3)]
    others = [layers.Dense(2), layers.MaxPooling2D(), layers.EinsumDense("ab,bc->ac", 2)]
    assert [internals.is_convolution(layer) for layer in (*plain, *kin, *others)] == [True] * 3 + [False] * 6
    assert [internals.slides_kernel(layer) for layer in (*plain, *kin, *others)] == [True] * 6 + [False] * 3
    assert all(internals.has_attribute(layer, "convolution_op") for layer in plain)
    assert [internals.groups_of(layer) for layer in (layers.Conv2D(4, 3, groups=2), layers.Dense(2))] == [2, 1]


def test_the_place_of_channels_is_read_of_layers_and_cells():
    assert internals.channels_first(layers.Conv2D(2, 3, data_format="channels_first"))
    assert internals.channels_first(layers.ConvLSTM2D(2, 3, data_format="channels_first").cell)
    assert not internals.channels_first(layers.Conv2D(2, 3, data_format="channels_last"))
    assert not internals.channels_first(layers.Dense(2))


def test_activations_are_those_of_outputs_and_of_gates():
    relu, tanh, sigmoid = keras.activations.relu, keras.activations.tanh, keras.activations.sigmoid
    assert internals.activations_of(layers.Dense(2, "relu")) == (relu, None)
    assert internals.activations_of(layers.LSTMCell(2)) == (tanh, sigmoid)
    assert internals.activations_of(layers.Add()) == (None, None)


def test_lora_and_quantisation_are_noticed():
    layer = layers.Dense(2)
    layer.build((None, 3))
    assert not internals.has_lora(layer)
    assert not internals.is_adapted(layer)
    layer.enable_lora(1)
    assert internals.has_lora(layer)
    assert internals.is_adapted(layer)
    assert not internals.is_adapted(layers.Add())


def test_gates_of_attention_are_noticed():
    make = layers.GroupQueryAttention
    assert not internals.has_gates(make(4, 2, 1))
    assert internals.has_gates(make(4, 2, 1, use_gate=True))
    assert not internals.has_gates(layers.MultiHeadAttention(2, 4))
    assert internals.has_gates(layers.MultiHeadAttention(2, 4, use_gate=True))


def test_cells_are_no_recurrent_layers_and_say_how_much_they_put_out():
    assert internals.is_cell(layers.GRUCell(2))
    assert internals.is_cell(layers.StackedRNNCells([layers.GRUCell(2)]))
    assert not internals.is_cell(layers.GRU(2))
    assert not internals.is_cell(layers.Dense(2))
    assert internals.output_size_of(layers.LSTMCell(3)) == 3
    assert internals.output_size_of(layers.Dense(2)) is None


def test_specifications_are_those_of_one_input():
    layer = layers.Dense(2)
    layer.build((None, 3))
    assert internals.input_spec_of(layer).axes == {-1: 3}
    assert internals.input_spec_of(layers.Add()) is None
    node = keras.ops.relu(keras.Input((2,)))._keras_history.operation
    assert internals.input_spec_of(node) is None


@pytest.mark.parametrize("called", [True, False])
def test_inputs_of_layers_that_were_called(called):
    layer, x = layers.Dense(2), keras.Input((3,))
    if called:
        layer(x)
    assert internals.symbolic_inputs_of(layer) == ([x] if called else [])
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)] if called else [])
    assert len(internals.symbolic_inputs_of(model, of_model=True)) == called


def test_compiled_models_and_velocities():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    assert not internals.is_compiled(model)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
    assert internals.is_compiled(model)
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    assert [tuple(v.shape) for v in internals.velocities_of(model.optimizer)] == [(3, 1), (1,)]
    for optimizer in (keras.optimizers.SGD(0.1), keras.optimizers.Adam(), keras.optimizers.RMSprop(momentum=0.9)):
        optimizer.build(model.trainable_variables)
        assert internals.velocities_of(optimizer) is None
    assert not internals.normalizes_by_mean_square(layers.LayerNormalization())
