"""A model has what features give it, whatever was imported."""

import subprocess
import sys

SCRIPT = """
import os
import keras

def use(first):
    exec(first)
    from keras_struct.core.model.structural_model import StructuralModel
    from keras_struct.units.dense import GrowableDense

    model = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1)])
    model.grow("h", 2)
    assert model.connections == {} and model.symmetries == {}
    from keras_struct.strategies import NorthWeight

    model.compile("sgd", "mse", strategy=NorthWeight())
    model.to_plain()

# A process for each, forked before the library is imported: importing Keras takes longest.
for first in ("", "from keras_struct import search", "from keras_struct import callbacks"):
    process = os.fork()
    if not process:
        use(first)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert status == 0, first
"""


def test_methods_edits_and_targets_are_there():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
