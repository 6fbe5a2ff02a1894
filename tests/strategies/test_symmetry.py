"""Symmetries that are loosened where gradients pull, and tightened where weights have come to them."""

from dataclasses import dataclass, field

import keras
import numpy as np
import pytest

from keras_struct import Reconfigure, StructuralModel
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GroupBatchNormalization, GroupConv2D, GroupPooling2D
from keras_struct.measure.measurements.gradients import no_batch
from keras_struct.measurements import SymmetryMeasurement
from keras_struct.policies.policy import pack, unpack
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import SymmetrySchedule
from keras_struct.symmetry import Group, project

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 7, 7, 1)).astype("float32")


@dataclass(frozen=True, eq=False)
class Given(SymmetryMeasurement):
    """A layer whose pulls and distances are given by the name of the group; others are 1."""

    pulls: dict = field(default_factory=dict)
    distances: dict = field(default_factory=dict)

    def pull(self, group):
        return self.pulls.get(group.name, 1.0)

    def distance(self, group):
        return self.distances.get(group.name, 1.0)


def given(group, pulls=(), distances=()):
    facts = {"kernel": no_batch, "followers": ("norm",), "pulls": dict(pulls), "distances": dict(distances)}
    return Given("conv", group, Group("D4"), lifting=False, **facts)


def test_a_layer_is_relaxed_to_the_group_out_of_which_its_gradient_pulls_least():
    measured = given(Group("D4"), {"D4": 0.8, "C4": 0.6, "D2": 0.3})
    strategy, state = SymmetrySchedule(0.7, patience=1), {}
    edits, _ = strategy.propose(1, {"conv": measured}, state)
    assert edits == [Reconfigure("conv", {"group": "D2"}), Reconfigure("norm", {"group": "D2"})]
    assert SymmetrySchedule(0.9, patience=1).propose(1, {"conv": measured}, state)[0] == []


def test_shares_are_averaged_over_looks_and_forgotten_after_an_edit():
    strategy, state = SymmetrySchedule(0.5, momentum=0.5, patience=2), {}
    looks = []
    for pull in (0.9, 0.2, 0.9, 0.9):
        edits, state = strategy.propose(1, {"conv": given(Group("C2"), {"C2": pull})}, state)
        looks.append(bool(edits))
    # means: 0.9 (first evaluation), 0.43, 0.7, then again
    assert looks == [False, False, True, False]
    assert state["conv"][1] == 1


def test_a_layer_without_symmetry_cannot_be_relaxed():
    assert SymmetrySchedule(0.0, patience=1).propose(1, {"conv": given(Group("C1"))}, {})[0] == []


def test_a_layer_is_constrained_to_the_largest_group_that_it_is_near_to():
    measured = given(Group("C2"), distances={"C4": 0.05, "D2": 0.08, "D4": 0.2})
    strategy = SymmetrySchedule(None, constrain_below=0.1)
    edits, _ = strategy.propose(1, {"conv": measured}, {})
    assert edits[0].config["group"] in ("C4", "D2")
    measured.distances["D4"] = 0.09
    assert strategy.propose(1, {"conv": measured}, {})[0][0].config == {"group": "D4"}
    measured.distances.clear()
    assert strategy.propose(1, {"conv": measured}, {})[0] == []


def test_a_layer_that_was_relaxed_is_left_alone_for_a_while():
    strategy, state, edited = SymmetrySchedule(0.5, 0.1, patience=1, rest=3), {}, []
    group, near = Group("C4"), {"C4": 0.0, "D4": 0.5, "D2": 0.5}  # right after relaxing, weights are as they were
    for look in range(5):
        measured = given(group, {str(group): 0.9 if look == 0 else 0.0}, dict(near))
        edits, state = strategy.propose(1, {"conv": measured}, state)
        if edits:
            group = Group(edits[0].config["group"])
            edited.append((look, group.name))
    assert edited == [(0, "C2"), (4, "C4")]


def test_a_number_is_no_schedule():
    with pytest.raises(TypeError, match="such as EveryNSteps"):
        SymmetrySchedule(0.5, schedule=7)


