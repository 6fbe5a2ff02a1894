"""Features give structural models methods."""

import keras
import pytest

from keras_struct import StructuralModel
from keras_struct.core.model.methods import model_methods
from keras_struct.layers import GrowableDense


@pytest.fixture
def model():
    return StructuralModel(
        [keras.Input((3,)), GrowableDense(4, name="h"), GrowableDense(6, name="g"), keras.layers.Dense(1)]
    )


def test_every_model_has_methods_and_properties_that_a_feature_gives(model):
    @model_methods
    class Reports:
        @property
        def total_units(self):
            return sum(self.structure.axes.values())

        def broadest(self):
            return (
                self._largest() if hasattr(self, "_largest") else max(self.structure.axes, key=self.structure.axes.get)
            )

        def _largest(self):
            raise AssertionError("what begins with an underscore stays with its class")

    try:
        assert model.total_units == 10
        assert model.broadest() == "g"
    finally:
        del StructuralModel.total_units, StructuralModel.broadest


@pytest.mark.parametrize("name", ["fit", "apply", "grow"])
def test_a_name_that_is_taken_is_refused(name):
    owner = "UnitEdits" if name == "grow" else "Keras or StructuralModel"
    with pytest.raises(ValueError, match=f"have '{name}' already, from {owner}"):
        model_methods(type("Mine", (), {name: lambda self: None}))
