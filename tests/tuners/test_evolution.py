"""Evolution as an oracle: generations, selection, inheritance, resuming."""

import keras
import keras_tuner as kt
import numpy as np
import pytest

from keras_struct import datasets, tuners
from keras_struct.search.evolution import GENERATION, PARENT
from keras_struct.symmetry.mutations import is_sound

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

TINY = {"width": 1 / 8, "kernel_size": 3, "pooled": (2, 4), "hidden": 8}


@pytest.fixture(scope="module")
def digits():
    data = datasets.load("digits")
    return data.x_train[:48, ..., None], data.y_train[:48]


def evolution(folder, generations=1, **changed):
    options = {"generations": generations, "parents": 2, "children": 1, "seed": 4, **changed}
    hypermodel = tuners.EquiEHyperModel((8, 8, 1), 10, **TINY)
    return tuners.EquiNASETuner(hypermodel, directory=folder, project_name="e", batch_size=32, **options)


@pytest.fixture(scope="module")
def evolved(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evolution")
    tuner = evolution(folder)
    tuner.search(*digits, verbose=0)
    return folder, tuner


def outputs(model, digits):
    return keras.ops.convert_to_numpy(model(digits[0], training=False))


def groups_of(trial):
    return tuple(trial.hyperparameters.values[f"group/{i}"] for i in range(8))


def test_generations_hold_parents_and_their_relaxed_children(evolved):
    _, tuner = evolved
    trials = tuner.oracle.trials
    by_generation = {}
    for trial in trials.values():
        by_generation.setdefault(trial.hyperparameters.values[GENERATION], []).append(trial)
    assert [len(by_generation[g]) for g in (0, 1)] == [1, 2]
    assert groups_of(by_generation[0][0]) == ("D4",) * 8
    for trial in trials.values():
        assert trial.status == "COMPLETED"
        assert is_sound(groups_of(trial))
        parent = trial.hyperparameters.values[PARENT]
        if parent:
            differing = sum(a != b for a, b in zip(groups_of(trial), groups_of(trials[parent]), strict=True))
            assert differing in (0, 1)
            assert trials[parent].hyperparameters.values[GENERATION] == trial.hyperparameters.values[GENERATION] - 1


def test_the_population_holds_the_front_and_models_have_the_groups_of_their_trials(evolved, digits):
    _, tuner = evolved
    population, front = tuner.get_population(), tuner.get_pareto_front()
    assert len(population) >= 2
    assert {trial.trial_id for trial in front} <= {trial.trial_id for trial in population}
    assert max(trial.score for trial in population) == front[0].score
    model = tuner.load_model(front[-1])
    assert tuple(model.symmetries[f"conv{i}"].name for i in range(1, 9)) == groups_of(front[-1])


def test_a_network_starts_as_its_parent_was(evolved, digits):
    _, tuner = evolved
    parent = tuner.get_population()[0]
    model = tuner.load_model(parent)
    before = outputs(model, digits)
    relaxed = tuner.oracle.children(
        {f"group/{i}": g for i, g in enumerate(groups_of(parent))}, np.random.default_rng(0)
    )
    hp = kt.HyperParameters()
    hp.values = dict(relaxed[0])
    tuner.hypermodel.morph(model, hp)
    np.testing.assert_allclose(outputs(model, digits), before, rtol=1e-4, atol=1e-5)
    assert [model.symmetries[f"conv{i}"].name for i in range(1, 9)] == list(relaxed[0].values())


def test_a_search_that_was_interrupted_makes_the_same_plan(evolved, digits, tmp_path):
    class Killed(Exception):
        pass

    _, whole = evolved
    tuner = evolution(tmp_path)
    run, count = tuner.run_trial, []

    def killed(trial, *args, **kwargs):
        count.append(trial.trial_id)
        if len(count) == 2:
            raise KeyboardInterrupt
        return run(trial, *args, **kwargs)

    tuner.run_trial = killed
    with pytest.raises(KeyboardInterrupt):
        tuner.search(*digits, verbose=0)
    again = evolution(tmp_path)
    again.search(*digits, verbose=0)
    assert [groups_of(t) for t in again.oracle.trials.values()] == [groups_of(t) for t in whole.oracle.trials.values()]
    scores = [[t.score for t in each.oracle.trials.values()] for each in (again, whole)]
    np.testing.assert_allclose(*scores, atol=0.051)


class Numbers(tuners.EvolutionOracle):
    """Numbers that grow by one or two."""

    def first(self):
        return {"n": 1}

    def children(self, values, rng):
        return [{"n": values["n"] + 1}, {"n": values["n"] + 2}]


def drive(oracle, score, workers=1, failing=()):
    """Play the tuner: run trials one after another, several at a time."""
    running, order = {}, []
    while True:
        worker = f"w{len(running)}"
        trial = oracle.create_trial(worker) if len(running) < workers else None
        if trial is not None and trial.status == "RUNNING":
            running[worker] = trial
            order.append(trial)
            continue
        if not running:
            return order
        worker, done = running.popitem()
        if done.trial_id in failing:
            done.status = "FAILED"
        else:
            n = done.hyperparameters.values["n"]
            oracle.update_trial(done.trial_id, {"val_accuracy": score(n), "parameters": float(n)})
            done.status = "COMPLETED"
        oracle.end_trial(done)


def numbered(folder, **options):
    oracle = Numbers(**{"generations": 3, "parents": 2, **options})
    oracle._set_project_dir(str(folder), "p")
    oracle.verbose = 0
    return oracle


@pytest.mark.parametrize("workers", [1, 3])
def test_the_front_stays_and_is_filled_up_with_the_best(workers, tmp_path):
    oracle = numbered(tmp_path)
    order = drive(oracle, lambda n: n / 10, workers)
    by_generation = {}
    for trial in order:
        by_generation.setdefault(trial.hyperparameters.values[GENERATION], []).append(trial.hyperparameters.values["n"])
    assert by_generation[0] == [1]
    assert by_generation[1] == [1, 2, 3]
    assert sorted(by_generation[2]) == [1, 2, 3, 4, 5]  # better ones are larger: all are on the front
    oracle = numbered(tmp_path / "other", parents=1)
    order = drive(oracle, lambda n: 1 / n, workers)  # the smallest is the best: it alone stays
    assert [t.hyperparameters.values["n"] for t in order] == [1, *[1, 2, 3] * 3]


def test_those_that_fill_the_population_up_are_the_best_and_not_the_smallest(tmp_path):
    order = drive(numbered(tmp_path, generations=2), lambda n: {1: 1.0, 2: 0.1, 3: 0.5}.get(n, 0.0))
    last = {t.hyperparameters.values["n"] for t in order if t.hyperparameters.values[GENERATION] == 2}
    assert last == {1, 2, 3, 4, 5}  # 1 and 3 with their children: 2 is smaller than 3, and worse


def test_failed_networks_do_not_stop_the_evolution(tmp_path):
    order = drive(numbered(tmp_path), lambda n: n / 10, failing={"0002"})
    assert max(trial.hyperparameters.values[GENERATION] for trial in order) == 3
    with pytest.raises(RuntimeError, match="All networks of generation 0 failed"):
        drive(numbered(tmp_path / "other"), lambda n: n, failing={"0000"})


class Counting(kt.HyperModel):
    """Networks that note for how many batches of 8 samples they are fitted, and from which weights on."""

    def __init__(self):
        super().__init__()
        self.fits = []

    def build(self, hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
        fit = model.fit

        def counted(x, *args, **kwargs):
            self.fits.append((len(x) // 8, model.get_weights()[0]))
            return fit(x, *args, **kwargs)

        model.fit = counted
        return model

    def morph(self, model, hp):
        pass


@pytest.mark.parametrize(("warmup", "expected"), [(0.0, [2, 2, 2]), (1.0, [4, 2, 2, 2])])
def test_the_first_network_is_trained_only_if_it_is_to_warm_up(warmup, expected, tmp_path):
    hypermodel, oracle = Counting(), Numbers(generations=1, parents=2)
    options = {"directory": tmp_path, "project_name": "e", "batch_size": 8, "warmup_epochs": warmup}
    tuner = tuners.EvolutionTuner(hypermodel, oracle, **options)
    x = np.random.default_rng(0).standard_normal((32, 3)).astype("float32")
    tuner.search(x, np.arange(32) % 2, validation_data=(x, np.arange(32) % 2), verbose=0)
    assert [batches for batches, _ in hypermodel.fits] == expected
    starts = [weights for _, weights in hypermodel.fits[-3:]]  # of the network itself and its two children
    assert all(np.array_equal(starts[0], start) for start in starts)
    keras.utils.set_random_seed(0)
    fresh = hypermodel.build(None).get_weights()[0]
    assert np.array_equal(starts[0], fresh) == (warmup == 0)


def test_settings_that_cannot_be_are_refused(tmp_path, digits):
    with pytest.raises(ValueError, match="An evolution needs"):
        tuners.EquiNASOracle(parents=0)
    with pytest.raises(ValueError, match="must be positive"):
        evolution(tmp_path, epochs_per_generation=0)
    with pytest.raises(ValueError, match="`warmup_epochs` must not be negative"):
        evolution(tmp_path, warmup_epochs=-1)
    with pytest.raises(ValueError, match=r"one generation takes 0\.5 epochs"):
        evolution(tmp_path).search(*digits, epochs=0.1)


def test_all_relaxations_are_children_unless_there_are_to_be_fewer():
    values, rng = {"group/0": "C4", "group/1": "C4"}, np.random.default_rng(0)
    space = {"layers": 2, "group": "C4", "groups": ["C1", "C2", "C4"]}
    found = tuners.EquiNASOracle(**space).children(values, rng)
    assert {(child["group/0"], child["group/1"]) for child in found} == {("C4", "C2"), ("C4", "C1")}
    fewer = [tuners.EquiNASOracle(children=1, **space).children(values, rng) for _ in range(20)]
    assert all(len(children) == 1 for children in fewer)
    assert all(any(child in children for children in fewer) for child in found), "drawn, and not always the same"
