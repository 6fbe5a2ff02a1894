"""Every strategy under mixed precision."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, sparsify, strategies
from keras_struct.core.model.parts import parts_of
from keras_struct.depth import Blocks
from keras_struct.layers import FreeNet, GroupConv2D
from keras_struct.schedules import Cubic, EveryNSteps
from keras_struct.structure import Edges, Symmetries, Units
from keras_struct.triggers import AuxiliaryGradient, EffectiveDimension, FractionOfWidth, WeightEffectiveDimension

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 8)).astype("float32")
Y = X[:, :1]
SECOND = EveryNSteps(2)
GRADIENTS = {"GradMax", "Firefly", "NeST", "RigL", "DropAndGrow", "SymmetrySchedule"}
BASES = {"BlockStrategy", "Hebbian", "Strategy"}
MADE = {
    "Grow": lambda kind: kind(FractionOfWidth(0.5), schedule=SECOND, max_units=9),
    "Prune": lambda kind: kind(FractionOfWidth(0.2), schedule=SECOND),
    "GrowAndPrune": lambda kind: kind(MADE["Grow"](strategies.Grow), MADE["Prune"](strategies.Prune)),
    "NorthWeight": lambda kind: kind(WeightEffectiveDimension(0.5), schedule=SECOND, max_units=7),
    "Dyno": lambda kind: kind(every=2, minimum=2),
    "Sparsify": lambda kind: kind(schedule=Cubic(0.5, 4, every=2)),
    "DeepRewiring": lambda kind: kind(schedule=SECOND),
    "DynamicSurgery": lambda kind: kind(schedule=SECOND),
    "FreeEvolve": lambda kind: kind(every=2, warmup=0, samples=32),
    "ExpandOnce": lambda kind: kind(at=2, blocks=3),
    "DropBlocks": lambda kind: kind(schedule=SECOND, samples=32),
    "InsertWhenSaturated": lambda kind: kind(schedule=SECOND, samples=32, share=0.0),
    "Together": lambda kind: kind(MADE["Grow"](strategies.Grow), strategies.MiddleGrow(schedule=SECOND)),
    "Synaptogenesis": lambda kind: kind(every=2, warmup=0, samples=32, threshold=0.0),
}


def made(name):
    kind = getattr(strategies, name)
    if name in MADE:
        return MADE[name](kind)
    if name.startswith("North"):
        return kind(EffectiveDimension(0.5), schedule=SECOND, max_units=7)
    return (
        kind(AuxiliaryGradient(1e-3), schedule=SECOND)
        if name in ("GradMax", "Firefly", "NeST")
        else kind(schedule=SECOND)
    )


def network(strategy):
    """A network that the strategy can work on, and its inputs."""
    x, y = (keras.Input((8,)) for _ in range(2))
    if strategy.works_on is Edges:
        return StructuralModel(x, layers.Dense(1, dtype="float32")(FreeNet(6, name="free")(x))), X
    if strategy.works_on is Blocks or isinstance(strategy, strategies.Together):
        h = layers.Dense(6, name="stem")(x)
        for name in "ab":
            h = layers.Add(name=name)([h, layers.Dense(6)(layers.Dense(4, activation="relu")(h))])
        return StructuralModel(x, layers.Dense(1, dtype="float32")(h)), X
    if strategy.works_on is Symmetries:
        image = keras.Input((4, 4, 1))
        h = GroupConv2D(2, 3, group="C4", name="conv")(image)
        model = StructuralModel(image, layers.Dense(1, dtype="float32")(layers.Flatten()(h)))
        return model, RNG.standard_normal((48, 4, 4, 1)).astype("float32")
    h = layers.Dense(6, activation="tanh", name="h")(y)
    model = keras.Model(y, layers.Dense(1, dtype="float32")(h))
    if strategy.works_on is Units:
        return StructuralModel.from_model(model), X
    return sparsify(model, dormant="training"), X


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def policy(request):
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.filterwarnings("ignore:.*units that axis .* is to get")
@pytest.mark.parametrize("name", sorted(set(strategies.__all__) - BASES))
def test_it_trains_or_says_at_compile_that_it_cannot(name, policy):
    keras.utils.set_random_seed(0)
    strategy = made(name)
    model, x = network(strategy)
    if strategy.needs_gradients and policy == "mixed_float16":
        with pytest.raises(ValueError, match="cannot work in float16"):
            model.compile("sgd", "mse", strategy=strategy)
        return
    model.compile("sgd", "mse", strategy=strategy)
    history = model.fit(x, Y, batch_size=24, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert parts_of(model).runner.policy_state is not None
    assert {layer.compute_dtype for layer in model.layers} >= {policy.removeprefix("mixed_")}


def test_every_strategy_that_needs_gradients_is_known_here():
    assert {n for n in set(strategies.__all__) - BASES if made(n).needs_gradients} == GRADIENTS
