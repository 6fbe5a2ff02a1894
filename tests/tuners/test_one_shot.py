"""Searches by gradient descent under KerasTuner: in its own tuners and in stock ones, resumed at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import keras
import keras_tuner as kt
import numpy as np
import pytest

from keras_struct import StructuralModel, datasets, tuners
from keras_struct.callbacks import FreshStates
from keras_struct.layers import GrowableDense
from keras_struct.search import Genotype, RecurrentGenotype
from keras_struct.strategies import NorthSelect
from keras_struct.triggers import EffectiveDimension

SMALL = {"init_channels": 2, "layers": 3, "nodes": 1, "train_epochs": 1}
TINY = {"width": 1 / 8, "kernel_size": 3, "pooled": (2, 4), "hidden": 8}


@pytest.fixture(scope="module")
def digits():
    data = datasets.load("digits")
    return data.x_train[:200, ..., None], data.y_train[:200]


def space(**changed):
    return tuners.DartsHyperModel((8, 8, 1), 10, **{**SMALL, **changed})


@pytest.fixture(scope="module")
def searched(digits, few_operations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuner")
    with few_operations():
        tuner = tuners.DartsPrimeTuner(space(), max_trials=2, seed=5, directory=folder, project_name="cells")
        tuner.search(*digits, epochs=2, batch_size=16, verbose=0)
        yield folder, tuner


@pytest.mark.slow
def test_each_trial_is_a_search_with_a_seed_of_its_own(searched):
    _, tuner = searched
    trials = list(tuner.oracle.trials.values())
    assert [trial.hyperparameters.values["search/seed"] for trial in trials] == [5, 6]
    assert all(trial.status == "COMPLETED" for trial in trials)
    genotypes = tuner.get_best_genotypes(2)
    assert len(genotypes) == 2
    assert all(isinstance(genotype, Genotype) for genotype in genotypes)
    history = tuner.get_search_history(trials[0].trial_id)
    assert Genotype.parse(history["genotype"]) in genotypes
    assert len(history["weights"]) == 3


@pytest.mark.slow
def test_the_best_model_is_the_network_that_was_found_with_its_weights(searched, digits):
    _, tuner = searched
    (model,) = tuner.get_best_models()
    assert isinstance(model, StructuralModel)
    assert model.name == "darts_network"
    best = tuner.oracle.get_best_trials()[0]
    fresh = tuner.hypermodel.build(tuner.get_best_hyperparameters()[0])  # KerasTuner's idiom for training again
    assert fresh.count_params() == model.count_params()
    from keras_struct.search.batches import divided

    _, outside = divided(len(digits[0]), 0.1, 1, best.hyperparameters.values["search/seed"])
    score = model.evaluate(digits[0][outside], digits[1][outside], verbose=0, return_dict=True)["accuracy"]
    assert score == pytest.approx(best.score, abs=1e-5)


@pytest.mark.slow
def test_a_finished_search_is_found_again_under_any_name_and_does_nothing(searched, digits, monkeypatch):
    folder, tuner = searched
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "another")
    again = tuners.DartsPrimeTuner(space(), max_trials=2, seed=5, directory=folder, project_name="cells")
    again.search(*digits, epochs=2, batch_size=16, verbose=0)
    assert {i: t.score for i, t in again.oracle.trials.items()} == {i: t.score for i, t in tuner.oracle.trials.items()}
    assert again.get_best_genotypes(2) == tuner.get_best_genotypes(2)


@pytest.mark.slow
def test_a_folder_of_another_search_is_refused(searched):
    folder, _ = searched
    with pytest.raises(ValueError, match=r"belongs to another search.*another `project_name`"):
        tuners.DartsPrimeTuner(space(nodes=2), directory=folder, project_name="cells")


@pytest.mark.slow
def test_stock_tuners_tune_hyperparameters_of_the_search(digits, few_operations, tmp_path):
    ranges = kt.HyperParameters()
    ranges.Float("search/strength", 0.05, 0.5)
    tuner = kt.RandomSearch(
        space(), objective="val_accuracy", max_trials=2, hyperparameters=ranges, directory=tmp_path, seed=1
    )
    with few_operations():
        tuner.search(*digits, epochs=1, batch_size=16, verbose=0)
    values = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    assert len({each["search/strength"] for each in values}) == 2
    assert len({each["search/seed"] for each in values}) == 2
    assert all(Genotype.parse(each["found/genotype"]) for each in values)
    (model,) = tuner.get_best_models()
    assert model.name == "darts_network"


@pytest.mark.usefixtures("eager")  # few steps
def test_without_training_supernets_are_scored_with_a_warning(digits, few_operations, tmp_path):
    tuner = tuners.DartsPrimeTuner(space(train_epochs=0, schedule=None), max_trials=1, directory=tmp_path)
    with few_operations(), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tuner.search(digits[0][:40], digits[1][:40], epochs=1, batch_size=16, verbose=0)
    assert any("does not rank the cells" in str(warning.message) for warning in heard)
    assert tuner.get_best_models()[0].name == "darts_network"


@pytest.mark.usefixtures("eager")
def test_mixtures_of_symmetries_end_as_stock_networks(digits, tmp_path):
    hypermodel = tuners.EquiDHyperModel((8, 8, 1), 10, groups=["C1", "D4"], **TINY)
    tuner = tuners.EquiNASDTuner(hypermodel, max_trials=1, directory=tmp_path)
    x, y = digits
    tuner.search(x[:32], y[:32], epochs=1, batch_size=32, validation_data=(x[160:], y[160:]), verbose=0)
    (model,) = tuner.get_best_models()
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    score = model.evaluate(x[160:], y[160:], verbose=0, return_dict=True)["accuracy"]
    assert score == pytest.approx(tuner.oracle.get_best_trials()[0].score, abs=1e-5)
    assert set(json.loads(tuner.get_search_history("0")["mixtures"])["conv1"]) == {"C1", "D4"}


@pytest.mark.slow  # in the quick suite: the same through the command
@pytest.mark.usefixtures("eager")
def test_recurrent_cells_are_searched_and_trained_as_a_language_model(tmp_path):
    text = np.cumsum(np.random.default_rng(5).choice([1, 1, 1, 2], 208)) % 5
    hypermodel = tuners.DartsLanguageHyperModel(
        5,
        8,
        nodes=2,
        length=6,
        vary=False,
        train_epochs=2,
        learning_rate=2.0,
        genotype_from="best",
        dropout={"input_dropout": 0.1},
    )
    objective = kt.Objective("val_loss", "min")
    tuner = tuners.DartsPrimeTuner(hypermodel, objective, max_trials=1, directory=tmp_path, project_name="text")
    tuner.search(text[:104], validation_data=text[104:], epochs=2, batch_size=8, verbose=0)
    (genotype,) = tuner.get_best_genotypes()
    assert isinstance(genotype, RecurrentGenotype)
    (model,) = tuner.get_best_models()
    assert model.get_layer("rnn").genes == genotype.recurrent
    score = model.evaluate(datasets.TextBatches(text[104:], 8, 6), callbacks=[FreshStates()], verbose=0)[0]
    (trial,) = tuner.oracle.get_best_trials()
    assert score == pytest.approx(trial.score, rel=1e-3)
    history = tuner.get_search_history(trial.trial_id)
    assert len(history["validation"]) == 2
    rebuilt = hypermodel.build(trial.hyperparameters)
    assert rebuilt.get_layer("rnn").genes == genotype.recurrent


@pytest.mark.usefixtures("eager")
def test_strategies_of_growing_networks_are_tuned_and_come_back_with_their_widths(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4)).astype("float32")
    y = (x**2).sum(axis=1, keepdims=True)

    def build(hp):
        hidden = GrowableDense(hp.Int("hidden", 2, 6), activation="relu", name="hidden")
        return StructuralModel([keras.Input((4,)), hidden, keras.layers.Dense(1)])

    def grow(hp):
        return NorthSelect(EffectiveDimension(hp.Float("gamma", 0.3, 0.5)), max_units=12)

    hypermodel = tuners.StructuralHyperModel(build, grow, keras.optimizers.Adam(0.01), "mse")
    tuner = kt.BayesianOptimization(hypermodel, objective="val_loss", max_trials=2, directory=tmp_path, seed=3)
    tuner.search(x, y, epochs=4, validation_data=(x, y), verbose=0)
    best = tuner.oracle.get_best_trials()[0]
    (model,) = tuner.get_best_models()
    assert model.structure.axes["hidden"] > best.hyperparameters.values["hidden"]
    assert model.evaluate(x, y, verbose=0) == pytest.approx(best.score, rel=1e-4)
    assert best.metrics.exists("parameters")
    with pytest.raises(ValueError, match="is not among the scores"):
        hypermodel.fit(best.hyperparameters, hypermodel.build(best.hyperparameters), x, y, verbose=0)


SCRIPT = """
import sys, keras
from keras_struct import datasets, tuners
from keras_struct.nas import applications
applications.PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3")
keras.utils.disable_interactive_logging()
data = datasets.load("digits")
x, y = data.x_train[:240, ..., None], data.y_train[:240]
space = tuners.DartsHyperModel((8, 8, 1), 10, init_channels=2, layers=3, nodes=1, train_epochs=1)
tuner = tuners.DartsPrimeTuner(space, max_trials=int(sys.argv[2]), directory=sys.argv[1], project_name="p")
class Mark(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
    def __deepcopy__(self, memo):
        return self
tuner.search(x, y, epochs=int(sys.argv[3]), batch_size=16, verbose=0, callbacks=[Mark()])
print("finished", len(tuner.oracle.trials), flush=True)
"""


@pytest.mark.slow
def test_a_search_that_is_killed_in_its_first_trial_goes_on_where_it_was(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "out"), "1", "6"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as run:
        for line in run.stdout:
            if line.startswith("epoch 2"):
                run.send_signal(signal.SIGKILL)
                break
    time.sleep(0.1)
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    epochs = [int(line.split()[1]) for line in again.stdout.splitlines() if line.startswith("epoch")]
    assert epochs[0] in (2, 3)  # the third epoch may have been kept or not when it died
    assert epochs[-1] == 5
    assert "finished 1" in again.stdout
    record = json.loads((tmp_path / "out" / "p" / "trial_0" / "record.json").read_text())
    assert len(record["weights"]) == 7


@pytest.mark.parametrize("option", [{"schedule": "none"}, {"penalty": "l2"}])
def test_unknown_parts_are_refused(option):
    with pytest.raises(ValueError, match="Expected schedule"):
        space(**option)


def test_networks_that_are_found_are_twice_as_wide_as_those_that_are_searched():
    found = [tuners.DartsLanguageHyperModel(5, 8, **more).train_units for more in ({}, {"train_units": 5})]
    assert found == [16, 5]


def test_a_text_is_one_axis_and_its_last_tenth_validates():
    hypermodel = tuners.DartsLanguageHyperModel(5)
    words, targets, validation = hypermodel.prepared(range(100), None, None, 0)
    assert (words.tolist(), targets, validation.tolist()) == (list(range(90)), None, list(range(90, 100)))
    words, _, validation = hypermodel.prepared(range(9), None, (range(3), None), 0)
    assert (len(words), validation.tolist()) == (9, [0, 1, 2])
    with pytest.raises(ValueError, match="numbers of the words of a text, one axis"):
        hypermodel.prepared(np.zeros((3, 4)), None, None, 0)


@pytest.mark.parametrize(
    "changed", [{"units": 8}, {"nodes": 2}, {"length": 6}, {"schedule": None}, {"activation": "crb"}]
)
def test_a_folder_belongs_to_one_space_of_language_models(changed):
    one, same, other = (tuners.DartsLanguageHyperModel(5, **more).signature() for more in ({}, {}, changed))
    assert one == same != other
