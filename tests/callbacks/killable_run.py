"""A small run with backups, and a script that kills some of them."""

import json
import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from keras_struct import StructuralModel, StructureBackup
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GrowableDense
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import NorthSelect
from keras_struct.triggers import EffectiveDimension


class KillAt(keras.callbacks.Callback):
    """Kill the process, without any warning, after a number of training steps in this process."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(folder, save_freq, kill_at=0):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((192, 6)).astype("float32")
    y = (x[:, :3].sum(axis=1) > 0).astype("int32") + (x[:, 3] > 1)
    model = StructuralModel(
        [
            keras.Input((6,)),
            GrowableDense(4, activation="relu", name="h1"),
            keras.layers.Dropout(0.2),
            GrowableDense(4, activation="relu", name="h2"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    strategy = NorthSelect(EffectiveDimension(gamma=0.7), schedule=EveryNSteps(3), max_units=12)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy, probe=64)
    backup = StructureBackup(os.path.join(folder, "backup"), save_freq=save_freq, delete_at_end=False)
    callbacks = [backup, *([KillAt(kill_at)] if kill_at else [])]
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=callbacks)
    events = [(e.step, e.axis, e.before, e.after) for e in model.structure_log]
    weights = {str(i): w for i, w in enumerate(model.get_weights())}
    np.savez(os.path.join(folder, "weights.npz"), **weights)
    with open(os.path.join(folder, "result.json"), "w") as file:
        json.dump({"events": events, "loss": history.history["loss"][-1], "step": parts_of(model).progress.step}, file)


def killed(eagerly, *arguments):
    """Run in a process that forks from this one before TensorFlow has computed anything: importing it takes longest."""
    process = os.fork()
    if not process:
        tf.config.run_functions_eagerly(eagerly)  # with few steps, compiling takes longest
        run(*arguments)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    for arguments in json.loads(sys.argv[1]):
        if not killed(*arguments):
            sys.exit(f"the run was to be killed after {arguments[-1]} steps")
