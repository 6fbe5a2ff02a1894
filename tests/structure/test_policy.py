"""Policies are known by registered names, which cannot be taken by others."""

import re
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, registration
from keras_struct.initializers import RandomFanIn
from keras_struct.policies.initializer import Initializer
from keras_struct.policies.layer_strategy import LayerStrategy
from keras_struct.policies.policy import Policy, pack, unpack
from keras_struct.policies.strategy import checked_proposal
from keras_struct.policies.trigger import Trigger
from keras_struct.strategies import Grow, NorthSelect, Prune
from keras_struct.triggers import EffectiveDimension, FractionOfWidth


def define(name, module, package=None, places=1, **options):
    """Define a class of policies as a module of that name would."""
    space = {"__module__": module, "__qualname__": name, "__annotations__": {"places": int}, "places": places}
    options |= {} if package is None else {"package": package}
    return dataclass(frozen=True)(type(Policy)(name, (Policy,), space, **options))


@pytest.fixture(autouse=True)
def _restore(monkeypatch):
    monkeypatch.setattr(Policy, "known", dict(Policy.known))


def test_a_users_class_of_the_same_name_does_not_take_the_place_of_the_librarys():
    own = define("NorthSelect", "my_methods.growing")
    assert own.registered_name == "my_methods>NorthSelect"
    assert unpack(pack(NorthSelect(max_units=9))) == NorthSelect(max_units=9)
    assert unpack(pack(own(3))) == own(3)


@pytest.mark.parametrize(
    ("attributes", "package"),
    [
        ({"__spec__": None, "__file__": "somewhere/my_script.py"}, "my_script"),
        ({"__spec__": None}, "__main__"),
        ({"__spec__": ModuleSpec("my_methods.__main__", None), "__file__": "x.py"}, "my_methods"),
    ],
)
def test_classes_of_a_script_are_called_after_its_file_and_those_of_a_notebook_are_not(
    attributes, package, monkeypatch
):
    main = ModuleType("__main__")
    vars(main).update(attributes)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert define("Patience", "__main__").registered_name == f"{package}>Patience"


@pytest.mark.parametrize("answer", [None, [], ([],), ([], {}, {}), ("edits", {}), [[], {}]])
def test_a_strategy_returns_edits_and_a_state(answer):
    strategy = Grow(Small())
    assert checked_proposal(strategy, ((), {"a": 1}), first=True) == ([], {"a": 1})
    with pytest.raises(TypeError, match="must return a list of edits and its new state"):
        checked_proposal(strategy, answer, first=True)


def test_what_a_strategy_remembers_is_looked_into_the_first_time_only():
    answer = [], {"a": np.ones(2)}
    assert checked_proposal(Grow(Small()), answer, first=False) == ([], answer[1])
    with pytest.raises(TypeError, match="cannot be saved with the model"):
        checked_proposal(Grow(Small()), answer, first=True)


def test_two_classes_of_one_registered_name_are_refused():
    define("Patience", "one", package="shared")
    with pytest.raises(ValueError, match=r"'shared>Patience' is: it is the registered name of one\.Patience"):
        define("Patience", "two", package="shared")
    with pytest.raises(ValueError, match="package='my_package'"):
        define("NorthSelect", "mine", package="keras_struct")


def test_a_class_may_be_defined_again_in_its_place_as_in_a_notebook():
    first = define("Patience", "__main__")
    second = define("Patience", "__main__", places=2)
    assert type(unpack(pack(first()))) is second


@pytest.mark.parametrize("aliases", [("mine>Waiting", "mine>Patient"), "mine>Waiting"])
def test_a_class_that_was_renamed_loads_under_its_old_names(aliases):
    kind = define("Patience", "mine", aliases=aliases)
    assert unpack({"registered_name": "mine>Waiting", "module": "mine", "config": {"places": 3}}) == kind(3)
    assert pack(kind())["registered_name"] == "mine>Patience"


def test_an_old_name_that_is_another_classs_is_refused_and_nothing_registered():
    define("Waiting", "mine")
    with pytest.raises(ValueError, match=r"'mine>Waiting' is: it is the registered name of mine\.Waiting already"):
        define("Patience", "mine", aliases=("mine>Waiting",))
    assert "mine>Patience" not in Policy.known
    with pytest.raises(
        ValueError, match=r"must be registered names, 'package>Name'. Received: \['Waited'\].*mine>Waited"
    ):
        define("Patience", "mine", aliases=("Waited",))


def test_an_unknown_policy_is_named_with_the_module_to_import():
    data = pack(define("Patience", "my_methods.growing")())
    del Policy.known["my_methods>Patience"]
    with pytest.raises(
        ValueError, match=r"'Patience' of 'my_methods'.*import my_methods\.growing.*compile=False"
    ) as found:
        unpack(data)
    assert len(str(found.value)) < 500
    assert "There is" not in str(found.value)
    with pytest.raises(ValueError, match=r"There is keras_struct>Grow, which is another class"):
        unpack({"registered_name": "my_methods>Grow", "config": {}})


