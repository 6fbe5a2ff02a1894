"""Several processes of one search on one machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def launch_local(
    script: str | Path,
    workers: int = 2,
    arguments: Sequence[str] = (),
    gpus: Sequence[int] | None = None,
    restarts: int = 3,
    poll: float = 0.2,
) -> dict[str, int]:
    """Run a script that calls `tuner.search` in a chief and several workers, and wait until the search is over.

    All run the same script with the environment variables of KerasTuner's distributed mode: `KERASTUNER_TUNER_ID` (`chief`,
    `worker0`, ...), `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`. On a cluster, set these yourself, with the address of
    the machine of the chief and a project folder that all share.

    A worker that dies is started again under its name, and gets its trial back. When all workers are gone, the chief is stopped.

    Args:
        script: A Python file.
        workers: How many.
        arguments: Passed to the script.
        gpus: Number of the GPU of each worker, for `CUDA_VISIBLE_DEVICES`; by default they see all.
        restarts: How often each worker is started again.
        poll: Seconds after which the processes are polled again.

    Returns:
        Exit codes of the workers by name; 0 where all went well.

    Raises:
        FileNotFoundError: If there is no such script.
        ValueError: If there is no worker, or not a GPU for each.
        RuntimeError: If the chief dies, or a worker does so too often; the others are stopped.
    """
    if not Path(script).is_file():
        raise FileNotFoundError(f"There is no script '{script}'.")
    if workers < 1 or (gpus is not None and len(gpus) != workers):
        raise ValueError(
            f"Expected one worker or more, and a GPU for each if any. Received: workers={workers}, gpus={gpus}"
        )
    shared = {**os.environ, "KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(_free_port())}
    command = [sys.executable, str(script), *arguments]

    def start(name: str, number: int | None = None) -> Any:
        own = {} if gpus is None or number is None else {"CUDA_VISIBLE_DEVICES": str(gpus[number])}
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if gpus is not None and number is None else {}
        return subprocess.Popen(command, env={**shared, "KERASTUNER_TUNER_ID": name, **own, **hidden})

    chief = start("chief")
    running = {f"worker{i}": start(f"worker{i}", i) for i in range(workers)}
    left, codes = dict.fromkeys(running, restarts), {}
    try:
        while running:
            time.sleep(poll)
            if chief.poll() not in (None, 0):
                raise RuntimeError(f"The chief died with exit code {chief.returncode}: its output says why.")
            for name, process in list(running.items()):
                if (code := process.poll()) is None:
                    continue
                if code == 0:
                    codes[name] = running.pop(name).returncode
                elif left[name] > 0 and chief.poll() is None:
                    left[name] -= 1
                    running[name] = start(name, int(name.removeprefix("worker")))
                else:
                    raise RuntimeError(f"'{name}' died {restarts + 1} times, the last time with exit code {code}.")
        return codes
    finally:
        for process in (*running.values(), chief):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
