"""Images are shifted, mirrored and covered, each on its own, and batches are the same for the same seed."""

import numpy as np
import pytest

from keras_struct import datasets


def numbered(count, size):
    """Images whose pixels are all different."""
    return np.arange(1, count * size * size + 1, dtype="float32").reshape(count, size, size, 1)


def test_each_image_is_one_of_its_shifts_and_mirror_images():
    images, seen = numbered(40, 6), set()
    changed = datasets.ImageAugmentation(padding=2)(images, np.random.default_rng(0))
    for image, result in zip(images, changed, strict=True):
        found = []
        for mirrored in (False, True):
            padded = np.pad(image[..., 0], 2)
            for top in range(5):
                for left in range(5):
                    crop = padded[top : top + 6, left : left + 6]
                    if np.array_equal(crop[:, ::-1] if mirrored else crop, result[..., 0]):
                        found.append((mirrored, top, left))
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 20
    assert {mirrored for mirrored, *_ in seen} == {False, True}


def test_squares_are_covered_also_at_the_edge():
    changed = datasets.ImageAugmentation(0, flip=False, cutout=4)(np.ones((200, 8, 8, 2)), np.random.default_rng(1))
    covered = (changed == 0).all(axis=-1)
    sizes = covered.sum((1, 2))
    assert np.array_equal(covered, (changed == 0).any(axis=-1))
    assert (sizes.max(), sizes.min()) == (16, 4)
    assert (covered.mean(0) > 0).all(), "every pixel is covered at times"


def test_nothing_happens_without_changes():
    images = numbered(3, 4)
    same = datasets.ImageAugmentation(0, flip=False)(images, np.random.default_rng(2))
    np.testing.assert_array_equal(same, images)


def test_batches_change_from_epoch_to_epoch_and_are_the_same_for_the_same_seed():
    x, y = numbered(10, 4), np.arange(10)
    first, second = (datasets.AugmentedBatches(x, y, 4, datasets.ImageAugmentation(1), seed=3) for _ in range(2))
    assert len(first) == 2
    np.testing.assert_array_equal(first[1][0], second[1][0])
    order = np.concatenate([first[i][1] for i in range(2)])
    assert len(set(order)) == 8
    first.on_epoch_end()
    assert not np.array_equal(np.concatenate([first[i][1] for i in range(2)]), order)


def test_standardized_channels_have_mean_zero_and_deviation_one():
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(50, 4, 4, 3)) * [1, 2, 3] + [5, 0, -5]).astype("float32")
    data = datasets.standardized(datasets.Dataset("x", x, np.zeros(50, int), x[:9] + 1, np.zeros(9, int), 1))
    np.testing.assert_allclose(data.x_train.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(data.x_train.std((0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose((data.x_test - data.x_train[:9]).mean((0, 1, 2)), 1 / x.std((0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: datasets.ImageAugmentation(padding=-1), "not negative"),
        (lambda: datasets.ImageAugmentation()(np.ones((2, 4, 4)), np.random.default_rng(0)), "samples, height"),
        (lambda: datasets.AugmentedBatches(np.ones(3), np.ones(3), 4, None), "at least a batch of 4"),
        (lambda: datasets.AugmentedBatches(np.ones(5), np.ones(3), 2, None), "as many targets"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
