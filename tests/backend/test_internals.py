"""The private attributes of Keras that the library relies on: a Keras that moves one fails here first."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_struct.core.backend import current, optimizer_slots
from keras_struct.core.backend import keras_internals as internals


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,), name="x")
    x = keras.layers.Dense(4, name="first")(inputs)
    x = keras.layers.Dropout(0.1, name="drop")(x)
    found = keras.Model(inputs, keras.layers.Add(name="add")([x, keras.layers.Dense(4, name="second")(x)]))
    found.compile("adam", "mse")
    found.optimizer.build(found.trainable_variables)
    return found


def test_calls_come_in_an_order_in_which_they_can_be_run(model):
    nodes = list(internals.nodes_in_order(internals.functional_of(model)))
    assert [node.operation.name for node in nodes] == ["first", "drop", "second", "add"]
    inputs, outputs = internals.node_tensors(nodes[-1])
    assert [tuple(t.shape) for t in (*inputs, *outputs)] == [(None, 4)] * 3
    assert not internals.extra_arguments(nodes[0])


def test_a_sequential_model_has_a_functional_one_behind_it():
    sequential = keras.Sequential([keras.layers.Dense(2)])
    assert internals.functional_of(sequential) is None
    sequential.build((None, 3))
    assert internals.functional_of(sequential) is not None
    ends = internals.structured_ends(sequential)
    assert keras.Model(*ends).output_shape == (None, 2)


def test_arguments_of_a_call_can_be_filled_in(model):
    (node,) = [n for n in internals.nodes_in_order(model) if n.operation.name == "add"]
    tensors, _ = internals.node_tensors(node)
    args, kwargs = internals.filled_arguments(node, {id(t): i for i, t in enumerate(tensors)})
    assert (args, kwargs) == ([[0, 1]], {})
    assert internals.takes_training(model.get_layer("drop"))
    assert not internals.takes_training(model.get_layer("add"))


def test_symbolic_shapes_build_shapes_and_input_layers_can_be_set(model):
    layer = model.get_layer("second")
    internals.set_symbolic_shape(layer.output, (None, 9))
    assert layer.output.shape == (None, 9)
    internals.set_build_shapes(layer, {"input_shape": (None, 7)})
    assert layer.get_build_config() == {"input_shape": (None, 7)}
    assert internals.build_shapes(layer) == {"input_shape": (None, 7)}
    internals.set_symbolic_shape(model.inputs[0], (None, 5))
    internals.follow_input_shape(model.inputs[0])
    assert model.layers[0].get_config()["batch_shape"] == (None, 5)


def test_a_layers_own_variables_are_known_by_name(model):
    assert set(internals.own_variables(model.get_layer("first"))) == {"kernel", "bias"}
    assert internals.own_variables(keras.Sequential([keras.layers.Dense(1)])) == {}


def test_values_are_read_and_written_in_any_shape(model):
    variable = model.get_layer("first").kernel
    value = np.arange(15, dtype="float32").reshape(3, 5)
    current().write(variable, value)
    assert tuple(variable.shape) == (3, 5)
    np.testing.assert_array_equal(current().read(variable), value)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), value)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elastic variables are TensorFlow's")
def test_an_elastic_variable_hides_its_extent_from_layers_that_are_traced(model):
    import tensorflow as tf

    class Looking(keras.layers.Layer):
        def call(self, x):
            seen.append(variable.shape.as_list())
            return x

    looking = Looking()
    variable, seen = model.get_layer("first").kernel, []
    before = variable.numpy()
    assert current().set_elastic(variable, [1])
    assert not current().set_elastic(variable, [1])
    np.testing.assert_array_equal(variable.numpy(), before)

    @tf.function
    def traced():
        return looking(tf.shape(variable)[1])

    assert int(traced()) == 4
    assert not current().write(variable, np.zeros((3, 6), "float32"))
    assert int(traced()) == 6
    assert seen == [[3, None]]
    assert tuple(variable.shape) == (3, 6)
    assert current().write(variable, np.zeros((2, 6), "float32")), "another fan-in than the static one"


def test_the_optimizer_knows_replaced_variables_again(model):
    variable = model.get_layer("first").kernel
    if keras.backend.backend() == "tensorflow":
        current().set_elastic(variable, [1])
    internals.rekey_optimizer(model.optimizer)
    assert model.optimizer._get_variable_index(variable) == 0


def test_slots_are_found_with_what_fresh_entries_hold(model):
    slots = optimizer_slots.slots_of(model.optimizer)
    assert len(slots) == 2 * len(model.trainable_variables)
    assert {s.initial for s in slots} == {0.0}
    ftrl = keras.optimizers.Ftrl(initial_accumulator_value=0.25)
    ftrl.build(model.trainable_variables)
    assert 0.25 in {s.initial for s in optimizer_slots.slots_of(ftrl)}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: keras.optimizers.Adam(use_ema=True), "average"),
        (lambda: keras.optimizers.ScheduleFreeAdamW(), "momentum"),
    ],
)
def test_slots_that_copy_the_weight_are_known(model, make, name):
    optimizer = make()
    optimizer.build(model.trainable_variables)
    copies = [s for s in optimizer_slots.slots_of(optimizer) if s.copies]
    assert len(copies) == len(model.trainable_variables)
    assert all(name in s.variable.path for s in copies)


def test_compiled_functions_can_be_forgotten(model):
    model.make_train_function()
    first = model.train_function
    internals.forget_compiled_functions(model)
    assert model.train_function not in (None, first)
    internals.start_at_epoch(model, 3)
    history = model.fit(np.zeros((4, 3)), np.zeros((4, 4)), epochs=4, verbose=0)
    assert history.epoch == [3]


@pytest.mark.parametrize("together", [True, False])
def test_variables_are_read_together_as_one_by_one(model, together, monkeypatch):
    backend, variables = sys.modules[current().read_all.__module__], [*model.variables, *model.optimizer.variables]
    assert {str(variable.dtype) for variable in variables} == {"float32", "int64"}
    expected = [backend.read(variable) for variable in variables]

    def refuse(*args):
        raise tf.errors.NotFoundError(None, None, "Op type not registered '_ReadVariablesOp'")

    monkeypatch.setattr(backend, *(("read", None) if together else ("execute", refuse)))
    found = backend.read_all(variables)
    variables[0].assign(variables[0] + 1.0)
    for value, right in zip(found, expected, strict=True):
        assert value.dtype == right.dtype
        np.testing.assert_array_equal(value, right)
    assert backend.read_all([]) == []
