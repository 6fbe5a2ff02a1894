"""What policies see of connections and of symmetry."""

import numpy as np
import pytest

from keras_struct.measurements import Coactivation, ConnectionMeasurement, SymmetryMeasurement
from keras_struct.symmetry import Group, project

RNG = np.random.default_rng(0)
MASK = np.array([[True, False, True], [False, False, True]])


def connections(**more):
    return ConnectionMeasurement("d", MASK, RNG.standard_normal(MASK.shape), **more)


def test_all_connections_are_possible_unless_the_layer_says_which():
    measured = connections()
    assert measured.possible.all()
    assert measured.possible.shape == MASK.shape
    assert (measured.count, measured.size) == (3, 6)
    assert connections(possible=np.tri(2, 3, dtype=bool)).size == 3


def test_without_a_batch_or_inputs_it_is_said_what_to_pass():
    for part in ("gradients", "squared_gradients"):
        with pytest.raises(ValueError, match="no batch with targets"):
            getattr(connections(), part)()
    for threshold in ((), (0.5,)):
        with pytest.raises(ValueError, match="pass `probe=x` to compile"):
            connections().activity(*threshold)


def test_activity_takes_a_threshold():
    asked = []

    def activity(threshold=None):
        asked.append(threshold)
        return Coactivation.of(np.ones((4, 2), bool), np.ones((4, 3), bool))

    measured = connections(activity=activity)
    assert measured.activity().together.tolist() == measured.activity(0.5).together.tolist() == [[1.0] * 3] * 2
    assert asked == [None, 0.5]


def symmetry(kernel, **more):
    return SymmetryMeasurement("c", Group("C1"), Group("D4"), True, lambda: kernel, **more)


def test_a_kernel_is_as_far_from_a_group_as_its_projection_on_it():
    kernel = RNG.standard_normal((3, 3, 2, 8))
    symmetric = project(kernel, Group("C4"), Group("D4"), True)
    expected = np.linalg.norm(kernel - symmetric) / np.linalg.norm(kernel)
    assert symmetry(kernel).distance(Group("C4")) == pytest.approx(expected)
    assert symmetry(symmetric).distance(Group("C4")) == pytest.approx(0.0, abs=1e-12)
    assert symmetry(kernel).distance(Group("C1")) == pytest.approx(0.0, abs=1e-12)
    assert symmetry(np.zeros_like(kernel)).distance(Group("C4")) == 0.0


def test_the_pull_is_that_of_the_gradient():
    kernel, gradient = RNG.standard_normal((2, 3, 3, 2, 8))
    measured = symmetry(kernel, gradient=lambda: gradient)
    assert measured.pull(Group("D4")) == symmetry(gradient).distance(Group("D4"))
    with pytest.raises(ValueError, match="no batch with targets"):
        symmetry(kernel).pull(Group("D4"))
