"""Copies of data sets that lie in a folder, in every form, whole and damaged."""

import io
import os
import pickle
import struct
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_struct.datasets import load

RNG = np.random.default_rng(0)
FILES = {
    "cifar10": ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], "labels"),
    "cifar100": ("cifar-100-python", ["train", "test"], "fine_labels"),
}


def text(value):
    return b"U" + bytes([len(value)]) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def batch(images, labels, key="labels"):
    """A dictionary as Python 2 wrote it in 2009: byte strings, `numpy.core`, numbers for booleans."""
    rows = images.transpose(0, 3, 1, 2).tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + number(0) + b"\x85" + text("b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + text("u1") + number(0) + number(1) + b"tR"
    dtype += b"(" + number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array += b"(" + number(1) + b"(" + number(len(images)) + number(3072) + b"t" + dtype + b"\x89"
    array += b"T" + struct.pack("<i", len(rows)) + rows + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text("data") + array + text(key) + listed + b"u."


def cifar(folder, name="cifar10", inside=""):
    """Three images a file, and the folder with the files."""
    inner, files, key = FILES[name]
    folder = folder / inside / inner
    folder.mkdir(parents=True)
    images = RNG.integers(0, 256, (len(files), 3, 32, 32, 3), dtype=np.uint8)
    for i, file in enumerate(files):
        (folder / file).write_bytes(batch(images[i], [i, 9 - i, 0], key))
    return images, folder


@pytest.mark.parametrize("name", FILES)
def test_batches_are_read_in_order_and_without_warnings(name, tmp_path):
    images, _ = cifar(tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(name, data_dir=tmp_path)
    train = images[:-1].reshape(-1, 32, 32, 3)
    assert (data.name, data.num_classes, data.x_train.dtype) == (name, 10, np.float32)
    np.testing.assert_array_equal(data.x_train, train / np.float32(255))
    np.testing.assert_array_equal(data.x_test, images[-1] / np.float32(255))
    assert data.y_train.tolist() == [label for i in range(len(images) - 1) for label in (i, 9 - i, 0)]


def test_batches_are_found_where_keras_unpacks_them(tmp_path):
    images, _ = cifar(tmp_path, inside="cifar-10-batches-py-target")
    assert len(load("cifar10", data_dir=tmp_path).x_train) == 15
    assert len(images) == 6


def test_npz_comes_before_batches(tmp_path):
    cifar(tmp_path)
    x, y = np.zeros((2, 5)), np.array([0, 1])
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert load("cifar10", data_dir=tmp_path).input_shape == (5,)


class Harm:
    """Asks the unpickler to call a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "harm", [Harm(os.mkdir, "harmed"), Harm(eval, "1"), Harm(getattr, "text", "format"), Harm(np.fromfile, "file")]
)
def test_pickles_that_would_run_code_are_refused(harm, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = cifar(tmp_path)
    (folder / "data_batch_2").write_bytes(pickle.dumps({b"data": harm, b"labels": [0]}, protocol))
    with pytest.raises(ValueError, match=r"data_batch_2'.*could run code"):
        load("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "harmed").exists()


IMAGES = np.zeros((3, 32, 32, 3), np.uint8)
DAMAGED = {
    "empty": (b"", "Cannot read.*copy or unpack 'data_batch_3' again"),
    "cut short": (batch(IMAGES, [0, 1, 2])[:2000], "Cannot read"),
    "text": (b"<html>", "Cannot read"),
    "too few labels": (batch(IMAGES, [0, 1]), r"uint8 \(2, 3072\), one row a label; they are uint8 \(3, 3072\)"),
    "other key": (batch(IMAGES, [0, 1, 2], "fine_labels"), r"b'labels', but holds \[.*fine_labels"),
    "a list": (pickle.dumps([1, 2], 2), "but holds list"),
    "labels of text": (pickle.dumps({b"data": None, b"labels": ["a"]}, 3), "list of integers"),
    "one label": (pickle.dumps({b"data": None, b"labels": 3}, 3), "list of integers"),
    "no images": (pickle.dumps({b"data": 5, b"labels": [3]}, 3), "they are int"),
    "floats": (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [3]}, 3), r"they are float64 \(1, 3072\)"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_batches_are_refused_with_the_reason(damage, tmp_path):
    content, message = DAMAGED[damage]
    _, folder = cifar(tmp_path)
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load("cifar10", data_dir=tmp_path)
    assert "data_batch_3" in str(caught.value)


def test_missing_batch_is_told(tmp_path):
    _, folder = cifar(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(ValueError, match=r"lacks the file 'data_batch_4'\. Unpack"):
        load("cifar10", data_dir=tmp_path)


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


def packed(images):
    files = [image if isinstance(image, bytes) else jpeg(image) for image in images]
    return np.frombuffer(b"".join(files), np.uint8), np.cumsum([0, *map(len, files)])


def plain(shape=(16, 16, 3), levels=(0, 80, 160, 240)):
    return [np.full(shape, level, np.uint8) for level in levels]


def write_jpegs(folder, images, name="cifar10", **changes):
    arrays = {}
    for part, chosen in (("train", images[:-1]), ("test", images[-1:])):
        content, offsets = packed(chosen)
        arrays |= {f"jpeg_{part}": content, f"offsets_{part}": offsets, f"y_{part}": np.arange(len(chosen))}
    arrays |= changes
    np.savez(folder / f"{name}_jpeg.npz", **{key: array for key, array in arrays.items() if array is not None})


@pytest.mark.parametrize("name", ["cifar10", "mnist", "my_own"])
@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 24)])
def test_jpeg_files_are_decoded(name, shape, tmp_path):
    write_jpegs(tmp_path, plain(shape), name)
    data = load(name, data_dir=tmp_path)
    assert (data.name, data.x_train.shape, data.x_test.shape) == (name, (3, *shape), (1, *shape))
    assert data.y_train.tolist() == [0, 1, 2]
    for image, level in zip(data.x_train, (0, 80, 160), strict=True):
        np.testing.assert_allclose(image, level / 255, atol=0.01)


FLAWS = {
    "missing": ({"offsets_train": None}, r"lacks \['offsets_train'\]; there are \['jpeg_test'"),
    "bytes of another type": ({"jpeg_train": np.zeros(9)}, r"vector of uint8.*not float64 \(9,\)"),
    "matrix": ({"jpeg_test": np.zeros((3, 3), np.uint8)}, r"'jpeg_test'.*not uint8 \(3, 3\)"),
    "fractions": ({"offsets_train": np.array([0.0, 5.0])}, "vector of integers.*float64"),
    "no file": ({"offsets_train": np.array([0])}, r"one more than there are files, not int64 \(1,\)"),
    "end": ({"offsets_train": np.array([0, 5, 10, 15])}, "must increase from 0 to .*from 0 to 15"),
    "negative": ({"offsets_test": np.array([-3, 5])}, "from -3 to 5"),
    "no jpeg": (
        {"jpeg_test": np.arange(9, dtype=np.uint8), "offsets_test": np.array([0, 9])},
        "Image 0 of 'jpeg_test'.*no JPEG file",
    ),
    "labels": ({"y_train": np.arange(2)}, r"3 samples, but 'y_train' has 2 labels"),
    "objects": ({"y_train": np.array([None, 1, 2])}, "Cannot read.*damaged"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_flawed_packs_are_refused_with_the_reason(flaw, tmp_path):
    changes, message = FLAWS[flaw]
    write_jpegs(tmp_path, plain(), **changes)
    with pytest.raises(ValueError, match=message):
        load("cifar10", data_dir=tmp_path)


def test_files_that_overlap_are_refused(tmp_path):
    content, offsets = packed(plain()[:3])
    write_jpegs(tmp_path, plain(), jpeg_train=content, offsets_train=offsets[[0, 2, 1, 3]])
    with pytest.raises(ValueError, match="must increase"):
        load("cifar10", data_dir=tmp_path)


def test_jpeg_file_that_is_cut_short_is_named(tmp_path):
    first, second, third, last = plain()
    write_jpegs(tmp_path, [first, jpeg(second)[:-100], third, last])
    with pytest.raises(ValueError, match=r"Image 1 of 'jpeg_train'.*damaged"):
        load("cifar10", data_dir=tmp_path)


def test_images_of_different_shapes_are_refused(tmp_path):
    write_jpegs(tmp_path, [*plain()[:2], plain((8, 8, 3))[0], plain()[0]])
    with pytest.raises(ValueError, match=r"image 0 has \(16, 16, 3\), image 2 has \(8, 8, 3\)"):
        load("cifar10", data_dir=tmp_path)


def test_damaged_pack_is_refused(tmp_path):
    (tmp_path / "cifar10_jpeg.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ValueError, match=r"Cannot read .*cifar10_jpeg\.npz': it is damaged"):
        load("cifar10", data_dir=tmp_path)


def test_single_array_is_no_pack(tmp_path):
    with (tmp_path / "cifar10_jpeg.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="Cannot read"):
        load("cifar10", data_dir=tmp_path)


def test_missing_pillow_is_told(tmp_path, monkeypatch):
    write_jpegs(tmp_path, plain())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        load("cifar10", data_dir=tmp_path)
