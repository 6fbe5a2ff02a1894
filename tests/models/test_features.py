"""A model has what features give it, whatever was imported."""

import subprocess
import sys

import pytest

SCRIPT = """
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.units.dense import GrowableDense
import keras
model = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1)])
"""


@pytest.mark.parametrize("first", ["", "from keras_struct import search\n", "from keras_struct import callbacks\n"])
def test_methods_edits_and_targets_are_there(first):
    use = (
        "model.grow('h', 2)\n"
        "assert model.connections == {} and model.symmetries == {}\n"
        "from keras_struct.strategies import NorthWeight\n"
        "model.compile('sgd', 'mse', strategy=NorthWeight())\n"
        "model.to_plain()\n"
    )
    subprocess.run([sys.executable, "-c", first + SCRIPT + use], check=True)
