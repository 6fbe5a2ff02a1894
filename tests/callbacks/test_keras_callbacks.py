"""Keras's own callbacks meet a model whose width changes."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructureBackup, StructureTensorBoard
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense
from keras_struct.schedules import Linear
from keras_struct.strategies import Grow

X = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
Y = X[:, :1] - X[:, 1:2]


def growing_model(units=12, steps=12, **compile_options):
    keras.utils.set_random_seed(0)
    model = StructuralModel(
        [keras.Input((6,)), GrowableDense(4, activation="relu", name="hidden"), keras.layers.Dense(1, name="out")]
    )
    optimizer = compile_options.pop("optimizer", "adam")
    model.compile(optimizer, "mse", strategy=Grow(schedule=Linear(units, steps), max_units=64), **compile_options)
    return model


def test_early_stopping_restores_the_structure_of_the_best_weights():
    model = growing_model()
    widths = []

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            widths.append(self.model.structure.axes["hidden"])
            logs["quality"] = -float(epoch)

    stop = keras.callbacks.EarlyStopping("quality", mode="max", patience=2, restore_best_weights=True)
    best = {}

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                best["outputs"] = self.model.predict(X, verbose=0)

    model.fit(X, Y, batch_size=16, epochs=5, verbose=0, callbacks=[Worse(), Keep(), stop])
    assert widths == [8, 12, 16]
    assert model.structure.axes["hidden"] == 8
    np.testing.assert_array_equal(model.predict(X, verbose=0), best["outputs"])
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_a_checkpoint_of_another_width_can_be_loaded(tmp_path, name):
    model = growing_model()
    weights_only = name.endswith("h5")
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / name, monitor="loss", save_best_only=True, save_weights_only=weights_only
    )
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[checkpoint])
    outputs = model.predict(X, verbose=0)
    if weights_only:
        loaded = growing_model()
        loaded.load_weights(tmp_path / name)
    else:
        loaded = keras.models.load_model(tmp_path / name)
    assert loaded.structure.axes["hidden"] == 16
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), outputs)
    assert [e.after for e in loaded.structure_log] == [e.after for e in model.structure_log]


def test_keras_backup_and_restore_resumes_with_the_structure(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    interrupted = growing_model()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[backup, Stop()])
    resumed = growing_model()
    history = resumed.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[backup])
    assert len(history.history["loss"]) == 1
    assert resumed.structure.axes["hidden"] == 16
    assert [e.step for e in resumed.structure_log] == list(range(1, 13))


def test_swap_ema_weights_works_on_a_grown_model():
    # One unit after every third step: with this optimizer the step is traced again for each.
    model = growing_model(4, 12, optimizer=keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[swap])
    assert [event.step for event in model.structure_log] == [3, 6, 9, 12]
    assert model.structure.axes["hidden"] == 8
    assert np.isfinite(model.predict(X, verbose=0)).all()


def test_training_goes_on_from_initial_epoch():
    model = growing_model()
    model.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    history = model.fit(X, Y, batch_size=16, initial_epoch=1, epochs=3, verbose=0)
    assert parts_of(model).progress.step == 12
    assert len(history.history["loss"]) == 2
    assert history.history["hidden_units"] == [12, 16]
    assert history.history["parameters"][-1] == model.count_params() == 6 * 16 + 16 + 16 + 1


def test_the_history_holds_events_that_pandas_reads():
    pandas = pytest.importorskip("pandas")
    history = growing_model().fit(X, Y, batch_size=16, epochs=3, verbose=0)
    frame = pandas.DataFrame(history.structure.records())
    assert list(frame["after"]) == list(range(5, 17))
    assert set(frame["axis"]) == {"hidden"}


def test_callbacks_hear_of_every_change_of_structure():
    heard = []

    class Listener(keras.callbacks.Callback):
        def on_structure_change(self, event, logs):
            heard.append((event.step, event.after, "loss" in logs))

    growing_model().fit(X, Y, batch_size=16, epochs=1, verbose=0, callbacks=[Listener()])
    assert heard == [(1, 5, True), (2, 6, True), (3, 7, True), (4, 8, True)]


def test_tensorboard_gets_widths_and_events(tmp_path):
    growing_model().fit(X, Y, batch_size=16, epochs=1, verbose=0, callbacks=[StructureTensorBoard(str(tmp_path))])
    (file,) = (tmp_path / "structure").iterdir()
    written = file.read_bytes()
    assert b"units/hidden" in written
    assert b"hidden: 4 -> 5" in written


def test_a_loss_of_nan_stops_edits_with_one_warning_but_not_training():
    model = growing_model()
    targets = Y.copy()
    targets[:] = np.nan
    with pytest.warns(UserWarning, match="structure stays as it is") as caught:
        history = model.fit(X, targets, batch_size=16, epochs=2, verbose=0)
    assert len([w for w in caught if "structure stays" in str(w.message)]) == 1
    assert len(history.history["loss"]) == 2
    assert model.structure.axes["hidden"] == 4


def test_a_backup_refuses_a_plain_model_and_names_keras_own(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="BackupAndRestore"):
        model.fit(X, Y, verbose=0, callbacks=[StructureBackup(tmp_path)])
    with pytest.raises(ValueError, match="save_freq"):
        StructureBackup(tmp_path, save_freq=0)
