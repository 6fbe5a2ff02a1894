"""A layer of one's own that cannot do what its unit rules say refuses an edit, which leaves the model as it was."""

import keras
import numpy as np
import pytest

from keras_struct import AxisRule, StructuralModel
from keras_struct.testing import check_layer

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
