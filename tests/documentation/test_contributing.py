"""The files of the page for contributors are written down as they stand there, pass its tests, and do what it says."""

import importlib
import os
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_struct import Budget, StructuralModel, testing
from keras_struct.initializers import Select
from keras_struct.layers import GrowableDense
from keras_struct.measurements import AxisMeasurement
from keras_struct.policies.policy import Policy
from keras_struct.strategies import Grow, Prune
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.triggers import FractionOfWidth

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "contributing.md"
pytestmark = [
    pytest.mark.skipif(not GUIDE.exists(), reason="an installed package has no pages"),
    pytest.mark.usefixtures("eager"),
]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((64, 5)).astype("float32"), RNG.standard_normal((64, 2)).astype("float32")


def files():
    """Each block of code, by the name of the file in its first line."""
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files in a folder of their own, which can be imported from."""
    folder, known = tmp_path_factory.mktemp("contributed"), dict(Policy.known)
    (folder / "my_methods").mkdir()
    (folder / "my_methods" / "__init__.py").touch()
    for name, code in files().items():
        (folder / name).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_methods", "test_my_methods")]:
        del sys.modules[name]
    for name in set(Policy.known) - set(known):
        del Policy.known[name]


@pytest.fixture
def load(package):
    return lambda name, module: getattr(importlib.import_module(f"my_methods.{module}"), name)


def network(activation="tanh", width=6):
    keras.utils.set_random_seed(0)
    return StructuralModel(
        [
            keras.Input((5,)),
            GrowableDense(width, activation=activation, name="hidden"),
            keras.layers.Dense(2, name="out"),
        ]
    )


def test_every_block_of_python_names_its_file():
    assert len(files()) == len(re.findall(r"```python\n", GUIDE.read_text()))


def test_every_battery_is_in_the_table():
    named = set(re.findall(r"^\| `(\w+)\(", GUIDE.read_text(), re.MULTILINE))
    assert named == {name for name in testing.__all__ if not name.startswith("random")}


def test_all_files_pass_the_tests_that_enumerate_them(package):
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(package)]
    counter = Counter()
    assert pytest.main([*options, str(package / "test_my_methods.py")], plugins=[counter]) == 0
    assert sorted(counter.passed) == [
        "test_initializers[Resampled]",
        "test_layers[SelfGate]",
        "test_selectors[LeastVariance]",
        "test_strategies[Recycle]",
        "test_triggers[StableRank]",
    ]


class Counter:
    """Takes down which tests passed."""

    def __init__(self):
        self.passed = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.passed.append(report.nodeid.rpartition("::")[2])


@pytest.mark.parametrize(("spectrum", "rank"), [([1, 1, 1, 1], 4), ([4, 2, 1, 1], 2), ([3, 0, 0, 0], 1), ([0] * 4, 0)])
def test_the_stable_rank_of_known_spectra(load, spectrum, rank):
    turn = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
    gram = turn @ np.diag(np.array(spectrum, float)) @ turn.T
    measured = AxisMeasurement("h", 4, None, "dense", (), gram=lambda: gram)
    assert load("stable_rank", "stable_rank")(measured) == pytest.approx(rank)
    trigger = load("StableRank", "stable_rank")()
    assert trigger(measured, rank / 4) == (int(rank > 0), rank / 4)
    assert trigger(measured, (rank + 1) / 4)[0] == 0
    with pytest.raises(ValueError, match="`share` must be positive"):
        type(trigger)(0.0)


def test_the_policies_grow_and_prune(load):
    model = network()
    trigger, initializer = load("StableRank", "stable_rank")(0.5), load("Resampled", "resampled")()
    model.compile("sgd", "mse", strategy=Grow(trigger, initializer, max_units=9), probe=X)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert model.structure.axes["hidden"] == 9
    model = network()
    before = outputs(model, X)
    model.grow("hidden", 2, initializer)
    assert relative_change(before, outputs(model, X)) < 1e-6
    selector = load("LeastVariance", "least_variance")()
    model.compile("sgd", "mse", strategy=Prune(FractionOfWidth(0.2), selector), probe=X)
    model.fit(X, Y, batch_size=32, verbose=0)
    assert model.structure.axes["hidden"] < 8
    assert Grow(trigger, Select()).trigger == trigger


def test_the_unit_that_does_not_vary_goes_first(load):
    model = network()
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.where(np.arange(6) == 3, 0.0, kernel.numpy()))
    model.compile("sgd", "mse", probe=X)
    assert load("LeastVariance", "least_variance")()(model.measure("hidden"), 1) == [3]


def test_dormant_units_are_replaced(load):
    model = network("relu")
    hidden = model.get_layer("hidden")
    hidden.bias.assign([0, -100, 0, 0, -100, 0])
    model.compile("sgd", "mse", strategy=load("Recycle", "recycle")(every=2), probe=X)
    before = outputs(model, X)
    model.fit(X, Y, batch_size=32, verbose=0)
    (event,) = model.structure_log
    assert (event.before, event.after, event.source) == (6, 6, (0, 2, 3, 5, -1, -1))
    assert relative_change(before, outputs(model, X)) > 0
    assert hidden.bias.numpy()[4:].tolist() == [0, 0]


def test_the_gate_is_edited_counted_and_exported(load):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    gate = load("SelfGate", "self_gate")(3, name="gate")
    model = StructuralModel(inputs, keras.layers.Dense(2)(gate(GrowableDense(6, name="hidden")(inputs))))
    model.compile("sgd", "mse", probe=X)
    assert [name for name, _ in model.structure.units["hidden"].producers] == ["hidden", "gate"]
    model.grow("hidden", 2)
    plain = model.to_plain()
    assert not any(isinstance(layer, type(gate)) for layer in plain.layers)
    np.testing.assert_allclose(plain.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    model.prune(budget=Budget(flops=0.6))
    assert model.structure.axes["hidden"] < 8
