"""EMNIST, read from small files of the same form."""

import gzip
import zipfile

import keras
import numpy as np
import pytest

from keras_struct.data.handwritten import CLASSES, ORIGIN
from keras_struct.data.splits import stratified_sample
from keras_struct.datasets import NAMES, emnist, load

FIRST = {"letters": 1}
"""The label of the first class in the files, where it is not 0."""


def idx(array):
    """An idx file, packed."""
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


def upright(count, start):
    """Images that tell their number by the first pixel; a bright row on top tells where up is."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0] = 255
    images[:, 1, 0] = start + np.arange(count)
    return images


def files(split="letters", train=None, test=None, **changed):
    """The four files of a split by their names; `changed` replaces the content of those whose names it ends."""
    parts = {
        "train": np.arange(CLASSES[split]).repeat(2) if train is None else np.array(train),
        "test": np.arange(CLASSES[split]) if test is None else np.array(test),
    }
    found = {}
    for part, labels in parts.items():
        images = upright(len(labels), start=0 if part == "train" else 128).swapaxes(1, 2)
        found[f"{part}_images"] = idx(images)
        found[f"{part}_labels"] = idx((labels + FIRST.get(split, 0)).astype(np.uint8))
    found |= changed
    return {
        f"emnist-{split}-{key.replace('_', '-')}-idx{3 if 'images' in key else 1}-ubyte.gz": found[key] for key in found
    }


def loose(folder, **options):
    folder.mkdir(exist_ok=True)
    for name, content in files(**options).items():
        (folder / name).write_bytes(content)
    return folder


def archive(path, splits=("letters",), left_out=(), **options):
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("gzip/", "")
        for split in splits:
            for name, content in files(split, **options).items():
                if name not in left_out:
                    zipped.writestr(f"gzip/{name}", content)
    return path


def numbers(x):
    """Which images they are."""
    return np.round(x[:, 1, 0] * 255).astype(int)


def test_images_are_turned_upright_and_letters_numbered_from_zero(tmp_path):
    data = emnist(data_dir=loose(tmp_path))
    assert (data.name, data.num_classes) == ("emnist_letters", 26)
    assert (data.x_train.shape, data.x_test.shape) == ((52, 28, 28), (26, 28, 28))
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(data.x_train * 255, upright(52, 0), atol=1e-4)
    np.testing.assert_allclose(data.x_test * 255, upright(26, 128), atol=1e-4)
    assert data.y_train.tolist() == np.arange(26).repeat(2).tolist()
    assert data.y_test.tolist() == list(range(26))
    assert data.x_train.flags.c_contiguous


@pytest.mark.parametrize("split", CLASSES)
@pytest.mark.parametrize("name", ["emnist-gzip.zip", "gzip.zip"])
def test_every_split_is_read_from_the_archive_by_name(split, name, tmp_path):
    archive(tmp_path / name, CLASSES)
    data = load(f"emnist_{split}", data_dir=tmp_path)
    assert (data.name, data.num_classes, data.input_shape) == (f"emnist_{split}", CLASSES[split], (28, 28))
    assert data.y_train.tolist() == np.arange(CLASSES[split]).repeat(2).tolist()
    assert numbers(data.x_test).tolist() == (128 + np.arange(CLASSES[split])).tolist()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_names_are_known_and_emnist_is_its_letters(tmp_path):
    assert {"emnist", *(f"emnist_{split}" for split in CLASSES)} <= set(NAMES)
    data, letters = load("emnist", data_dir=loose(tmp_path)), emnist("letters", data_dir=tmp_path)
    assert data.name == letters.name
    assert np.array_equal(data.x_train, letters.x_train)


def test_files_lie_in_the_folder_or_its_subfolder(tmp_path):
    loose(tmp_path / "gzip", split="digits")
    assert emnist("digits", data_dir=tmp_path).num_classes == 10
    (tmp_path / "gzip" / "emnist-digits-test-labels-idx1-ubyte.gz").rename(
        tmp_path / "emnist-digits-test-labels-idx1-ubyte.gz"
    )
    assert emnist("digits", data_dir=tmp_path).num_classes == 10


@pytest.mark.parametrize("name", ["emnist", "emnist_letters", "emnist_mnist"])
def test_a_copy_comes_first_and_is_cut_as_the_files_are(name, tmp_path):
    y = np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / f"{name}.npz", x_train=upright(6, 0), y_train=y, x_test=upright(3, 128), y_test=y[:3])
    split = "mnist" if name == "emnist_mnist" else "letters"
    archive(tmp_path / "gzip.zip", (split,))
    assert load(name, data_dir=tmp_path).x_train.shape == (6, 28, 28)
    data = emnist(split, max_train=2, classes=[2, 0], data_dir=tmp_path)
    assert sorted(data.y_train.tolist()) == [0, 1]
    assert numbers(data.x_test).tolist() == [128, 130]
    assert data.y_test.tolist() == [1, 0]


def test_a_copy_with_too_many_classes_is_refused(tmp_path):
    y = np.arange(27)
    np.savez(tmp_path / "emnist_letters.npz", x_train=upright(27, 0), y_train=y, x_test=upright(27, 0), y_test=y)
    with pytest.raises(ValueError, match=r"labels up to 26, but 'letters' has 26 classes, counted from 0\. Renumber"):
        load("emnist_letters", data_dir=tmp_path)


TRAIN = [0] * 60 + [1] * 30 + [2] * 10


def test_training_samples_are_a_stratified_choice_by_seed(tmp_path):
    loose(tmp_path, split="digits", train=TRAIN)
    data, again, other = (emnist("digits", 20, data_dir=tmp_path, seed=seed) for seed in (3, 3, 4))
    assert data.name == "emnist_digits (20 training samples, 10 classes)"
    assert np.bincount(data.y_train).tolist() == np.bincount(other.y_train).tolist() == [12, 6, 2]
    assert np.array_equal(data.x_train, again.x_train)
    assert not np.array_equal(data.x_train, other.x_train)
    assert np.array_equal(data.y_train, np.array(TRAIN)[numbers(data.x_train)])
    assert len(set(numbers(data.x_train))) == 20
    assert (len(data.x_test), data.num_classes) == (10, 10)


@pytest.mark.parametrize("max_train", [None, 100, 101])
def test_fewer_samples_than_asked_for_are_all_kept(max_train, tmp_path):
    data = emnist("digits", max_train, data_dir=loose(tmp_path, split="digits", train=TRAIN))
    assert (data.name, data.y_train.tolist()) == ("emnist_digits", TRAIN)


def test_a_number_of_classes_keeps_the_first_ones(tmp_path):
    data = emnist(classes=3, data_dir=loose(tmp_path))
    assert (data.name, data.num_classes) == ("emnist_letters (6 training samples, 3 classes)", 3)
    assert data.y_train.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.y_test.tolist() == [0, 1, 2]
    assert numbers(data.x_test).tolist() == [128, 129, 130]


@pytest.mark.parametrize("classes", [[25, 3], (25, 3), np.array([25, 3])])
def test_given_classes_are_renumbered_in_their_order(classes, tmp_path):
    data = emnist(max_train=3, classes=classes, data_dir=loose(tmp_path))
    assert (data.name, data.num_classes) == ("emnist_letters (3 training samples, classes 25, 3)", 2)
    assert all(numbers(data.x_train) // 2 == np.array([25, 3])[data.y_train])
    assert numbers(data.x_test).tolist() == [128 + 3, 128 + 25]
    assert data.y_test.tolist() == [1, 0]


def test_all_classes_in_their_order_are_the_whole_split(tmp_path):
    assert emnist(classes=range(26), data_dir=loose(tmp_path)).name == "emnist_letters"
    assert emnist(classes=26, data_dir=tmp_path).name == "emnist_letters"


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ([60, 30, 10], 10, [6, 3, 1]),
        ([60, 30, 10], 100, [60, 30, 10]),
        ([1000, 1, 1], 3, [1, 1, 1]),
        ([1000, 1, 1], 10, [8, 1, 1]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([3, 1, 2], 5, [2, 1, 2]),
    ],
)
def test_a_stratified_sample_has_every_class(counts, size, expected):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts))
    chosen = stratified_sample(labels, size, seed=0)
    assert np.bincount(labels[chosen]).tolist() == expected
    assert (np.diff(chosen) > 0).all()


def test_without_a_copy_the_archive_is_downloaded_by_keras(tmp_path, monkeypatch):
    asked = []

    def get_file(fname, origin):
        asked.append((fname, origin))
        return str(archive(tmp_path / fname))

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert emnist().num_classes == 26
    (tmp_path / "empty").mkdir()
    assert load("emnist", data_dir=tmp_path / "empty").num_classes == 26
    assert asked == [("emnist-gzip.zip", ORIGIN)] * 2

    monkeypatch.setattr(keras.utils, "get_file", lambda *a: 1 / 0)
    with pytest.raises(
        ConnectionError, match=r"could not download 'emnist_letters'.*put the file 'emnist-gzip\.zip' into a folder"
    ):
        load("emnist")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": "capitals"}, "Unknown split of EMNIST: expected one of letters, .*Received: split='capitals'"),
        ({"split": ["letters"]}, r"Unknown split of EMNIST.*split=\['letters'\]"),
        ({"max_train": 25}, "`max_train` must be a whole number of at least 26, .*max_train=25"),
        ({"max_train": 100.0}, r"`max_train` must be a whole number.*max_train=100\.0"),
        ({"max_train": True, "classes": 1}, "`max_train` must be a whole number.*max_train=True"),
        ({"max_train": 2, "classes": [1, 5, 7]}, "at least 3"),
        ({"classes": 0}, "'letters' has 26 classes: `classes` must be from 1 to 26. Received: 0"),
        ({"classes": 27}, "must be from 1 to 26. Received: 27"),
        ({"classes": []}, r"or a sequence of the numbers.*classes=\[\]"),
        ({"classes": "ab"}, "or a sequence of the numbers.*classes='ab'"),
        ({"classes": 2.5}, r"or a sequence of the numbers.*classes=2\.5"),
        ({"classes": True}, "or a sequence of the numbers.*classes=True"),
        ({"classes": [0, 1.5]}, r"or a sequence of the numbers.*classes=\[0, 1\.5\]"),
        ({"classes": [0, -1, 26]}, r"numbered from 0 to 25; `classes` also holds \[-1, 26\]"),
        ({"classes": [4, 3, 4]}, r"name each class once; \[4\] come repeatedly"),
    ],
)
def test_what_does_not_fit_the_split_is_refused_before_anything_is_read(options, expected, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", lambda *a: pytest.fail("It is downloaded."))
    with pytest.raises(ValueError, match=expected):
        emnist(**options)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="data folder"):
        emnist(data_dir=tmp_path / "nowhere")


def test_image_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`image_size` scales images of"):
        load("emnist", data_dir=tmp_path, image_size=8)


IMAGES = upright(52, 0)
LABELS = np.arange(26, dtype=np.uint8).repeat(2) + 1
FLAWS = {
    "foreign": ({"train_images": b"nothing"}, "train-images.*damaged, or no gzip file"),
    "cut short": ({"train_images": idx(IMAGES)[:-20]}, "train-images.*damaged, or no gzip file"),
    "altered": ({"test_labels": idx(LABELS)[:-8] + bytes(8)}, "test-labels.*damaged, or no gzip file"),
    "empty": (
        {"train_labels": gzip.compress(b"")},
        "magic number 00000801, and have 8 bytes.* has 0 .*begins with none",
    ),
    "short header": ({"train_images": gzip.compress(bytes([0, 0, 8, 3, 0]))}, "have 16 bytes at least. It has 5"),
    "magic number": ({"train_images": gzip.compress(bytes(20))}, "magic number 00000803.*begins with 00000000"),
    "exchanged": ({"train_images": idx(LABELS), "train_labels": idx(IMAGES)}, "begins with 00000801"),
    "image size": (
        {"test_images": idx(np.zeros((26, 8, 8), np.uint8))},
        r"images of 28 x 28; its shape is \(26, 8, 8\)",
    ),
    "too small": (
        {"train_labels": gzip.compress(gzip.decompress(idx(LABELS))[:-1])},
        r"train-labels.*must have 60 bytes for its shape \(52,\), but has 59",
    ),
    "too large": ({"train_images": gzip.compress(gzip.decompress(idx(IMAGES)) + b"x")}, "40784 bytes .* but has 40785"),
    "fewer labels": ({"train_labels": idx(LABELS[:-1])}, "there are 52 images in .* and 51 labels in "),
    "no images": (
        {"test_images": idx(IMAGES[:0]), "test_labels": idx(LABELS[:0])},
        "there are 0 images in emnist-letters-test-images.* and 0 labels",
    ),
    "label 0": ({"train_labels": idx(LABELS - 1)}, "from 1 to 26, but those in .* from 0 to 25: they are of another"),
    "high label": (
        {"train_labels": idx(LABELS + 1)},
        "from 1 to 26, but those in .* from 2 to 27: they are of another",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("flaw", FLAWS)
def test_flawed_files_are_refused_with_the_reason(flaw, packed, tmp_path):
    changed, expected = FLAWS[flaw]
    if packed:
        archive(tmp_path / "gzip.zip", **changed)
    else:
        loose(tmp_path, **changed)
    with pytest.raises(ValueError, match=expected):
        emnist(data_dir=tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "gzip.zip").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"gzip\.zip': it is damaged, or no zip archive.*download it again"):
        emnist(data_dir=tmp_path)


def test_an_archive_that_is_damaged_within_is_refused(tmp_path):
    path = archive(tmp_path / "gzip.zip")
    content = bytearray(path.read_bytes())
    place = content.index(files()["emnist-letters-train-images-idx3-ubyte.gz"]) + 40
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images.*damaged"):
        emnist(data_dir=tmp_path)


def test_missing_files_are_named(tmp_path):
    names = list(files())
    path = archive(tmp_path / "gzip.zip", left_out=names[1:3])
    with pytest.raises(ValueError, match=f"lacks {names[1]}, {names[2]}: it is not the archive of EMNIST"):
        emnist(data_dir=tmp_path)

    path.unlink()
    loose(tmp_path)
    (tmp_path / names[3]).unlink()
    with pytest.raises(ValueError, match=f"only some files of EMNIST 'letters'; add {names[3]}, or emnist-gzip.zip"):
        emnist(data_dir=tmp_path)
    archive(tmp_path / "gzip.zip")
    assert emnist(data_dir=tmp_path).num_classes == 26
