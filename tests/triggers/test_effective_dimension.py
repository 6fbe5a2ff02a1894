"""Equations 27, 28 and 35 by hand."""

import dataclasses
import importlib

import numpy as np
import pytest

from keras_struct.measurements import AxisMeasurement
from keras_struct.policies.policy import Policy, pack, unpack
from keras_struct.triggers import BaselineRatio, EffectiveDimension, OrthogonalityGap, WeightEffectiveDimension


@dataclasses.dataclass(frozen=True)
class Halved(BaselineRatio):
    """A measure of one's own."""

    def measure(self, measured):
        return 0.5


def measured(rank, units, kind="dense", samples=1000):
    gram = np.diag([1.0] * rank + [0.0] * (units - rank))
    return AxisMeasurement("h", units, None, kind, (), gram=lambda: gram, samples=lambda: samples)


@pytest.mark.parametrize(
    ("rank", "units", "start", "gamma", "floor", "ceil"),
    [
        (64, 64, 1.0, 0.97, 1, 2),
        (64, 64, 1.0, 1.0, 0, 0),
        (60, 64, 1.0, 0.97, 0, 0),
        (10, 20, 0.25, 1.0, 5, 5),
        (9, 20, 0.4, 0.5, 5, 5),
    ],
)
def test_the_count_is_what_the_rank_exceeds_the_threshold_by(rank, units, start, gamma, floor, ceil):
    for rounding, expected in (("floor", floor), ("ceil", ceil)):
        count, state = EffectiveDimension(gamma=gamma, rounding=rounding)(measured(rank, units), start)
        assert count == expected
        assert state == start


def test_the_baseline_of_a_convolution_is_the_running_maximum_updated_after_use():
    trigger = EffectiveDimension(gamma=1.0)
    state = trigger.init(measured(2, 10, "conv"))
    assert state == 0.2
    count, state = trigger(measured(7, 10, "conv"), state)
    assert (count, state) == (5, 0.7)
    assert trigger(measured(7, 10, "conv"), state) == (0, 0.7)
    assert EffectiveDimension(gamma=1.0, baseline="initial")(measured(7, 10, "conv"), 0.2) == (5, 0.2)
    assert EffectiveDimension(gamma=1.0, baseline="running_max")(measured(7, 10), 0.2) == (5, 0.7)


def test_it_refuses_fewer_rows_than_units_and_says_what_to_raise():
    with pytest.raises(ValueError, match=r"64 units but only 64 rows.*Give more samples"):
        EffectiveDimension()(measured(64, 64, samples=64), 1.0)


@pytest.mark.parametrize("wrong", [{"gamma": 0}, {"epsilon": -1.0}, {"baseline": "mean"}, {"rounding": "nearest"}])
def test_it_refuses_values_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EffectiveDimension(**wrong)


@pytest.mark.parametrize("module", ["keras_struct.triggers", "keras_struct.units.triggers.effective_dimension"])
def test_the_old_name_of_the_base_is_deprecated(module):
    with pytest.warns(DeprecationWarning, match=r"triggers\S*\.Orthogonality is deprecated: it is BaselineRatio now"):
        assert importlib.import_module(module).Orthogonality is BaselineRatio
    with pytest.warns(DeprecationWarning, match="it is BaselineRatio now"):
        exec(f"from {module} import Orthogonality")
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Orthogonal'"):
        _ = importlib.import_module(module).Orthogonal


def test_arguments_without_names_stay_in_their_order():
    values = (0.9, 0.05, "initial", "ceil", 0.5)
    for kind in (EffectiveDimension, WeightEffectiveDimension):
        made = kind(*values)
        assert (made.gamma, made.epsilon, made.baseline, made.rounding, made.start) == values


def test_only_measures_with_a_threshold_of_singular_values_have_one():
    named = {
        kind: {field.name for field in dataclasses.fields(kind)} for kind in (EffectiveDimension, OrthogonalityGap)
    }
    assert named[EffectiveDimension] - named[OrthogonalityGap] == {"epsilon"}
    with pytest.raises(TypeError, match="epsilon"):
        OrthogonalityGap(epsilon=0.01)


@pytest.mark.parametrize("kind", [OrthogonalityGap, Halved])
def test_models_that_were_saved_with_a_threshold_without_effect_load(kind):
    data = pack(kind(gamma=0.9, rounding="ceil"))
    assert unpack({**data, "config": {**data["config"], "epsilon": 0.01}}) == kind(gamma=0.9, rounding="ceil")
    with pytest.raises(TypeError, match="epsilom"):
        unpack({**data, "config": {**data["config"], "epsilom": 0.01}})
    with_threshold = pack(EffectiveDimension(epsilon=0.2))
    assert unpack(with_threshold).epsilon == 0.2


def test_the_registered_name_of_before_is_known():
    assert Policy.known["keras_struct>Orthogonality"] is BaselineRatio
    assert BaselineRatio.registered_name == "keras_struct>BaselineRatio"
