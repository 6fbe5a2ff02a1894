"""`keras-struct darts`, on tiny settings."""

import json
import re

import keras
import numpy as np
import pytest

from keras_struct.applications import darts_network
from keras_struct.cli import main
from keras_struct.search import Genotype, RecurrentGenotype

TINY = [
    "darts",
    "--quiet",
    "--epochs",
    "2",
    "--channels",
    "2",
    "--nodes",
    "1",
    "--train-epochs",
    "1",
    "--samples",
    "48",
]
TINY += ["--batch-size", "16", "--ratio", "2", "--augment"]


@pytest.fixture(scope="module", params=["darts-prime", pytest.param("crb", marks=pytest.mark.slow)])
def finished(request, eager_module, few_operations, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with few_operations():
        assert main([*TINY, "--method", request.param, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return request.param, folder


def test_a_run_leaves_a_complete_folder(finished):
    method, folder = finished
    names = {path.name for path in folder.iterdir()}
    expected = {"model.keras", "report.html", "search.json", "genotype.txt", "normal.dot", "reduce.dot", "genotype.png"}
    assert expected | {"normal_weights.png", "reduce_weights.png", "collapse.png"} <= names
    assert ("schedule.png" in names) == (method == "darts-prime")
    facts = json.loads((folder / "search.json").read_text())
    genotype = Genotype.parse((folder / "genotype.txt").read_text())
    assert genotype == Genotype.parse(facts["genotype"]) == Genotype.parse(facts["genotype_json"])
    assert len(facts["record"]["weights"]) == 3
    model = keras.models.load_model(folder / "model.keras")
    assert model.count_params() == facts["parameters"]
    assert model.count_params() == darts_network(genotype, (8, 8, 1), 10, 4, 3).count_params()
    assert "digraph reduce" in (folder / "reduce.dot").read_text()


def test_the_report_needs_nothing_outside_of_itself(finished):
    method, folder = finished
    html = (folder / "report.html").read_text()
    assert html.count("data:image/png;base64,") == (5 if method == "darts-prime" else 4)
    assert not re.search(r"(src|href)=['\"](?!data:)", html)
    assert "Genotype(normal=" in html


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--layers", "2"], "needs 3 cells at least"),
        (["--samples", "40"], "both must fill a batch of 16"),
        (["--method", "nas"], "invalid choice"),
        (["--ratio", "0"], "expected a positive number"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, expected, tmp_path, capsys):
    try:
        code = main([*TINY, *arguments, "--out", str(tmp_path)])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    error = capsys.readouterr().err
    assert re.search(expected, error)
    assert error.count("\n") == 1


def test_images_that_do_not_halve_twice_are_refused(tmp_path, capsys):
    x, y = np.zeros((20, 6, 6)), np.arange(20) % 2
    np.savez(tmp_path / "odd.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert main([*TINY, "--data", str(tmp_path / "odd.npz"), "--out", str(tmp_path)]) == 2
    assert "multiples of 4" in capsys.readouterr().err


@pytest.mark.usefixtures("eager")
def test_a_recurrent_cell_is_searched_on_a_text(tmp_path):
    (tmp_path / "tale.txt").write_text("the cat and the dog and the bird. " * 64)
    command = ["darts", "--quiet", "--data", "tale", "--data-dir", str(tmp_path), "--epochs", "1", "--nodes", "1"]
    assert main([*command, "--out", str(tmp_path)]) != 0, "a name without .txt is that of images"
    command[3] = "tale.txt"
    command += ["--units", "6", "--batch-size", "4", "--length", "6", "--train-epochs", "1", "--ratio", "2"]
    command += ["--samples", "112"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "recurrent.dot", "recurrent_weights.png", "schedule.png", "model.keras"} <= names
    facts = json.loads((folder / "search.json").read_text())
    genotype = RecurrentGenotype.parse((folder / "genotype.txt").read_text())
    assert genotype == RecurrentGenotype.parse(facts["genotype_json"])
    assert len(genotype.recurrent) == 2
    assert 1 < facts["perplexity"] < 30
    assert facts["data"] == "tale"
    assert keras.models.load_model(folder / "model.keras").count_params() == facts["parameters"]
