"""Every policy that the library offers passes its battery: whatever is in `__all__`, without a line here for each."""

import importlib
import pkgutil
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import StructuralModel, initializers, schedules, selectors, strategies, triggers
from keras_struct.activations import relu1
from keras_struct.core.model.parts import parts_of
from keras_struct.depth import Blocks
from keras_struct.layers import FreeNet, GroupConv2D, GroupPooling2D, GrowableConv2D, GrowableDense, MaskedDense
from keras_struct.policies.policy import Policy
from keras_struct.policies.strategy import Strategy
from keras_struct.structure import ActiveConnections, Connections, Edges, Symmetries, Units
from keras_struct.testing import (
    check_initializer,
    check_schedule,
    check_selector,
    check_strategy,
    check_trigger,
    example,
)

L = keras.layers
RNG = np.random.default_rng(0)
FEW = {"candidates": 10, "steps": 2}
FEATURES = ("policies", "units", "depth", "sparse", "symmetry", "nas", "freenets", "pretrained", "search")


def import_everything():
    """Import the modules of all features, also one that nothing else imports."""
    for found in pkgutil.walk_packages(keras_struct.__path__, "keras_struct."):
        if found.name.split(".")[1] in FEATURES:
            importlib.import_module(found.name)


def is_base(kind):
    """Whether a class leaves something to its subclasses."""
    return any(getattr(getattr(kind, name), "__isabstractmethod__", False) for name in dir(kind))


def every(module, base=Policy):
    """Classes of a module that are no bases, by the names in `__all__`."""
    found = (getattr(module, name) for name in module.__all__)
    return [pytest.param(kind, id=kind.__name__) for kind in found if issubclass(kind, base) and not is_base(kind)]


def dense():
    stack = [keras.Input((5,)), GrowableDense(6, name="hidden"), L.BatchNormalization(), L.Activation(relu1)]
    return StructuralModel([*stack, L.Dense(2)])


def convolution():
    stack = [keras.Input((5, 5, 2)), GrowableConv2D(6, 3, name="hidden"), L.BatchNormalization(), L.Activation(relu1)]
    return StructuralModel([*stack, L.Flatten(), L.Dense(2)])


def masked():
    options = {"dormant": "training"}  # dynamic surgery needs it, the others work with it
    stack = [keras.Input((5,)), L.Dense(6, "relu"), MaskedDense(6, activation="relu", name="hidden", **options)]
    return StructuralModel([*stack, MaskedDense(2, name="out", **options)])


def free():
    return StructuralModel([keras.Input((5,)), FreeNet(6, name="free"), L.Dense(2)])


def residual():
    x = inputs = keras.Input((5,))
    x = L.Dense(6, name="stem")(x)
    for name in "ab":
        y = L.Dense(4, activation="relu", name=f"{name}1")(x)
        x = L.Add(name=name)([x, L.Dense(6, name=f"{name}2")(y)])
    return StructuralModel(inputs, L.Dense(2)(x))


def symmetric():
    stack = [
        keras.Input((4, 4, 1)),
        GroupConv2D(2, 3, "D4", None, name="conv"),
        L.GlobalAveragePooling2D(),
        GroupPooling2D("D4"),
    ]
    return StructuralModel([*stack, L.Dense(2)])


NETWORKS = {
    Units: dense,
    Connections: masked,
    ActiveConnections: masked,
    Edges: free,
    Blocks: residual,
    Symmetries: symmetric,
}
"""For what a strategy may work on, a network that has it."""


def data_of(model):
    return RNG.standard_normal((64, *model.input_shape[1:])).astype("float32"), RNG.standard_normal((64, 2)).astype(
        "float32"
    )


@pytest.fixture(scope="module", params=[dense, convolution], ids=["dense", "convolution"])
def measured(request):
    """Units of a layer behind which is a normalisation, with activations and gradients, after a training step."""
    keras.utils.set_random_seed(0)
    model = request.param()
    x, y = data_of(model)
    model.compile("sgd", "mse", strategy=strategies.GradMax(), probe=x, targets=y, run_eagerly=True)
    model.train_on_batch(x, y)
    return parts_of(model).runner.measured("hidden")


@pytest.fixture(scope="module")
def connections():
    keras.utils.set_random_seed(0)
    model = masked()
    x, y = data_of(model)
    model.compile("sgd", "mse", probe=x, targets=y, run_eagerly=True)
    return model.measure_connections()["hidden"]


KINDS = {
    triggers: triggers.Trigger,
    initializers: initializers.Initializer,
    selectors: (selectors.Selector, selectors.ConnectionSelector),
    schedules: (schedules.Schedule, schedules.AmountSchedule, schedules.SparsitySchedule),
    strategies: Strategy,
}


@pytest.mark.parametrize(("module", "base"), KINDS.items(), ids=[module.__name__ for module in KINDS])
def test_every_policy_of_the_library_that_is_no_base_is_offered(module, base):
    import_everything()
    known = {kind for name, kind in Policy.known.items() if name.startswith("keras_struct>") and issubclass(kind, base)}
    offered = {kind.values[0] for kind in every(module)}
    missing = {kind for kind in known - offered if not is_base(kind) and not kind.__subclasses__()}
    assert offered <= known
    assert not missing, f"add them to `__all__` of {module.__name__}, or leave something to their subclasses"


@pytest.mark.parametrize("kind", every(triggers))
def test_every_trigger_passes_the_battery(kind, measured):
    check_trigger(example(kind), measured)


@pytest.mark.parametrize("kind", every(initializers))
def test_every_initializer_passes_the_battery(kind, measured):
    initializer = example(kind)
    few = {name: value for name, value in FEW.items() if hasattr(initializer, name)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*units that axis .* is to get")
        check_initializer(replace(initializer, **few), measured)


@pytest.mark.parametrize("kind", every(selectors, selectors.Selector))
def test_every_selector_of_units_passes_the_battery(kind, measured):
    check_selector(example(kind), measured)


@pytest.mark.parametrize("kind", every(selectors, selectors.ConnectionSelector))
def test_every_selector_of_connections_passes_the_battery(kind, connections):
    check_selector(example(kind), connections)


@pytest.mark.parametrize("kind", every(schedules))
def test_every_schedule_passes_the_battery(kind):
    check_schedule(example(kind))


@pytest.mark.parametrize("kind", [kind for kind in every(strategies) if kind.values[0] is not strategies.Together])
def test_every_strategy_passes_the_battery(kind):
    build = NETWORKS[kind.works_on]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*units that axis .* is to get")
        check_strategy(example(kind), build, *data_of(build()))


def test_strategies_together_pass_the_battery():
    grow = strategies.Grow(None, initializers.RandomFanIn(), schedules.Linear(units=4, steps=4))
    strategy = strategies.Together(grow, strategies.MiddleGrow(schedules.AtSteps((3,))))
    check_strategy(strategy, residual, *data_of(residual()))
