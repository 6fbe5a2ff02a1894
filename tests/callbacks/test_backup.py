"""A killed run resumes as if nothing had happened."""

import errno
import json
import random
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, StructureBackup
from keras_struct.core.model.parts import parts_of

STEPS = 12
SCRIPT = Path(__file__).with_name("killable_run.py")
RUN = runpy.run_path(str(SCRIPT))["run"]


def result(folder, save_freq):
    """What a run ends with that begins, or goes on, in a folder."""
    RUN(str(folder), save_freq)
    weights = np.load(folder / "weights.npz")
    return json.loads((folder / "result.json").read_text()), [weights[str(i)] for i in range(len(weights.files))]


def kill(*runs, eagerly=False):
    """Begin runs `(folder, save_freq, step)` in other processes, each of which is killed at its step."""
    described = json.dumps([(eagerly, str(folder), save_freq, step) for folder, save_freq, step in runs])
    done = subprocess.run([sys.executable, str(SCRIPT), described], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_same(resumed, whole):
    assert resumed[0]["events"] == whole[0]["events"]
    assert resumed[0]["step"] == whole[0]["step"] == STEPS
    assert resumed[0]["loss"] == pytest.approx(whole[0]["loss"], abs=1e-6)
    for left, right in zip(resumed[1], whole[1], strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-6)


def whole(folder):
    """What a run ends with that nobody kills."""
    folder.mkdir()
    whole = result(folder, "epoch")
    assert len(whole[0]["events"]) > 3, "the run must change its structure, or the test shows nothing"
    return whole


@pytest.mark.usefixtures("eager")
def test_a_killed_run_ends_as_one_that_was_not_killed(tmp_path):
    kill((tmp_path, 4, 9), eagerly=True)  # it made a backup after every fourth step
    check_same(result(tmp_path, 4), whole(tmp_path / "whole"))


@pytest.mark.slow
def test_random_kills_do_not_change_the_result(tmp_path):
    expected = whole(tmp_path / "whole")
    rng = random.Random(0)
    runs = [(tmp_path / "epoch", "epoch", 8)]
    runs += [(tmp_path / str(i), rng.choice(["epoch", 3, 5, 7]), rng.randint(1, STEPS - 1)) for i in range(6)]
    for folder, *_ in runs:
        folder.mkdir()
    kill(*runs)
    for folder, save_freq, _ in runs:
        check_same(result(folder, save_freq), expected)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_full_disk_leaves_the_backup_before_and_says_so(earlier, tmp_path, monkeypatch):
    model = StructuralModel([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    x, saved = np.ones((8, 4), "float32"), model.save_weights

    def save(path, *args, **kwargs):
        if parts_of(model).progress.step > earlier:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(path, *args, **kwargs)

    monkeypatch.setattr(model, "save_weights", save)
    backup = StructureBackup(tmp_path / "backup", delete_at_end=False)
    expected = r"No space left.*is whole: '.*step-1-1-0'.*call fit again" if earlier else "first backup.*Free space"
    with pytest.raises(OSError, match=expected):
        model.fit(x, x[:, :1], epochs=3, batch_size=8, verbose=0, callbacks=[backup])
    assert len(list((tmp_path / "backup").glob("step-*"))) == int(earlier)
    monkeypatch.setattr(model, "save_weights", saved)
    model.fit(x, x[:, :1], epochs=3, batch_size=8, verbose=0, callbacks=[backup])