def test_only_the_librarys_own_policies_are_looked_for_and_only_those_that_are_not_there_yet(monkeypatch):
    looked = []
    monkeypatch.setattr(registration, "import_policies", lambda: looked.append(1) or Policy.known.update(kept))
    kept, saved = {"keras_struct>Grow": Grow}, pack(Grow(Small()))
    del Policy.known["keras_struct>Grow"]
    assert unpack(saved) == Grow(Small())
    assert unpack(saved) == Grow(Small())
    assert unpack(pack(Small())) == Small()
    assert looked == [1]


class Small(FractionOfWidth):
    """A trigger of one's own, without a hyperparameter more."""


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: Grow("good"),
            r"`trigger` of Grow must be a Trigger, such as EffectiveDimension\(\) or None. Received",
        ),
        (lambda: Grow(Small), r"Make one of the class: Small\(\)"),
        (lambda: Grow(Small(), "glorot_uniform"), r"an Initializer, such as RandomFanIn\(\).*'glorot_uniform'"),
        (lambda: Grow(Small(), schedule=10), r"a Schedule, such as EveryNSteps\(10\)"),
        (lambda: Grow(Small(), max_units="64"), "a whole number, a dictionary or None. Received: max_units='64'"),
        (lambda: Prune(Small(), selector="l1"), r"a Selector, such as SmallestNorm\(\)"),
        (lambda: EffectiveDimension(gamma="high"), "`gamma` of EffectiveDimension must be a number"),
    ],
)
def test_hyperparameters_of_another_kind_are_refused_where_they_are_given(make, expected):
    with pytest.raises(TypeError, match=expected):
        make()


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "a whole number"),
        (str | None, "a string or None"),
        (int | float | bool | None, "a whole number, a number, True or False or None"),
        (Trigger | None, "a Trigger, such as EffectiveDimension() or None"),
        (Initializer, "an Initializer, such as RandomFanIn()"),
        (Policy, "a Policy"),
    ],
)
def test_all_that_a_hyperparameter_may_be_is_said(annotation, expected):
    space = {"__module__": "mine", "__qualname__": "Fresh", "__annotations__": {"value": annotation}}
    kind = dataclass(frozen=True)(type(Policy)("Fresh", (Policy,), space))
    with pytest.raises(TypeError, match=re.escape(f"`value` of Fresh must be {expected}. Received: value=<object")):
        kind(object())


@dataclass(frozen=True)
class Least(LayerStrategy):
    """Says no more than a strategy must."""

    def due(self, step, since=None):
        return False

    def propose(self, step, measurements, state, since=None):
        return [], state


def test_a_strategy_needs_to_say_no_more_than_when_and_what():
    least = Least()
    assert least.limits({"a": 3}) == least.init({}) == least.cautions({}, {}) == least.idle({}, {}) == {}
    assert least.requirements() == frozenset()
    assert not least.needs_inputs
    assert not least.needs_gradients
    assert [Least(layers=layers).axes for layers in (None, "ab", ["a", "b"])] == [None, ("ab",), ("a", "b")]


def test_numbers_of_numpy_are_numbers():
    assert Grow(Small(), max_units=np.int64(9)).max_units == 9
    assert EffectiveDimension(gamma=np.float32(0.5)).gamma == 0.5


def test_an_empty_list_of_axes_is_refused():
    with pytest.raises(ValueError, match=r"`axes` names no axis for Grow to grow. Received: axes=\(\)"):
        Grow(Small(), axes=())


def test_a_trigger_that_answers_with_fewer_than_no_units_is_refused():
    class Negative(FractionOfWidth):
        def __call__(self, measured, state):
            return -1, state

    model = StructuralModel([keras.Input((4,)), keras.layers.Dense(3, name="h"), keras.layers.Dense(1)])
    model.compile("sgd", "mse", strategy=Grow(Negative()), run_eagerly=True)
    with pytest.raises(ValueError, match=r"Negative must return 0 or more units to grow. Received for axis 'h': -1"):
        model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    assert model.structure.axes["h"] == 3


def test_an_initializer_of_kernels_is_none_of_units():
    model = StructuralModel([keras.Input((4,)), keras.layers.Dense(3, name="h"), keras.layers.Dense(1)])
    for wrong in ("glorot_uniform", keras.initializers.GlorotUniform()):
        with pytest.raises(
            TypeError, match=r"must be an initializer of units, such as keras_struct.initializers.Random"
        ):
            model.grow("h", 1, wrong)
    with pytest.raises(TypeError, match=r"such as RandomFanIn\(\)"):
        model.grow("h", 1, RandomFanIn)
