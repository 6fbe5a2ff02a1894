"""Data that are loaded, and data that are refused with a reason."""

import dataclasses

import numpy as np
import pytest

from keras_struct.data.splits import stratified_split
from keras_struct.datasets import Dataset, load, read_npz


def arrays(**changes):
    """Six images to train on and three to test on, of two classes."""
    return {
        "x_train": np.full((6, 2, 2), 51, np.uint8),
        "y_train": np.array([0, 1, 0, 1, 0, 1], np.uint8),
        "x_test": np.full((3, 2, 2), 255, np.uint8),
        "y_test": np.array([0, 1, 1], np.uint8),
    } | changes


def saved(path, **changes):
    np.savez(path, **arrays(**changes))
    return path


def test_images_of_bytes_become_float32_and_from_zero_to_one_if_asked(tmp_path):
    kept = load(saved(tmp_path / "tiny.npz"))
    assert kept.x_train.dtype == np.float32
    assert not kept.rescaled
    assert (kept.x_train == 51).all()
    data = load(tmp_path / "tiny.npz", rescale=True)
    assert data.rescaled
    assert (data.name, data.num_classes, data.input_shape) == ("tiny", 2, (2, 2))
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert (data.x_train == np.float32(0.2)).all()
    assert (data.x_test == 1).all()
    assert data.y_train.tolist() == [0, 1, 0, 1, 0, 1]


def test_other_numbers_are_kept():
    x = np.arange(-6, 6, dtype=np.int64).reshape(6, 2)
    data = Dataset.from_arrays("tiny", arrays(x_train=x, x_test=x[:3] / 2))
    assert data.x_train.dtype == np.float32
    assert data.x_train.tolist() == x.tolist()
    assert data.x_test.tolist() == (x[:3] / 2).tolist()


def test_labels_in_a_column_are_flattened():
    data = Dataset.from_arrays("tiny", arrays(y_train=np.array([[0], [1], [4], [1], [0], [1]])))
    assert data.y_train.tolist() == [0, 1, 4, 1, 0, 1]
    assert (data.y_train.dtype, data.num_classes) == (np.int64, 5)


def test_classes_of_the_test_part_count():
    assert Dataset.from_arrays("tiny", arrays(y_test=np.array([0, 1, 7]))).num_classes == 8


def test_dataset_is_frozen(tmp_path):
    data = load(saved(tmp_path / "tiny.npz"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


FLAWS = {
    "short labels": ({"y_train": np.array([0, 1])}, r"'x_train'.*6 samples.*'y_train' has 2"),
    "different samples": ({"x_test": np.zeros((3, 5))}, r"differ in shape: \(2, 2\) and \(5,\)"),
    "text": ({"x_train": np.full((6, 2), "a")}, "real numbers, not <U1"),
    "complex": ({"x_train": np.zeros((6, 2, 2), complex)}, "real numbers, not complex128"),
    "nan": ({"x_train": np.full((6, 2, 2), np.nan)}, "24 values that are NaN or infinite.*of 24"),
    "infinite": ({"x_test": np.full((3, 2, 2), np.inf)}, "'x_test'.*12 values"),
    "infinite in float32": ({"x_test": np.full((3, 2, 2), 1e300)}, "'x_test'.*12 values"),
    "flat features": ({"x_train": np.zeros(6)}, r"'x_train'.*not \(6,\).*x\[:, None\]"),
    "no samples": ({"x_train": np.zeros((0, 2, 2))}, r"empty axis, not \(0, 2, 2\)"),
    "no features": ({"x_train": np.zeros((6, 0))}, r"empty axis, not \(6, 0\)"),
    "no labels": ({"y_test": np.zeros(0, int)}, r"'y_test'.*\(0,\)"),
    "one-hot": ({"y_train": np.eye(6, dtype=int)}, r"\(6, 6\).*argmax"),
    "fractions": ({"y_train": np.array([0.0, 0.5, 1, 1, 0, 0])}, r"integers.*float64.*astype\('int64'\)"),
    "negative": ({"y_train": np.array([0, 1, -1, 1, 0, 1])}, "from -1 to 1.*numpy.unique"),
    "huge": ({"y_train": np.array([0, 1, 2**40, 1, 0, 1])}, "Renumber"),
    "objects": ({"x_train": np.array([[None, 1]] * 6)}, "'x_train'.*Python objects.*could run code.*astype"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_flawed_arrays_are_refused_with_the_reason(flaw, tmp_path):
    changes, message = FLAWS[flaw]
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path / "tiny.npz", **changes))


def test_missing_arrays_are_named(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.zeros(3), y_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"lack \['x_train', 'x_test', 'y_test'\]; there are \['images', 'y_train'\]"):
        load(tmp_path / "images.npz")


def test_other_arrays_are_not_read(tmp_path):
    assert load(saved(tmp_path / "tiny.npz", notes=np.array([None]))).num_classes == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"label,pixel\n", "begins with b'label,pixel"),
        (b"\x93NUMPY\x01\x00", "single array"),
        (b"PK\x03\x04" + bytes(100), "cut short, at 104 bytes"),
        (b"\x80\x04\x95.", r"begins with b'\\x80"),
    ],
)
def test_foreign_files_are_refused_with_what_they_are(content, message, tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"no \.npz file.*{message}.*numpy\.savez"):
        load(path)


