"""Where measurements can be imported from, and what that brings along."""

import subprocess
import sys

from keras_struct import measurements, probes
from keras_struct.measure.probes import axis_gradients
from keras_struct.sparse import gradients as connections
from keras_struct.symmetry import gradients as symmetry


def test_measurements_are_found_where_they_are_made_too():
    for name in ("AxisMeasurement", "FanIn", "FanOut"):
        assert getattr(probes, name) is getattr(measurements, name)
    assert axis_gradients.AxisGradients is measurements.AxisGradients
    assert connections.ConnectionMeasurement is measurements.ConnectionMeasurement
    assert symmetry.SymmetryMeasurement is measurements.SymmetryMeasurement


def test_policies_and_what_they_see_are_used_without_keras():
    script = """
import sys
from keras_struct import initializers, measurements, schedules, selectors, strategies, triggers
measured = measurements.AxisMeasurement("h", 4, 8, "dense", (), loss=1.0)
strategy = strategies.Grow(triggers.FractionOfWidth(), initializers.RandomFanIn(), schedules.EveryNSteps(1))
edits, state = strategy.propose(1, {"h": measured}, strategy.init({"h": measured}))
assert len(edits[0].source) == 5, edits
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules), "a backend was imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
