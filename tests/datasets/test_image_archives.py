"""Imagenette, Imagewoof, Galaxy10 and ISIC 2019, read from small files of the same form."""

import io
import tarfile
import zipfile

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from keras_struct.datasets import load

COLORS = {"n02": (250, 5, 5), "n01": (5, 250, 5), "n10": (5, 5, 250)}


def archive(path, count=2, parts=("train", "val"), junk=True):
    """A tar file of plain coloured JPEG images in folders of classes, not in alphabetic order."""
    with tarfile.open(path, "w:gz") as tar:
        for part in parts:
            for label, color in COLORS.items():
                for i in range(count):
                    stream = io.BytesIO()
                    Image.new("RGB", (20 + i, 30), color).save(stream, "jpeg")
                    add(tar, f"imagenette2-160/{part}/{label}/{label}_{i}.JPEG", stream.getvalue())
        if junk:
            add(tar, "imagenette2-160/noisy_imagenette.csv", b"path,label")
            add(tar, "imagenette2-160/train/n01/._hidden.JPEG", b"no image")
    return path


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def galaxies(path, labels=(0, 1) * 20, **changed):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8),
        "ans": np.array(labels),
        **changed,
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return arrays


INPUT, TRUTH = "ISIC_2019_Training_Input", "ISIC_2019_Training_GroundTruth"
DIAGNOSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]


def lesions(folder, count=80, left_out=(), rows=None):
    """Images that are the brighter the later their diagnosis comes, the archive in another order than the table."""
    written = [f"ISIC_{i:07d}," + ",".join(f"{float(k == i % 8)}" for k in range(9)) for i in range(count)]
    (folder / f"{TRUTH}.csv").write_text(
        "\n".join([f"image,{','.join(DIAGNOSES)}", *(written if rows is None else rows)])
    )
    with zipfile.ZipFile(folder / f"{INPUT}.zip", "w") as archive:
        archive.writestr(f"{INPUT}/LICENSE.txt", "CC-BY-NC")
        for i in reversed(range(count)):
            if i not in left_out:
                stream = io.BytesIO()
                Image.new("RGB", (30, 20 + i), (30 * (i % 8), 0, 0)).save(stream, "jpeg")
                archive.writestr(f"{INPUT}/ISIC_{i:07d}.jpg", stream.getvalue())
    return folder / f"{INPUT}.zip"


def test_lesions_are_read_in_the_order_of_their_table_with_their_diagnoses(tmp_path):
    lesions(tmp_path)
    data = load("isic2019", data_dir=tmp_path, image_size=8)
    assert (data.name, data.num_classes, data.x_train.shape, data.x_test.shape) == (
        "isic2019",
        8,
        (72, 8, 8, 3),
        (8, 8, 8, 3),
    )
    assert sorted(data.y_test.tolist()) == list(range(8))
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        np.testing.assert_allclose(x[:, 4, 4, 0], 30 * y / 255, atol=0.02)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"left_out": (3, 5)}, "lacks 2 of the images in .*, such as ISIC_0000003.jpg"),
        ({"rows": ["ISIC_0000000" + ",0.0" * 9]}, "does not give each image one diagnosis"),
        ({"rows": ["ISIC_0000000,high"]}, "Cannot read .*csv.*comma-separated"),
        ({"rows": []}, "does not give each image one diagnosis"),
    ],
)
def test_lesions_that_do_not_fit_their_table_are_refused(change, expected, tmp_path):
    lesions(tmp_path, **change)
    with pytest.raises(ValueError, match=expected):
        load("isic2019", data_dir=tmp_path)


def test_a_damaged_archive_of_lesions_is_named(tmp_path):
    lesions(tmp_path).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged, or not that of ISIC 2019"):
        load("isic2019", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["imagenette", "imagewoof"])
