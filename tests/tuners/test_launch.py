"""A chief and two workers on this machine; workers that die come back, and nothing is lost."""

import json
import os
import signal
import sys
import textwrap
import threading
import time

import pytest

from keras_struct.tuners import launch_local

HEAD = """
import os, sys
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
import keras
from keras_struct import datasets, tuners
keras.utils.disable_interactive_logging()
data = datasets.load("digits")
x, y = data.x_train[:240, ..., None], data.y_train[:240]
folder = sys.argv[1]
who = os.environ["KERASTUNER_TUNER_ID"]
class Mark(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        open(f"{folder}/{who}.{os.getpid()}.pid", "a").write(f"{epoch} ")
    def __deepcopy__(self, memo):
        return self
"""
CELLS = """
from keras_struct.nas import applications
applications.PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "dil_conv_3x3")
space = tuners.DartsHyperModel((8, 8, 1), 10, init_channels=2, layers=3, nodes=1, train_epochs=1)
tuner = tuners.DartsPrimeTuner(space, max_trials=3, directory=folder, project_name="p")
tuner.search(x, y, epochs=3, batch_size=16, verbose=0, callbacks=[Mark()])
"""
SYMMETRIES = """
space = tuners.EquiEHyperModel((8, 8, 1), 10, width=1 / 8, kernel_size=3, pooled=(2, 4), hidden=8)
tuner = tuners.EquiNASETuner(
    space, generations=2, parents=2, children=1, batch_size=32, directory=folder, project_name="p"
)
tuner.search(x, y, verbose=0, callbacks=[Mark()])
"""


def script(folder, body):
    (folder / "run.py").write_text(HEAD + body)
    return folder / "run.py"


def trials(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "p").glob("trial_*/trial.json"))]


def kill_one(folder, killed):
    """Kill the first worker that has finished an epoch."""
    while not killed and not (folder / "stop").exists():
        for path in folder.glob("worker*.pid"):
            if path.read_text():
                number = int(path.name.split(".")[1])
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(path.name)
                return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("body", [CELLS, SYMMETRIES])
def test_two_workers_finish_a_search_although_one_is_killed(body, tmp_path):
    killed = []
    killer = threading.Thread(target=kill_one, args=(tmp_path, killed))
    killer.start()
    try:
        codes = launch_local(script(tmp_path, body), workers=2, arguments=[str(tmp_path)])
    finally:
        (tmp_path / "stop").touch()
        killer.join()
    assert codes == {"worker0": 0, "worker1": 0}
    assert len(killed) == 1
    found = trials(tmp_path)
    assert {trial["status"] for trial in found} == {"COMPLETED"}
    assert len(found) >= 3
    state = json.loads((tmp_path / "p" / "oracle.json").read_text())
    assert sorted(state["end_order"]) == sorted(trial["trial_id"] for trial in found)
    assert not state["ongoing_trials"]
    names = {path.name.split(".")[0] for path in tmp_path.glob("worker*.pid")}
    assert names == {"worker0", "worker1"}


def test_processes_get_names_and_one_address(tmp_path):
    body = """
    import os, sys, time
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "CUDA_VISIBLE_DEVICES")
    who = os.environ[names[0]]
    open(f"{sys.argv[1]}/{who}", "a").write(" ".join(os.environ[name] for name in names) + "\\n")
    if who == "chief":
        time.sleep(60)
    if who == "worker1" and len(open(f"{sys.argv[1]}/{who}").readlines()) < 3:
        sys.exit(7)
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(body))
    start = time.monotonic()
    codes = launch_local(tmp_path / "run.py", workers=2, arguments=[str(tmp_path)], gpus=[1, 3], poll=0.02)
    assert codes == {"worker0": 0, "worker1": 0}
    assert time.monotonic() - start < 50  # the chief was stopped
    chief, first, second = ((tmp_path / name).read_text().split("\n") for name in ("chief", "worker0", "worker1"))
    assert len(second) == 4  # twice dead
    assert (first[0].split()[3], second[0].split()[3]) == ("1", "3")
    assert first[0].split()[1:3] == second[2].split()[1:3] == chief[0].split()[1:3]


@pytest.mark.parametrize(("who", "expected"), [("worker", "'worker0' died 2 times"), ("chief", "The chief died")])
def test_what_dies_too_often_ends_the_search(who, expected, tmp_path):
    code = f"import os, sys, time\nsys.exit(3) if '{who}' in os.environ['KERASTUNER_TUNER_ID'] else time.sleep(30)"
    (tmp_path / "run.py").write_text(code)
    with pytest.raises(RuntimeError, match=expected):
        launch_local(tmp_path / "run.py", workers=1, restarts=1, poll=0.02)


def test_what_cannot_be_launched_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no script"):
        launch_local(tmp_path / "none.py")
    with pytest.raises(ValueError, match="a GPU for each"):
        launch_local(sys.executable, workers=2, gpus=[0])
