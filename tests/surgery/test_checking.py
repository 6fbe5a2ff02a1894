"""A layer of one's own that cannot do what its unit rules say refuses an edit, which leaves the model as it was."""

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, StructuralModel, register_unit_rules
from keras_struct.testing import check_layer
from keras_struct.testing.preservation import outputs

X = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")


class Square(keras.layers.Layer):
    """Adds to its input what a square kernel makes of it, and says that it makes units."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return x + keras.ops.matmul(x, self.kernel)

    def unit_rules(self):
        return (AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce"))


@pytest.mark.parametrize("compiled", [False, True])
def test_an_edit_that_a_layer_cannot_follow_is_refused_and_undone(compiled):
    x = keras.Input((4,))
    model = StructuralModel(x, keras.layers.Dense(2)(Square(name="square")(keras.layers.Dense(4, name="h")(x))))
    if compiled:
        model.compile("adam", "mse", run_eagerly=True)
        model.train_on_batch(X, X[:, :2])
    before = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.variables]
    for axis in ("h", "square"):
        with pytest.raises(ValueError, match=r"layer 'square' \(Square\) does not do with it what its unit rules say"):
            model.grow(axis, 2)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable.value))
    assert model.structure.axes == {"h": 4, "square": 4}
    model(X)


def test_a_layer_without_units_of_its_own_is_named_by_the_battery():
    class Width(Square):
        def unit_rules(self):
            return (AxisRule("kernel", 0, "consume"),)

    keras.saving.register_keras_serializable("test")(Width)
    with pytest.raises(AssertionError, match="makes no units that can be edited"):
        check_layer(Width(), (4,))


class Projection(keras.layers.Layer):
    """A layer whose configuration Keras makes of the arguments of its constructor."""

    def __init__(self, units, size=None, **options):
        super().__init__(**options)
        self.units, self.size = units, size

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)

    def unit_rules(self):
        return AxisRule("kernel", 0, "consume"), AxisRule("kernel", 1, "produce", size=self.size)


def projected(size):
    x = keras.Input((4,))
    hidden = keras.layers.Dense(4, name="h")(x)
    return StructuralModel(x, keras.layers.Dense(2)(Projection(3, size, name="p")(hidden)))


def test_the_size_of_a_layer_without_a_config_of_its_own_is_saved(tmp_path):
    keras.saving.register_keras_serializable("test")(Projection)
    model = projected("units")
    model.grow("p", 2)
    model.grow("h", 1)
    assert model.get_layer("p").get_config()["units"] == 5
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(outputs(loaded, X), outputs(model, X))


def test_an_edit_after_which_a_layer_could_not_be_loaded_is_refused():
    model = projected(None)
    before = keras.ops.convert_to_numpy(model(X))
    with pytest.raises(
        ValueError, match=r"'p' \(Projection\) could not be loaded after it.*shape \(4, 3\).*\(4, 5\).*size="
    ):
        model.grow("p", 2)
    assert model.structure.axes == {"h": 4, "p": 3}
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(X)), before)
    model.grow("h", 1)


def test_an_edit_that_is_refused_leaves_the_arguments_that_are_saved():
    class Doubled(Projection):
        def __init__(self, units, **options):
            super().__init__(2 * units, "units", **options)

    keras.saving.register_keras_serializable("test")(Doubled)
    model = StructuralModel([keras.Input((4,)), Doubled(3, name="p"), keras.layers.Dense(2)])
    before = model.get_layer("p").get_config()
    with pytest.raises(ValueError, match="could not be loaded after it"):
        model.grow("p", 1)
    assert model.get_layer("p").get_config() == before
    assert before["units"] == 3
    assert model.get_layer("p").units == 6


def test_looking_at_a_configuration_allocates_and_draws_nothing():
    import random

    from keras_struct.core.backend import keras_internals

    layer = Projection(3, "units")
    layer.build((None, 10**7))
    random.seed(1)
    state = random.getstate()
    assert keras_internals.shapes_by_config(layer) == {"kernel": (10**7, 3)}
    assert random.getstate() == state
    assert not keras_internals.shapes.global_state.get_global_attribute("uninitialized_variables")


def test_rules_that_are_none_are_refused_when_the_model_is_made():
    with pytest.raises(ValueError, match=r"says that its attribute 'unitz' holds how many units"):
        projected("unitz")
    with pytest.raises(ValueError, match=r"says that its attribute 'units' holds how many units"):
        projected("cell/units")

    class Ruled(Projection):
        def unit_rules(self):
            return self.size

    for wrong in (None, "kernel", (("kernel", 0, "consume"),)):
        with pytest.raises(TypeError, match=r"must be a tuple of AxisRule.*Received"):
            StructuralModel([keras.Input((4,)), Ruled(3, wrong), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="`unit_rules` of Ruled must be a function"):
        register_unit_rules(Ruled, (AxisRule("kernel", 0, "consume"),))


def test_the_battery_finds_a_layer_that_does_not_say_what_it_reads():
    class Deaf(Projection):
        def unit_rules(self):
            return (AxisRule("kernel", 1, "produce", size="units"),)

    keras.saving.register_keras_serializable("test")(Deaf)
    with pytest.raises(AssertionError, match=r"units added before layer .*the edit is refused.*\(Deaf\)"):
        check_layer(Deaf(3), (4,))
    check_layer(Deaf(3), (4,), reads=False)