@pytest.mark.parametrize("place", range(0, 1000, 50))
def test_damaged_files_are_refused(place, tmp_path):
    """Bytes overwritten anywhere: an error about this file, or data that passed the archive's checksum."""
    path = saved(tmp_path / "tiny.npz", x_train=np.random.default_rng(0).random((6, 2, 2)))
    content = bytearray(path.read_bytes())
    place = place * len(content) // 1000
    content[place : place + 20] = b"\xff" * len(content[place : place + 20])
    path.write_bytes(content)
    try:
        outcome = load(path)
    except ValueError as error:
        outcome = error
    assert isinstance(outcome, Dataset) or "tiny" in str(outcome)


def test_truncated_file_is_refused(tmp_path):
    path = saved(tmp_path / "tiny.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cut short"):
        load(path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no data file"):
        load(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match="There is no data file"):
        read_npz(tmp_path)


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown data set 'mnits'.*digits, mnist"):
        load("mnits", data_dir=tmp_path)


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="data folder"):
        load("mnist", data_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["mnist", "digits", "my_own"])
def test_local_copy_comes_first(name, tmp_path):
    saved(tmp_path / f"{name}.npz")
    data = load(name, data_dir=tmp_path)
    assert (data.name, len(data.x_train)) == (name, 6)


def test_path_may_be_relative_to_the_folder(tmp_path):
    saved(tmp_path / "tiny.npz")
    assert load("tiny.npz", data_dir=tmp_path).name == "tiny"


def test_digits_have_a_fixed_stratified_split():
    first, again, other = load("digits"), load("digits", seed=0), load("digits", seed=1)
    assert (first.x_train.shape, first.x_test.shape, first.num_classes) == ((1438, 8, 8), (359, 8, 8), 10)
    assert (first.x_train.min(), first.x_train.max(), first.x_train.dtype) == (0, 1, np.float32)
    assert np.array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)
    assert np.bincount(first.y_test).tolist() == np.bincount(other.y_test).tolist()
    assert np.ptp(np.bincount(first.y_test)) <= 2


def test_split_takes_the_same_share_of_every_class():
    labels = np.array([0] * 10 + [1] * 20 + [2] * 5)
    train, test = stratified_split(labels, test_fraction=0.2, seed=3)
    assert np.bincount(labels[test]).tolist() == [2, 4, 1]
    assert sorted([*train, *test]) == list(range(35))


def test_download_is_converted_as_files_are(monkeypatch):
    import keras

    given = arrays(y_train=np.array([[0], [1], [0], [1], [0], [1]], np.uint8))
    parts = (given["x_train"], given["y_train"]), (given["x_test"], given["y_test"])
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: parts)
    data = load("cifar10")
    assert (data.name, data.x_train.max(), data.y_train.shape) == ("cifar10", np.float32(0.2), (6,))


def test_failed_download_says_how_to_supply_the_file(monkeypatch):
    import keras

    def offline():
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(keras.datasets.mnist, "load_data", offline)
    with pytest.raises(ConnectionError, match=r"URL fetch failure.*'mnist\.npz' into a folder.*data_dir"):
        load("mnist")
