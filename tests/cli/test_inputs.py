"""What commands read is given to the model as it is, and what cannot be read is told in one line."""

import keras
import numpy as np
import pytest

from keras_struct.cli import main

pytestmark = pytest.mark.usefixtures("eager_module")  # few steps

LAYERS = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

    def unit_rules(self):
        return ()
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of bytes, dark or bright, and a model with a Rescaling of its own that tells them apart."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    x = (rng.integers(0, 100, (100, 4, 4)) + 150 * y[:, None, None]).astype("uint8")
    np.savez(folder / "bytes.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    kernel = np.stack([-np.ones(16), np.ones(16)], axis=1)
    dense = keras.layers.Dense(2, name="out")
    layers = [keras.Input((4, 4)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(16, kernel_initializer="identity", name="h"), dense])
    dense.set_weights([kernel, np.array([8.0, -8.0])])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(folder / "model.keras")
    return folder


@pytest.mark.parametrize(("options", "accuracy"), [([], "1.0000"), (["--rescale"], "0.")])
def test_bytes_are_given_as_they_are_unless_asked(images, options, accuracy, tmp_path, capsys):
    given = ["--data", str(images / "bytes.npz"), "--out", str(tmp_path / "p.keras"), *options]
    assert main(["prune", str(images / "model.keras"), "--parameters", "1", *given]) == 0
    printed = capsys.readouterr().out
    assert f"| test accuracy | {accuracy}" in printed
    assert ("values are divided by 255, from 0 to" if options else "values are from 0 to 249") in printed
    assert ("--rescale divides" in printed) == (not options)


def test_a_module_with_layers_of_ones_own_is_imported(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_layers_of_a_test.py").write_text(LAYERS)
    space = {"__name__": "my_layers_of_a_test"}
    exec(LAYERS, space)
    inputs = keras.Input((4,))
    hidden = space["Twice"]()(keras.layers.Dense(8, name="h")(inputs))
    keras.Model(inputs, keras.layers.Dense(1)(hidden)).save(tmp_path / "m.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "mine>Twice")
    assert main(["inspect", str(tmp_path / "m.keras")]) == 2
    error = capsys.readouterr().err
    assert "'mine>Twice'" in error
    assert "--import FILE.py" in error
    assert error.count("\n") == 1
    assert len(error) < 700
    assert main(["inspect", str(tmp_path / "m.keras"), "--import", str(tmp_path / "my_layers_of_a_test.py")]) == 0
    assert "| h | 8 |" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "m.keras"), "--import", "no_such_module_at_all"]) == 2
    assert "--import no_such_module_at_all: ModuleNotFoundError" in capsys.readouterr().err


def test_damaged_models_and_missing_budgets_are_named(images, tmp_path, capsys):
    whole = (images / "model.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    assert main(["inspect", str(tmp_path / "cut.keras")]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert main(["prune", str(images / "model.keras")]) == 2
    assert "pass --flops X, --parameters X or --latency X" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "content"), [("x.npz", "arrays"), ("x.csv", "a table"), ("x.weights.h5", "weights")])
def test_data_and_weights_in_the_place_of_a_model_are_named(name, content, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"1,2")
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert f"holds {content}, and no model" in capsys.readouterr().err


def test_a_table_is_grown_on(tmp_path, capsys):
    lines = ["a,b,kind", *(f"{i % 7},{i % 5},{'xy'[i % 7 > 3]}" for i in range(70))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    options = ["--hidden", "2", "--max-units", "3", "--epochs", "1", "--quiet", "--out", str(tmp_path / "runs")]
    assert main(["grow", "--data", str(tmp_path / "t.csv"), "--target", "kind", *options]) == 0
    assert "Data t: 56 samples of shape (2,) to train on, 14 to test on" in capsys.readouterr().out
