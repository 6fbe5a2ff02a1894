"""What the library relies on inside the trainers of TensorFlow, JAX and PyTorch."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense

BACKEND = keras.backend.backend()
X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def only_on(name):
    return pytest.mark.skipif(name != BACKEND, reason=f"about {name}")


def model_of(**options):
    keras.utils.set_random_seed(0)
    model = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1)])
    model.compile("adam", "mse", **options)
    return model


@only_on("tensorflow")
def test_a_step_of_tensorflow_can_return_more_than_logs():
    model = model_of(probe=16)
    logs = model.make_train_function()(iter([(X, Y)]))
    assert "loss" in logs
    np.testing.assert_array_equal(parts_of(model).observation.buffer.inputs(), X)


@only_on("tensorflow")
@pytest.mark.parametrize("weights", [None, np.linspace(0, 1, 10)])
def test_a_step_that_keeps_its_batch_trains_as_keras_does_and_is_traced_once_for_all_sizes_of_batches(weights):
    losses, traces = [], []
    x, y = np.random.default_rng(0).standard_normal((10, 3)).astype("float32"), np.ones((10, 1), "float32")
    for options in ({}, {"probe": 4}):
        model = model_of(**options)
        step = model.train_step
        model.train_step = lambda data, step=step: (traces.append(0), step(data))[1]
        traces.clear()
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, sample_weight=weights, verbose=0)
        losses.append(history.history["loss"])
    assert len(traces) == 1
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert set(map(tuple, x[-2:])) <= set(map(tuple, np.array(parts_of(model).observation.buffer.inputs())))
    # Keras looks at the first of a generator; parts may be missing.
    batches = ((x[:size], y[:size], None) for size in (4, 3, 4))
    model.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0)
    assert parts_of(model).progress.step == 8


@only_on("tensorflow")
def test_accumulators_are_reset_by_a_method_of_the_optimizer():
    model = model_of()
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    assert "_backend_reset_gradient_accumulators" in vars(model.optimizer)
    assert callable(keras.optimizers.SGD._backend_reset_gradient_accumulators)
    for width in (4, 6, 3):
        model.prune("h", range(3, model.structure.axes["h"])) if width == 3 else None
        model.grow("h", 2) if width == 6 else None
        model.train_on_batch(X, Y)
        model.train_on_batch(X, Y)
        assert all((current().read(a) == 0).all() for a in model.optimizer._accumulated_gradients)


@only_on("tensorflow")
def test_a_distribution_strategy_is_seen_on_the_model():
    import tensorflow as tf

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert model._distribute_strategy is not None
    with pytest.raises(ValueError, match=r"tf\.distribute"):
        current().refuse_distribution(model)


@only_on("jax")
def test_jax_keeps_values_outside_of_variables_while_fit_runs():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel = model.get_layer("h").kernel  # self.model would bring the values back
            seen.append(kernel._value is None)
            current().before_edit(model)
            seen.append(kernel._value is None)

    model = model_of()
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[Look()])
    assert seen == [True, False] * 2
    current().before_edit(keras.Sequential())


@only_on("jax")
def test_steps_are_compiled_on_jax_unless_asked_otherwise():
    assert model_of().jit_compile
    assert not model_of(jit_compile=False).jit_compile
    assert model_of().get_compile_config()["structure"]["jit_compile"] is None


@only_on("jax")
def test_a_written_value_is_no_ones_elses():
    variable, value = keras.Variable(np.zeros(3, "float32")), np.ones(4, "float32")
    current().write(variable, value)
    value[:] = 7
    np.testing.assert_array_equal(current().read(variable), np.ones(4))


@only_on("torch")
def test_pytorch_knows_the_parameters_behind_the_variables():
    import torch

    model = model_of()
    model.grow("h", 2)
    kernel = model.get_layer("h").kernel
    for module in (model, model.get_layer("h")):
        held = {id(p): p for p in module.parameters()}
        assert id(kernel.value) in held
        assert sorted(tuple(p.shape) for p in held.values())[-1] == max(tuple(w.shape) for w in module.weights)
    assert isinstance(kernel.value, torch.nn.Parameter)
    assert kernel.value.requires_grad
    assert not any(v.value.requires_grad for v in model.optimizer.variables)
    assert callable(model._track_variables)


@only_on("torch")
def test_a_train_function_of_pytorch_takes_a_list_of_batches():
    model = model_of(probe=16)
    model.make_train_function()([(X, Y)])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(parts_of(model).observation.buffer.inputs()), X)


def test_a_train_function_can_leave_out_what_a_resumed_run_has_behind_it():
    model, seen = model_of(probe=64), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((parts_of(self.model).progress.step, sorted(logs or {})))

    parts_of(model).checkpoint.resume(epoch=1, batches=2)
    parts_of(model).progress.step = 10
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=[Watch()])
    assert history.epoch == [1]
    assert [step for step, _ in seen] == [10, 10, 11, 12]
    assert [bool(logs) for _, logs in seen] == [False, False, True, True]


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch makes one step in an execution")
def test_a_resumed_run_leaves_out_whole_executions():
    model = model_of(steps_per_execution=2)
    parts_of(model).checkpoint.resume(epoch=0, batches=4)
    model.fit(X, Y, batch_size=1, epochs=1, verbose=0)
    assert parts_of(model).progress.step == 4


def test_a_forced_train_function_is_keras_own():
    model = model_of()
    model.make_plain_train_function()
    assert model.train_function is not None
    assert isinstance(internals.functional_of(model), StructuralModel)
    assert internals.functional_of(keras.Model()) is None


@pytest.mark.skipif(BACKEND == "tensorflow", reason="the shapes of TensorFlow's compiled steps are left open")
def test_other_backends_have_no_elastic_variables():
    model = model_of()
    assert not current().ELASTIC
    assert not current().set_elastic(model.get_layer("h").kernel, [1])
    assert not model.grow("h", 1).retraced
