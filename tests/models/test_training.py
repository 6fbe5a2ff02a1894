"""Every way of training that Keras has, with a structure that changes meanwhile (TensorFlow)."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense
from keras_struct.schedules import Batched, EveryNSteps, Linear
from keras_struct.strategies import Grow, NorthRandom
from keras_struct.triggers import EffectiveDimension

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are TensorFlow's ways of training", allow_module_level=True)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((96, 6)).astype("float32")
Y = X[:, :1] * 0.5


def strategy():
    return NorthRandom(EffectiveDimension(gamma=0.5), schedule=EveryNSteps(2), max_units=12)


def model_of(kind=StructuralModel, **options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), name="x")
    model = kind(inputs, keras.layers.Dense(1, name="out")(GrowableDense(4, activation="relu", name="hidden")(inputs)))
    model.compile("sgd", "mse", **{"strategy": strategy(), "probe": 32, **options})
    return model


def check_grown(model, steps=None):
    assert 4 < model.structure.axes["hidden"] <= 12
    assert model.get_layer("hidden").kernel.shape == (6, model.structure.axes["hidden"])
    assert np.isfinite(model.get_weights()[0]).all()
    assert steps is None or parts_of(model).progress.step == steps


class Batches(keras.utils.PyDataset):
    """Batches of 16."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]


def generator():
    while True:
        for i in range(6):
            yield X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), {}),
        (Batches, {}),
        (generator, {"steps_per_epoch": 6}),
        (lambda: tf.data.Dataset.from_tensor_slices((X, Y, np.ones(96))).batch(16), {}),
    ],
)
def test_any_kind_of_data_can_be_used(data, options):
    model = model_of()
    model.fit(data(), epochs=2, verbose=0, shuffle=False, **options)
    check_grown(model, 12)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": np.linspace(0, 1, 96)},
        {"validation_data": (X, Y)},
        {"validation_split": 0.25},
        {"shuffle": False},
    ],
)
def test_arguments_of_fit_work_as_usual(options):
    model = model_of()
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0, **options)
    check_grown(model)
    assert ("val_loss" in history.history) == any("validation" in name for name in options)


def test_class_weights_and_metrics_work_as_usual():
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [
            keras.Input((6,)),
            GrowableDense(4, activation="relu", name="hidden"),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy(), probe=32)
    history = model.fit(X, (Y[:, 0] > 0).astype(int), batch_size=16, epochs=2, verbose=0, class_weight={0: 1.0, 1: 2.0})
    check_grown(model)
    assert "accuracy" in history.history


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 3}])
def test_ways_of_executing_a_step_work(options):
    model = model_of(**options)
    model.fit(X, Y, batch_size=16, verbose=0)
    check_grown(model, 6)


@pytest.mark.parametrize("schedule", [Linear(6, 12), Batched(6, 11, stages=3), EveryNSteps(5)])
def test_what_a_schedule_says_within_an_execution_is_not_lost(schedule):
    trigger = EffectiveDimension(gamma=0.1) if isinstance(schedule, EveryNSteps) else None
    model = model_of(strategy=Grow(trigger, schedule=schedule, max_units=10), steps_per_execution=4)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert model.structure.axes["hidden"] == 10 or trigger
    assert {event.step for event in model.structure_log} <= {4, 6, 10, 12}
    assert model.structure_log


def test_structural_steps_fall_between_executions():
    model = model_of(
        strategy=Grow(schedule=EveryNSteps(1), trigger=EffectiveDimension(gamma=0.5)), steps_per_execution=3
    )
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert {event.step % 3 for event in model.structure_log} == {0}


def test_the_buffer_keeps_the_last_batch_of_each_execution():
    model = model_of(strategy=Grow(schedule=Linear(2, 100)), steps_per_execution=4, probe=1000)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    model.compile("sgd", "mse", strategy=strategy(), probe=1000, steps_per_execution=4)
    parts_of(model).progress.step = 1  # so that the buffer is not filled beforehand
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    held = parts_of(model).observation.buffer.inputs()
    np.testing.assert_array_equal(held, np.concatenate([X[8 * i : 8 * i + 8] for i in (11, 7, 3)]))


def test_a_shorter_last_execution_counts_the_steps_that_were_made():
    model = model_of(steps_per_execution=4)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    check_grown(model, 12)


def test_an_xla_step_computes_the_same_as_another():
    losses = []
    for jit_compile in (False, True):
        model = model_of(strategy=Grow(schedule=Linear(2, 4)), jit_compile=jit_compile)
        losses.append(model.fit(X, Y, batch_size=32, epochs=2, verbose=0, shuffle=False).history["loss"])
        assert model.structure.axes["hidden"] == 6
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_weights_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = model_of()
    finally:
        keras.config.set_dtype_policy("float32")
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    check_grown(model)
    assert model.get_layer("hidden").kernel.dtype == "float32"


def test_positional_arguments_are_those_of_keras():
    model = model_of()
    model.fit(X, Y, 32, 2, 0)
    assert parts_of(model).progress.step == 6


def test_inputs_and_outputs_can_be_many_and_named():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    hidden = GrowableDense(4, activation="relu", name="hidden")(keras.layers.Concatenate()([a, b]))
    model = StructuralModel(
        {"a": a, "b": b}, {"p": keras.layers.Dense(1, name="p")(hidden), "q": keras.layers.Dense(1, name="q")(hidden)}
    )
    model.compile("sgd", {"p": "mse", "q": "mae"}, strategy=strategy(), probe=32)
    model.fit({"a": X[:, :3], "b": X[:, 3:]}, {"p": Y, "q": Y}, batch_size=16, epochs=2, verbose=0)
    check_grown(model)
    assert set(model.predict({"a": X[:2, :3], "b": X[:2, 3:]}, verbose=0)) == {"p", "q"}


def test_train_on_batch_takes_structural_steps_by_hand():
    model = model_of()
    for _ in range(2):
        for x, y in Batches():
            logs = model.train_on_batch(x, y, return_dict=True)
            model.structural_step(x, logs)
    check_grown(model, 12)
    assert len(np.unique(parts_of(model).observation.buffer.inputs(), axis=0)) == 32, "each batch is remembered once"


def test_an_overridden_train_step_is_used():
    class Own(StructuralModel):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "own": tf.constant(1.0)}

    model = model_of(Own)
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    check_grown(model, 12)
    assert history.history["own"] == [1.0, 1.0]


def test_a_loop_of_ones_own_works():
    model = model_of()
    for _ in range(3):
        for x, y in Batches():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            model.structural_step(x, {"loss": loss})
    check_grown(model, 18)


def test_distribution_is_refused_with_a_way_out():
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(ValueError, match=r"tf.distribute strategy.*outside"),
    ):
        model_of()
    devices = keras.distribution.list_devices("cpu")
    try:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices or ["cpu:0"], auto_shard_dataset=False)
        )
    except Exception:
        pytest.skip("keras.distribution cannot be set up on this backend")
    try:
        with pytest.raises(ValueError, match=r"keras.distribution.*set_distribution\(None\)"):
            model_of()
    finally:
        keras.distribution.set_distribution(None)


def test_a_callback_can_stop_training_and_the_structure_stays_whole():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    model = model_of(strategy=Grow(schedule=Linear(12, 12)))
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[Stop()])
    assert model.structure.axes["hidden"] == 8
    model.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    assert model.structure.axes["hidden"] == 14


def test_the_progress_bar_shows_parameters_and_widths(capsys):
    model_of().fit(X, Y, batch_size=16, epochs=1, verbose=1)
    printed = capsys.readouterr().out
    assert "parameters:" in printed
    assert "hidden_units:" in printed
