"""`keras-struct equinas`, on tiny settings."""

import json
import re

import keras
import numpy as np
import pytest

from keras_struct.cli import main

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A command of few steps, on few images."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    x, y = np.random.default_rng(0).random((32, 8, 8)).astype("float32"), np.arange(32) % 4
    np.savez(path, x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    return ["equinas", "--quiet", "--data", str(path), "--width", "0.125", "--batch-size", "32", "--seed", "3"]


def run(arguments, out):
    assert main([*arguments, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


@pytest.fixture(scope="module")
def descended(tiny, eager_module, tmp_path_factory):
    return run([*tiny, "--mode", "d", "--epochs", "2", "--groups", "C1,D4"], tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def resumable(tiny, tmp_path_factory):
    """A command that evolves networks, and keeps them in a folder to go on from."""
    kept = tmp_path_factory.mktemp("kept") / "search"
    return [*tiny, "--mode", "e", "--generations", "1", "--groups", "C4,D4", "--resume", str(kept)]


@pytest.fixture(scope="module")
def evolved(resumable, eager_module, tmp_path_factory):
    return run(resumable, tmp_path_factory.mktemp("out"))


@pytest.fixture(params=["d", "e"])
def finished(request):
    return request.param, request.getfixturevalue({"d": "descended", "e": "evolved"}[request.param])


def test_a_run_leaves_a_complete_folder(finished):
    mode, folder = finished
    assert sorted(path.name for path in folder.iterdir()) == ["model.keras", "report.html", "search.json", "search.png"]
    facts = json.loads((folder / "search.json").read_text())
    assert 0 <= facts["accuracy"] <= 1
    if mode == "d":
        assert len(facts["mixtures"]) == 3
        assert set(facts["mixtures"][-1]["conv1"]) == {"C1", "D4"}
    else:
        assert len(facts["architectures"][0]) == 1
        assert {group for one in facts["architectures"][-1] for group in one["groups"]} == {"C4", "D4"}


def test_the_saved_network_is_the_one_that_was_found(finished):
    mode, folder = finished
    facts = json.loads((folder / "search.json").read_text())
    model = keras.models.load_model(folder / "model.keras")
    if mode == "d":
        assert model.get_layer("conv3").mixture() == pytest.approx(facts["mixtures"][-1]["conv3"])
    else:
        assert [model.symmetries[f"conv{i}"].name for i in range(1, 9)] == facts["best"]["groups"]


def test_the_report_needs_nothing_outside_of_itself(finished):
    html = (finished[1] / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 1
    assert not re.search(r"(src|href)=['\"](?!data:)", html)
    assert "conv8" in html or "groups of the layers" in html


def test_an_interrupted_search_goes_on(resumable, evolved, tmp_path):
    again = run(resumable, tmp_path / "out")
    first, second = (json.loads((p / "search.json").read_text())["architectures"] for p in (evolved, again))
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--groups", "C3"], "expected some of C1,C2,C4,D1,D2,D4"),
        (["--groups", "C4,c4"], "each once"),
        (["--mode", "f"], "invalid choice"),
        (["--width", "0"], "expected a positive number"),
    ],
)
def test_bad_arguments_are_explained_in_one_line(arguments, expected, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["equinas", *arguments])
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_data_that_are_no_images_are_refused(tmp_path, capsys):
    x, y = np.random.default_rng(0).random((40, 6)), np.arange(40) % 2
    np.savez(tmp_path / "flat.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert main(["equinas", "--quiet", "--data", str(tmp_path / "flat.npz"), "--out", str(tmp_path)]) == 2
    assert "needs square images of at least 8 x 8" in capsys.readouterr().err
