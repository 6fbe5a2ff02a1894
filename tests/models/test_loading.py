"""`import keras_struct` is enough to load what was saved, and errors are short."""

import importlib
import inspect
import subprocess
import sys

import keras
import pytest

from keras_struct import StructuralModel, registration, strategies
from keras_struct.activations import relu1
from keras_struct.layers import GrowableDense

PROGRAM = """
import os, sys, time
start = time.perf_counter()
import keras_struct
took = time.perf_counter() - start
assert took < 0.2, took
assert not {"keras", "numpy", "tensorflow"} & set(sys.modules)
import keras

def loaded():
    model = keras.models.load_model(sys.argv[1])
    from keras_struct.core.model.parts import parts_of
    strategy = parts_of(model).runner.strategy
    print(type(model).__name__, type(strategy).__name__, model.get_layer("h").activation.__name__, flush=True)

def built(first):
    exec(first)
    from keras_struct.core.model.structural_model import StructuralModel
    from keras_struct.units.dense import GrowableDense

    model = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1)])
    model.grow("h", 2)
    assert model.connections == {} and model.symmetries == {}
    from keras_struct.strategies import NorthWeight

    model.compile("sgd", "mse", strategy=NorthWeight())
    model.to_plain()

# A process for each, forked before the rest of the library is imported: importing Keras takes longest.
for function, *arguments in (
    (loaded,),
    (built, ""),
    (built, "from keras_struct import search, callbacks"),
):
    process = os.fork()
    if not process:
        function(*arguments)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert status == 0, (function, arguments)
"""


@pytest.mark.slow
def test_models_are_loaded_and_have_what_features_give_them_whatever_was_imported(tmp_path):
    model = StructuralModel(
        [keras.Input((6,)), GrowableDense(40, activation=relu1, name="h"), keras.layers.Dense(1, name="o")]
    )
    model.compile("adam", "mse", strategy=strategies.NorthSelect())
    model.save(tmp_path / "m.keras")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "m.keras")], capture_output=True, text=True)
    assert done.stdout.split() == ["StructuralModel", "NorthSelect", "relu1"], done.stderr[-2000:]


def test_every_registered_class_is_found():
    found = {}
    for package in ("layers", "models", "depth"):
        module = importlib.import_module(f"keras_struct.{package}")
        for name, kind in ((name, getattr(module, name)) for name in module.__all__):
            if inspect.isclass(kind) and keras.saving.get_registered_name(kind) == f"keras_struct>{name}":
                found[name] = kind
    assert set(registration.CLASSES) == set(found)
    for name, module in registration.CLASSES.items():
        assert getattr(importlib.import_module(f"keras_struct.{module}"), name) is found[name]


def test_a_layer_that_is_not_known_is_named_in_a_few_lines():
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((4,))
    model = StructuralModel(inputs, keras.layers.Dense(2)(Unknown()(keras.layers.Dense(8)(inputs))))
    config = model.get_config()
    for layer in config["layers"]:
        if layer["class_name"] == "Unknown":
            layer |= {"module": "somewhere.layers", "registered_name": "mine>Unknown"}
    with pytest.raises(ValueError, match=r"'mine>Unknown'.*Import somewhere\.layers") as found:
        StructuralModel.from_config(config)
    assert len(str(found.value)) < 600
