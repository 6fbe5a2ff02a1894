"""The command `keras-struct`, run in this process on tiny settings."""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_struct.cli import main
from keras_struct.cli.experiment import Settings

TINY = ["grow", "--quiet", "--epochs", "2", "--hidden", "6,5", "--gamma", "0.6", "--max-units", "9", "--seed", "3"]
TINY += ["--batch-size", "512"]
pytestmark = pytest.mark.usefixtures("eager_module")  # few steps


@pytest.fixture(scope="module")
def finished(eager_module, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "runs"
    assert main([*TINY, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


def test_a_run_leaves_a_complete_folder(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "model.keras",
        "report.html",
        "structure.json",
        "widths.png",
    ]
    facts = json.loads((finished / "structure.json").read_text())
    assert facts["initial_widths"] == {"hidden_1": 6, "hidden_2": 5}
    assert all(facts["initial_widths"][axis] < width <= 9 for axis, width in facts["final_widths"].items())
    assert facts["command"].startswith("keras-struct grow --quiet")
    assert facts["networks"][0]["network"] == "grown"
    assert [row["widths"] for row in facts["networks"]][1::2] == [[6, 5], [9, 9]]
    assert facts["networks"][0]["parameters"] == facts["networks"][2]["parameters"]
    assert facts["networks"][0]["flops"] == facts["networks"][2]["flops"]


def test_the_saved_model_is_the_grown_one(finished):
    facts = json.loads((finished / "structure.json").read_text())
    model = keras.models.load_model(finished / "model.keras")
    assert dict(model.structure.axes) == facts["final_widths"]
    assert len(model.structure_log) == len(facts["events"])


def test_the_report_needs_nothing_outside_of_itself(finished):
    html = (finished / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=['\"](?!data:)", html)
    assert "static, maximal size" in html


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_report_opens_in_a_browser(finished, tmp_path):
    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    flags = ["--headless", "--no-sandbox", *quiet, "--disable-component-update", f"--user-data-dir={tmp_path}"]
    url = (finished / "report.html").as_uri()
    page = subprocess.run(
        ["chromium", *flags, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True
    )
    assert "structural changes" in page.stdout
    shot = tmp_path / "report.png"
    subprocess.run(["chromium", *flags, f"--screenshot={shot}", url], capture_output=True, timeout=120, check=True)
    assert shot.stat().st_size > 10_000


def test_the_table_is_printed_and_earlier_runs_stay(finished, tmp_path, capsys):
    path = tmp_path / "own.npz"
    rng = np.random.default_rng(0)
    x, y = rng.random((80, 6)), rng.integers(0, 3, 80)
    np.savez(path, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    assert main([*TINY, "--data", str(path), "--out", str(finished.parent)]) == 0
    printed = capsys.readouterr().out
    assert "static, initial size" in printed
    assert "accuracy" in printed
    assert len(list(finished.parent.iterdir())) == 2
    assert finished.is_dir()


def broken_file(tmp_path):
    path = tmp_path / "broken.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("note.txt", "not arrays")
    return ["--data", str(path)]


def file_as_folder(tmp_path):
    (tmp_path / "taken").write_text("a file")
    return ["--out", str(tmp_path / "taken")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: ["--data", "no_such_data"], "no_such_data"),
        (broken_file, "broken"),
        (file_as_folder, "cannot write into --out"),
        (lambda t: ["--max-units", "2"], "--max-units 2 is smaller than --hidden 6"),
    ],
)
def test_input_that_cannot_be_used_is_one_line_and_exit_code_2(tmp_path, capsys, make, message):
    assert main([*[a for a in TINY if a != "9" and a != "--max-units"], *make(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras-struct: error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hidden", "8,x"],
        ["--hidden", "0"],
        ["--epochs", "0"],
        ["--strategy", "best"],
        ["--backend", "theano"],
        ["--gamma", "nan"],
        ["--learning-rate", "-1"],
        ["--seed", "-1"],
    ],
)
def test_arguments_out_of_range_are_one_line_and_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["grow", *arguments])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.startswith("keras-struct: error: ")
    assert arguments[0] in error
    assert error.count("\n") == 1


def test_a_backend_that_is_not_installed_is_named_before_anything_is_trained(capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "torch" else find_spec(name, *a))
    assert main([*TINY, "--backend", "torch"]) == 2
    assert "the backend 'torch' is not installed: pip install torch" in capsys.readouterr().err


def test_layers_may_grow_to_four_times_the_widest_one_unless_told_otherwise():
    options = argparse.Namespace(
        hidden=(6, 5),
        max_units=None,
        gamma=None,
        strategy="north-select",
        epochs=1,
        batch_size=None,
        learning_rate=None,
        seed=0,
    )
    data = SimpleNamespace(x_train=np.zeros((5, 2)))
    assert Settings.from_options(options, data).max_units == 24
    assert Settings.from_options(options, data).gamma == 0.8
    options.hidden = (64, 64)
    assert Settings.from_options(options, data).max_units == 256
    assert Settings.from_options(options, data).gamma == 0.97


def test_an_interrupted_run_says_so_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_struct.cli.grow.run", interrupt)
    assert main([*TINY, "--out", str(tmp_path)]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_struct.cli.grow.report", interrupt)
    assert main([*TINY, "--epochs", "1", "--batch-size", "2000", "--out", str(tmp_path)]) == 130
    assert list(tmp_path.iterdir()) == []
