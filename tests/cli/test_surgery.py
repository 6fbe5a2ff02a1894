"""`keras-struct inspect` and `keras-struct prune` on saved models."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, selectors
from keras_struct.cli import main
from keras_struct.cli.surgery import criteria
from keras_struct.statistics import flops

pytestmark = pytest.mark.usefixtures("eager_module")  # few steps


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Flatten()(x))
    path = tmp_path_factory.mktemp("models") / "digits.keras"
    keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x)).save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 200)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x_train=x[:150], y_train=y[:150], x_test=x[150:], y_test=y[150:])
    return path


def test_inspection_lists_axes_fixed_parts_and_costs(saved, tmp_path, capsys):
    assert main(["inspect", str(saved), "--picture", str(tmp_path / "picture.png")]) == 0
    printed = capsys.readouterr().out
    assert "| conv | 8 | 1 | 1 |" in printed
    assert "its units are an output of the model" in printed
    model = keras.models.load_model(saved)
    assert f"| all | {model.count_params():,} | {flops(model):,} |" in printed
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_a_model_is_pruned_to_a_share_of_its_operations(saved, tmp_path, capsys):
    target = tmp_path / "half.keras"
    assert main(["prune", str(saved), "--flops", "0.5", "--out", str(target)]) == 0
    assert "| operations |" in capsys.readouterr().out
    pruned, model = keras.models.load_model(target), keras.models.load_model(saved)
    assert isinstance(pruned, StructuralModel)
    assert flops(pruned) <= 0.5 * flops(model)


def test_criteria_with_data_training_and_plain_layers(saved, data, tmp_path, capsys):
    target = tmp_path / "plain.keras"
    options = ["--criterion", "taylor", "--data", str(data), "--epochs", "1", "--quiet", "--plain", "--multiple", "2"]
    assert main(["prune", str(saved), "--parameters", "0.6", "--out", str(target), *options]) == 0
    printed = capsys.readouterr().out
    assert "| test accuracy |" in printed
    assert "trained" in printed
    plain = keras.models.load_model(target)
    assert type(plain) is not StructuralModel
    assert plain.get_layer("hidden").units % 2 == 0


@pytest.mark.slow
def test_a_mobile_net_is_inspected_and_pruned(tmp_path, capsys):
    path, target = tmp_path / "mobile.keras", tmp_path / "pruned.keras"
    keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3)).save(path)
    assert main(["inspect", str(path), "--picture", str(tmp_path / "mobile.png")]) == 0
    assert main(["prune", str(path), "--flops", "0.5", "--multiple", "8", "--out", str(target)]) == 0
    assert flops(keras.models.load_model(target)) <= 0.5 * flops(keras.models.load_model(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", "nowhere.keras", "--flops", "0.5"], "there is no file 'nowhere.keras'"),
        (["prune", "{saved}"], "pass --flops X"),
        (["prune", "{saved}", "--flops", "10"], "it still costs"),
        (["prune", "{saved}", "--flops", "0.5", "--criterion", "fisher"], "need data: pass --data"),
        (
            ["prune", "{saved}", "--flops", "0.5", "--criterion", "Best"],
            "--criterion must be one of activity, batch-norm-",
        ),
        (["prune", "{saved}", "--flops", "0.5", "--out", "model.h5"], "--out must name a file NAME.keras"),
        (["prune", "{saved}", "--flops", "0.5", "--data", "{wrong}"], "the model takes (8, 8, 1)"),
    ],
)
def test_input_that_cannot_be_used_gives_one_line(arguments, message, saved, tmp_path, capsys):
    x, y = np.zeros((20, 4, 4, 1), "float32"), np.arange(20) % 10
    np.savez(tmp_path / "wrong.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    given = [text.format(saved=saved, wrong=tmp_path / "wrong.npz") for text in arguments]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_every_selector_of_units_can_be_chosen_by_name():
    found = criteria()
    assert {found[name] for name in ("smallest-norm", "taylor", "most-similar", "random", "surgeon")} == {
        selectors.SmallestNorm,
        selectors.Taylor,
        selectors.MostSimilar,
        selectors.RandomUnits,
        selectors.OptimalBrainSurgeon,
    }
    assert all(isinstance(kind(), selectors.Selector) for kind in found.values())
