"""Images that are turned."""

import numpy as np
import pytest

from keras_struct.datasets import Dataset, load, rotated_mnist, turned
from keras_struct.symmetry.groups import NAMES, Group, act_on_grid

RNG = np.random.default_rng(0)


def images(count=62, size=10):
    x = RNG.random((count, size, size)).astype("float32")
    y = np.arange(count) % 10
    return Dataset("toy", x, y, x[:8], y[:8], 10)


def test_rotated_images_keep_labels_and_proportions():
    data = images()
    data.x_train[:] = (np.arange(62) / 62 + 0.1)[:, None, None]  # the middle stays as bright as it was
    data = Dataset("toy", data.x_train, data.y_train, data.x_train[:8], data.y_train[:8], 10)
    found = rotated_mnist(data)
    assert found.x_train.shape == (13, 10, 10, 1)
    assert found.x_test.shape[0] == int(70 / 62000 * 62000) - 13
    value = found.x_train[:, 4:6, 4:6, 0].max(axis=(1, 2))
    assert np.round((value - 0.1) * 62).astype(int) % 10 == pytest.approx(found.y_train)
    assert np.array_equal(rotated_mnist(data).x_train, found.x_train)
    assert not np.array_equal(rotated_mnist(data, seed=1).x_train, found.x_train)


def test_rotated_mnist_is_made_of_a_copy_of_mnist(tmp_path):
    x = RNG.integers(0, 256, (62, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=np.arange(62) % 10, x_test=x[:8], y_test=np.arange(8))
    found = load("rotated_mnist", data_dir=tmp_path)
    assert found.x_train.shape == (13, 28, 28, 1)
    assert 0 <= found.x_train.min() <= found.x_train.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_each_image_is_turned_exactly_by_an_element_of_the_group(name):
    data, group = images(200), Group(name)
    found = turned(data, name)
    seen = set()
    for before, after in zip(data.x_train, found.x_train[..., 0], strict=True):
        matching = [a for a in range(8) if np.array_equal(act_on_grid(a, before), after)]
        assert len(matching) == 1
        seen.add(matching[0])
    assert seen == set(group.elements)
    assert np.array_equal(found.y_train, data.y_train)


def test_quarter_turns_need_square_images():
    data = images()
    flat = Dataset("flat", data.x_train[:, :5], data.y_train, data.x_test[:, :5], data.y_test, 10)
    with pytest.raises(ValueError, match="Quarter turns need square images"):
        turned(flat, "C4")
    assert turned(flat, "D2").x_train.shape == (62, 5, 10, 1)