def test_images_are_scaled_and_classes_numbered_by_the_names_of_their_folders(name, tmp_path):
    archive(tmp_path / f"{name}2-160.tgz")
    data = load(name, data_dir=tmp_path, image_size=8)
    assert data.x_train.shape == data.x_test.shape == (6, 8, 8, 3)
    assert data.num_classes == 3
    assert data.y_train.tolist() == [1, 1, 0, 0, 2, 2]
    assert data.x_train[0, 4, 4] == pytest.approx(np.array(COLORS["n02"]) / 255, abs=0.05)
    assert data.x_test[2, 4, 4] == pytest.approx(np.array(COLORS["n01"]) / 255, abs=0.05)
    assert load(name, data_dir=tmp_path).input_shape == (64, 64, 3)


def test_galaxies_are_scaled_and_a_tenth_of_each_class_is_for_testing(tmp_path):
    arrays = galaxies(tmp_path / "Galaxy10_DECals.h5")
    data = load("galaxy10", data_dir=tmp_path, image_size=16)
    assert data.x_train.shape == (36, 16, 16, 3)
    assert sorted(data.y_test.tolist()) == [0, 0, 1, 1]
    everything = np.concatenate([data.x_train, data.x_test]).sum((1, 2, 3))
    assert np.allclose(np.sort(everything), np.sort((arrays["images"] / 255).sum((1, 2, 3))), rtol=1e-5)
    other = load("galaxy10", data_dir=tmp_path, image_size=16, seed=1)
    assert not np.array_equal(other.x_test, data.x_test)
    assert load("galaxy10", data_dir=tmp_path, image_size=4).input_shape == (4, 4, 3)


WRITE = {"galaxy10": galaxies, "isic2019": lambda path: lesions(path.parent)}


@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "galaxy10", "isic2019"])
def test_without_a_copy_the_file_is_downloaded_by_keras(name, tmp_path, monkeypatch):
    asked = []

    def get_file(fname, origin):
        asked.append((fname, origin))
        path = tmp_path / fname
        WRITE.get(name, archive)(path)
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert load(name, image_size=4).input_shape == (4, 4, 3)
    assert asked[0][1].endswith("/" + asked[0][0])
    assert asked[0][1].startswith("https://")

    monkeypatch.setattr(keras.utils, "get_file", lambda *a: 1 / 0)
    with pytest.raises(ConnectionError, match=r"put the file .* into a folder"):
        load(name)


@pytest.mark.parametrize(
    ("write", "name", "expected"),
    [
        (lambda p: p.write_bytes(b"nothing"), "imagenette2-160.tgz", "it is damaged, or no archive of images"),
        (lambda p: archive(p, parts=("train",)), "imagenette2-160.tgz", "6 images in train/ and 0 in val/"),
        (lambda p: p.write_bytes(archive(p).read_bytes()[:300]), "imagenette2-160.tgz", "damaged|images in train"),
        (lambda p: p.write_bytes(b"nothing"), "Galaxy10_DECals.h5", "it is damaged, or not Galaxy10"),
        (lambda p: galaxies(p, ans=np.zeros(3, int)), "Galaxy10_DECals.h5", "40 images but 3 classes"),
        (
            lambda p: galaxies(p, images=np.zeros((2, 5), np.uint8), ans=np.zeros(2, int)),
            "Galaxy10_DECals.h5",
            "Galaxy10|shape",
        ),
    ],
)
def test_damaged_files_say_what_was_expected(write, name, expected, tmp_path):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=expected):
        load("galaxy10" if name.startswith("Galaxy") else "imagenette", data_dir=tmp_path)


def test_image_size_is_for_large_image_sets_only(tmp_path):
    with pytest.raises(
        ValueError, match="`image_size` scales images of imagenette, imagewoof, galaxy10, isic2019 only"
    ):
        load("digits", image_size=8)
    with pytest.raises(ValueError, match="must be a positive integer"):
        load("imagenette", data_dir=tmp_path, image_size=0)