def network(group="D4"):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((7, 7, 1))
    x = GroupConv2D(3, 3, group, padding="same", activation="tanh", name="c0")(inputs)
    x = GroupBatchNormalization(group, momentum=0.8, name="n0")(x)
    x = GroupConv2D(2, 3, group, group, activation="tanh", name="c1")(x)
    x = GroupPooling2D(group)(keras.layers.GlobalAveragePooling2D()(x))
    return StructuralModel(inputs, keras.layers.Dense(1)(x))


def test_the_pull_is_that_of_the_gradient_by_the_expanded_kernel():
    model, y = network("C4"), X.mean((1, 2))
    model.compile("sgd", "mse", strategy=SymmetrySchedule(), probe=X, targets=y)
    measured = parts_of(model).runner.targets.measure(None, dict)["c1"]
    layer = model.get_layer("c1")
    plain = model.to_plain()
    for other in plain.layers:
        other.trainable = other.name == "c1"
    kernel = np.array(keras.ops.convert_to_numpy(plain.get_layer("c1").kernel))
    for other in plain.layers:
        if isinstance(other, keras.layers.BatchNormalization):
            other.trainable = False
    plain.compile(keras.optimizers.SGD(1.0), "mse")
    plain.train_on_batch(X, y)
    gradient = kernel - keras.ops.convert_to_numpy(plain.get_layer("c1").kernel)
    for name in ("C4", "C2", "D4"):
        group = Group(name)
        rest = gradient - project(gradient.astype(float), group, layer.frame, False)
        expected = np.linalg.norm(rest) / np.linalg.norm(gradient)
        assert measured.pull(group) == pytest.approx(expected, rel=1e-2)
        assert measured.distance(group) == pytest.approx(float(layer.equivariance_distance(group)), abs=1e-5)
    assert measured.followers == ()
    assert parts_of(model).runner.targets.measure(None, dict)["c0"].followers == ("n0",)


def test_training_relaxes_where_the_data_have_no_symmetry_and_logs_it():
    model, y = network(), X[:, 1, 1]  # one corner alone matters
    strategy = SymmetrySchedule(0.3, schedule=EveryNSteps(2), patience=2)
    model.compile(keras.optimizers.Adam(0.01), "mse", strategy=strategy)
    model.fit(X, y, batch_size=8, epochs=10, verbose=0)
    relaxed = {name for name, group in model.symmetries.items() if group != Group("D4")}
    assert relaxed
    assert {event.edit for event in model.structure_log} == {"Reconfigure"}
    assert model.symmetries["n0"] == model.symmetries["c0"]
    assert parts_of(model).editor.retraces == 0


def test_training_constrains_what_has_become_symmetric():
    model = network("C1")
    model.get_layer("c0").kernel.assign(np.array(0.3) * np.ones(model.get_layer("c0").kernel.shape))
    model.compile(keras.optimizers.SGD(0.0), "mse", strategy=SymmetrySchedule(None, 0.1, EveryNSteps(1)))
    model.fit(X, X.mean((1, 2)), verbose=0)
    assert model.symmetries["c0"] == Group("D4")
    assert model.symmetries["c1"] == Group("C1")


def test_strategies_survive_saving():
    strategy = SymmetrySchedule(0.4, 0.1, EveryNSteps(7), layers=["c0"])
    assert unpack(pack(strategy)) == strategy


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"relax_above": None}, "needs `relax_above` or `constrain_below`"),
        ({"relax_above": 2.0}, "from 0 to 1"),
        ({"momentum": 1.0}, "`momentum` from 0 up to 1"),
        ({"rest": -1}, "`rest` not negative"),
    ],
)
def test_bad_arguments_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        SymmetrySchedule(**options)


def test_models_and_layers_without_symmetry_are_refused():
    plain = StructuralModel([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="the model has no GroupConv2D"):
        plain.compile("sgd", "mse", strategy=SymmetrySchedule())
    with pytest.raises(ValueError, match=r"cannot edit layers \['n0'\]: group convolutions are \['c0', 'c1'\]"):
        network().compile("sgd", "mse", strategy=SymmetrySchedule(layers="n0"))
