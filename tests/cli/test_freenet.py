"""`keras-struct freenet`, on tiny settings."""

import json
import re

import keras
import numpy as np
import pytest

from keras_struct import datasets
from keras_struct.cli import main

TINY = [
    "freenet",
    "--neurons",
    "6,12",
    "--epochs",
    "3",
    "--warmup",
    "1",
    "--epsilon",
    "0.45",
    "--repeats",
    "2",
    "--seed",
    "3",
    "--batch-size",
    "1500",
]


@pytest.fixture(scope="module")
def finished(eager_module, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert main([*TINY, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


def test_a_run_leaves_a_complete_folder(finished):
    pictures = ["accuracy.png", "adjacency.png", "coactivation.png", "curves.png", "edges.png", "graph.png"]
    files = [*pictures, "compact.keras", "freenet.json", "model.keras", "report.html"]
    assert sorted(path.name for path in finished.iterdir()) == sorted(files)
    facts = json.loads((finished / "freenet.json").read_text())
    rows = facts["trials"]
    assert [(row["kind"], row["neurons"], row["seed"]) for row in rows[:3]] == [
        ("FreeEvolve", 6, 3),
        ("dense", 6, 3),
        ("FreeEvolve", 12, 3),
    ]
    assert len(rows) == 8
    assert all(len(row["curve"]) == 3 for row in rows)
    assert [row[0] for row in facts["history"]] == [2, 3]
    parameters = {row["kind"]: row["parameters"] for row in rows if row["neurons"] == 12}
    assert parameters["dense"] == pytest.approx(65 * 12 + 66 + 130, abs=75 / 2)
    free = next(row for row in rows if row["kind"] == "FreeEvolve" and row["neurons"] == 12)
    assert free["parameters"] == 65 * 12 + free["edges"] + 130


def test_both_forms_of_the_network_are_the_one_of_the_report(finished):
    facts = json.loads((finished / "freenet.json").read_text())
    data = datasets.load("digits", seed=3)
    row = next(row for row in facts["trials"] if row["kind"] == "FreeEvolve" and row["neurons"] == 12)
    predicted = [
        keras.models.load_model(finished / name).predict(data.x_test, verbose=0)
        for name in ("model.keras", "compact.keras")
    ]
    np.testing.assert_allclose(predicted[0], predicted[1], atol=1e-6)
    assert np.mean(predicted[0].argmax(1) == data.y_test) == pytest.approx(row["curve"][-1], abs=1e-6)


def test_the_report_needs_nothing_outside_of_itself(finished):
    html = (finished / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 6
    assert not re.search(r"(src|href)=['\"](?!data:)", html)
    assert "edges in 2 looks" not in html
    assert "in 2 looks" in html


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epsilon", "1.5"], "expected a number between 0 and 1, received '1.5'"),
        (["--epochs", "2"], "--epochs 2 has none such"),
        (["--neurons", "0"], "expected positive widths"),
        (["--data", "nothing"], "Unknown data set"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(arguments, expected, tmp_path, capsys):
    try:
        code = main(["freenet", *arguments, "--out", str(tmp_path)])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert expected in capsys.readouterr().err
