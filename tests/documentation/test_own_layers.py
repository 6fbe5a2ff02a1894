"""The layers of the guide are files that run as they stand there, and do what the page says."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, StructuralModel
from keras_struct.core.surgery import registry
from keras_struct.testing.preservation import outputs, relative_change

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "own_layers.md"
pytestmark = [
    pytest.mark.skipif(not GUIDE.exists(), reason="an installed package has no pages"),
    pytest.mark.usefixtures("eager"),
]


def sections():
    """Code of each section that has any, by its heading."""
    parts = re.split(r"^## (.*)$", GUIDE.read_text(), flags=re.MULTILINE) if GUIDE.exists() else []
    found = {head: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for head, text in zip(parts[1::2], parts[2::2])}  # noqa: B905
    return {head: blocks for head, blocks in found.items() if blocks}


@pytest.fixture
def run(monkeypatch):
    """Runs the code of a section, and returns what it defines."""
    monkeypatch.setattr(registry, "_OWN", dict(registry._OWN))

    def executed(heading, check=False):
        if not check:
            monkeypatch.setattr("keras_struct.testing.check_layer", lambda *_, **__: None)
        names = {"__name__": "guide"}
        for block in sections()[heading]:
            exec(block, names)
        return names

    return executed


@pytest.mark.parametrize("heading", sections())
def test_every_example_runs(run, heading):
    run(heading, check=True)


def test_the_residual_layer_is_edited_with_the_layer_before_it(run):
    inputs = keras.Input((4,))
    layer = run("A residual layer")["Residual"](3, name="residual")
    model = StructuralModel(inputs, keras.layers.Dense(2)(layer(keras.layers.Dense(5, name="units_before")(inputs))))
    assert dict(model.structure.axes) == {"units_before": 5}
    assert [name for name, _ in model.structure.units["units_before"].producers] == ["units_before", "residual"]
    x = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
    before = outputs(model, x)
    model.grow("units_before", 2)
    assert relative_change(before, outputs(model, x)) < 1e-6
    assert [tuple(w.shape) for w in layer.weights] == [(7, 3), (3, 7)]


def test_without_the_tie_the_residual_layer_refuses_as_the_page_says(run):
    layer = run("A residual layer")["Residual"](3, name="residual")
    rules = tuple(
        rule if rule.role == "consume" else AxisRule(rule.variable, rule.axis, rule.role) for rule in layer.unit_rules()
    )
    inputs = keras.Input((4,))
    with registry.temporary_rules(type(layer), rules):
        hidden = keras.layers.Dense(5, name="units_before")(inputs)
        model = StructuralModel(inputs, keras.layers.Dense(2)(layer(hidden)))
        with pytest.raises(ValueError, match="Cannot carry out the edit") as error:
            model.grow("units_before", 2)
    told = re.search(r"```text\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    assert str(error.value) == " ".join(told.split())


def test_new_gates_of_the_highway_layer_are_nearly_shut(run):
    inputs = keras.Input((4,))
    layer = run("A highway layer")["Highway"](carry=-3.0)
    model = StructuralModel(inputs, keras.layers.Dense(2)(layer(keras.layers.Dense(5, name="h")(inputs))))
    model.grow("h", 2)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.gate_bias), np.full(7, -3.0, "float32"))


def test_both_inputs_of_the_gate_and_a_state_that_is_passed_are_edited_with_the_layer(run):
    names = run("Several inputs, and states")
    x = keras.Input((4, 3))
    start = keras.layers.Dense(5, name="start")(keras.layers.Flatten()(x))
    state = names["Recurrence"](5, name="states")(x, state=start)
    other = keras.layers.Dense(5, name="other")(start)
    model = StructuralModel(x, keras.layers.Dense(2)(names["Gate"]()(state, other)))
    data = np.random.default_rng(0).standard_normal((6, 4, 3)).astype("float32")
    assert dict(model.structure.axes) == {"start": 5}
    assert {name for name, _ in model.structure.units["start"].producers} >= {"start", "states", "other"}
    before = outputs(model, data)
    model.grow("start", 2)
    model.split("start", [0])
    assert relative_change(before, outputs(model, data)) < 1e-5
    assert model.get_layer("states").units == 8
