"""Processes that run tests, side by side, each in a copy of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants.places import Mutant
from tests.mutants.recording import SUITE

IMPORTED_ONCE = (
    "tensorflow",
    "keras",
    "keras_tuner",
    "matplotlib.pyplot",
    "scipy.stats",
    "sklearn",
    "hypothesis",
    "pandas",
)
"""What takes long to import, and knows nothing of this library. None of it may compute anything yet: threads do not fork."""


def project_files() -> list[str]:
    """What git knows, and what it does not ignore."""
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], text=True)
    return [name for name in names.split("\0") if os.path.isfile(name)]


class Server:
    """A process that runs tests, in a copy of some files."""

    def __init__(self, folder: Path, names: list[str], imported: tuple[str, ...] = IMPORTED_ONCE):
        self.folder = folder
        project = folder / "project"
        for name in names:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, project / name)
        paths = filter(None, [str(project), os.environ.get("PYTHONPATH")])
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TEST_SECONDS": "60"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "tests.mutants.server", str(folder), *imported]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=project, env=env, **pipes)

    def run(self, tests: dict[str, float], mutant: Mutant | None = None) -> dict:
        """What the tests, given with their seconds, say of a mutant, or of the library as it is."""
        module, source = (mutant.module, mutant.mutated) if mutant else ("", "")
        request = {"module": module, "source": source, "tests": tests, "options": SUITE}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def output(self) -> str:
        """What pytest printed last."""
        return (self.folder / "output.txt").read_text()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
