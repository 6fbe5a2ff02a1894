"""Group actions as bijectors obey the group's table, and are what the index tables do."""

import numpy as np
import pytest

from keras_struct.symmetry.bijectors import grid_bijector, regular_bijector
from keras_struct.symmetry.groups import Group, act_on_grid, inverse, product
from keras_struct.symmetry.tables import act_on_features

X = np.random.default_rng(0).random((2, 5, 5)).astype("float32")


@pytest.mark.parametrize("element", range(8))
def test_grids_are_turned_as_by_the_tables(element):
    bijector = grid_bijector(element)
    expected = np.stack([act_on_grid(element, x) for x in X])
    np.testing.assert_array_equal(bijector.forward(X), expected)
    np.testing.assert_array_equal(bijector.inverse(X), grid_bijector(inverse(element)).forward(X))
    assert float(np.sum(bijector.forward_log_det_jacobian(X, event_ndims=2))) == 0


@pytest.mark.parametrize("name", ["C4", "D2", "D4"])
def test_fields_are_permuted_as_by_the_tables_and_compose_like_the_elements(name):
    frame = Group(name)
    x = np.random.default_rng(0).random((3, frame.order)).astype("float32")
    for a in frame.elements:
        expected = act_on_features(a, x[:, None, None, :], frame)[:, 0, 0]
        np.testing.assert_array_equal(regular_bijector(frame, a).forward(x), expected)
        for b in frame.elements:
            twice = regular_bijector(name, a).forward(regular_bijector(name, b).forward(x))
            np.testing.assert_array_equal(twice, regular_bijector(name, product(a, b)).forward(x))
    with pytest.raises(ValueError, match="Element 9 is none of"):
        regular_bijector(name, 9)
