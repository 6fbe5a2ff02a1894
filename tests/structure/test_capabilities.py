"""What layers can do is asked of protocols, or of the backend, which knows Keras; nobody tries whether an attribute is there."""

import ast
from pathlib import Path

import keras
import pytest

import keras_struct
from keras_struct.callbacks import StructureBackup, StructureTensorBoard
from keras_struct.core.structure import capabilities
from keras_struct.core.structure.capabilities import (
    Choosable,
    CountsOperations,
    HasUnitRules,
    Maskable,
    ObservesStructure,
    Reconfigurable,
    ResumesByEpoch,
    TellsActivity,
)
from keras_struct.layers import FreeNet, GroupConv2D, GrowableDense, MaskedDense, MixedOp

ROOT = Path(keras_struct.__file__).parent
ALLOWED = {
    "a function may have no name": {
        ("activations.py", "getattr(function, '__name__', '')"),
        ("core/surgery/activation.py", "getattr(function, '__name__', type(function).__name__)"),
        ("freenets/embedding.py", "getattr(function, '__name__', str(function))"),
        ("freenets/free_net.py", "getattr(activation, '__name__', activation)"),
    },
    "arrays and tensors of several libraries": {
        ("core/model/observation.py", "hasattr(part, 'toarray')"),
        ("core/model/probe_check.py", "hasattr(array, 'toarray')"),
        ("core/model/probe_check.py", "hasattr(part, 'shape')"),
        ("core/surgery/copying.py", "getattr(tensor, name, False)"),
        ("core/surgery/products.py", "hasattr(value, 'shape')"),
        ("measure/probes/buffer.py", "hasattr(inputs, 'shape')"),
        ("measure/statistics/layer_calls.py", "hasattr(leaf, 'shape')"),
        ("policies/policy.py", "hasattr(wrong, 'tolist')"),
        ("symmetry/measure.py", "hasattr(found, 'detach')"),
    },
    "whatever a user passed, looked at or named in an error": {
        ("core/model/parts.py", "getattr(model, '_structural', None)"),
        ("core/model/parts.py", "getattr(held, 'parts', None)"),
        ("core/model/parts.py", "getattr(held, 'model', held)"),
        ("core/surgery/trace.py", "getattr(model, 'name', type(model).__name__)"),
        ("pretrained/transfer.py", "getattr(model, 'name', model)"),
        ("report/widths.py", "getattr(history, 'structure', None)"),
    },
    "hyperparameters of a policy that is being made": {("policies/policy.py", "getattr(policy, name, None)")},
    "modules and import hooks": {
        ("policies/policy.py", "getattr(main, '__spec__', None)"),
        ("policies/policy.py", "getattr(main, '__file__', None)"),
        ("registration.py", "hasattr(finder, 'find_spec')"),
    },
    "KerasTuner puts a client around an oracle": {("search/tuning.py", "getattr(self.oracle, '_oracle', self.oracle)")},
}
"""What is no layer, by the reason why it is tried."""


def tries(tree):
    """Places where code tries whether there is an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called, count = ast.unparse(node.func).rpartition(".")[2], len(node.args) + len(node.keywords)
            suppresses = called == "suppress" and "AttributeError" in map(ast.unparse, node.args)
            if called == "hasattr" or (called == "getattr" and count > 2) or suppresses:
                yield ast.unparse(node)
        elif isinstance(node, ast.ExceptHandler) and "AttributeError" in names_in(node.type):
            yield f"except {ast.unparse(node.type)}"


def names_in(node):
    return set() if node is None else {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def sources():
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_nobody_tries_whether_a_layer_has_an_attribute():
    found = {(name, text) for name, tree in sources() if not name.startswith("core/backend/") for text in tries(tree)}
    allowed = set().union(*ALLOWED.values())
    assert found - allowed == set(), (
        "ask isinstance(layer, <protocol of core/structure/capabilities.py>), network.having(<protocol>), or a function of "
        "core/backend that knows Keras"
    )
    assert allowed - found == set(), "no longer there: take it from the list"


@pytest.mark.parametrize(
    "code",
    [
        "if hasattr(layer, 'mask'): pass",
        "x = getattr(layer, 'mask', None)",
        "try:\n    layer.mask\nexcept AttributeError:\n    pass",
        "try:\n    layer.mask\nexcept (ValueError, AttributeError) as error:\n    pass",
        "with contextlib.suppress(AttributeError):\n    layer.mask",
    ],
)
def test_each_way_of_trying_is_found(code):
    assert len(list(tries(ast.parse(code)))) == 1
    assert list(tries(ast.parse("getattr(layer, name)\nisinstance(layer, Maskable)"))) == []


def test_only_the_model_looks_for_what_belongs_to_it():
    def mentions(tree):
        return any(
            (isinstance(node, ast.Attribute) and node.attr == "_structural")
            or (isinstance(node, ast.Constant) and node.value == "_structural")
            for node in ast.walk(tree)
        )

    found = {name for name, tree in sources() if mentions(tree)}
    assert found == {"core/model/parts.py", "core/model/structural_model.py"}, (
        "call parts_of, find_parts or parts_behind"
    )


def test_layers_have_the_capabilities_that_they_are_asked_for():
    asked = (HasUnitRules, Maskable, Reconfigurable, Choosable, TellsActivity, CountsOperations)
    expected = {
        GrowableDense(2): {HasUnitRules},
        MaskedDense(2): {HasUnitRules, Maskable},
        FreeNet(2): {HasUnitRules, Maskable, TellsActivity, CountsOperations},
        GroupConv2D(2, 3, "C2"): {Reconfigurable, CountsOperations},
        MixedOp([keras.layers.Dense(2)]): {Reconfigurable, Choosable},
        keras.layers.Dense(2): set(),
    }
    for layer in expected:
        layer.build((None, 4, 4, 2) if isinstance(layer, GroupConv2D) else (None, 3))
    found = {layer.name: {one for one in asked if isinstance(layer, one)} for layer in expected}
    assert found == {layer.name: capable for layer, capable in expected.items()}


def test_callbacks_say_what_they_take_part_in(tmp_path):
    assert isinstance(StructureTensorBoard(str(tmp_path)), ObservesStructure)
    assert isinstance(StructureBackup(tmp_path), ResumesByEpoch)
    assert not isinstance(keras.callbacks.Callback(), ObservesStructure | ResumesByEpoch)


def test_every_capability_can_be_asked_for():
    kinds = [kind for kind in vars(capabilities).values() if getattr(kind, "_is_protocol", False) and kind.__doc__]
    own = [kind for kind in kinds if kind.__module__ == capabilities.__name__]
    assert len(own) > 10
    assert [kind.__name__ for kind in own if isinstance(object(), kind)] == []
