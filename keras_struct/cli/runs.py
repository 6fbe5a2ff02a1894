"""What commands that train have in common: a run is carried out, written to a folder of its own, and told."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_struct


@dataclass(frozen=True)
class Run:
    """What a command found.

    Attributes:
        model: Saved as `model.keras`.
        facts: What is worth knowing about it, with the name of the data as `data`; as JSON can hold it.
        facts_name: Name of the file of the facts, to which the command line, its arguments and versions are added.
        files: Returns the contents of the other files by name, given all facts: text, bytes, or a model that is saved.
        told: What is printed, before the name of the folder.
    """

    model: Any
    facts: dict[str, Any]
    facts_name: str
    files: Callable[[dict[str, Any]], Mapping[str, Any]]
    told: str


def carry_out(command: Callable[[Any], Run], options: Any, out: Path, line: str = "") -> Path:
    """Carry out a command, and write what it found.

    Args:
        command: Takes what the parser read.
        options: What the parser read.
        out: Folder in which a folder for this run is made.
        line: The command line, to be recorded.

    Returns:
        The folder that was written.
    """
    found = command(options)
    arguments = {name: value for name, value in vars(options).items() if name not in ("command", "quiet", "backend")}
    facts = {"command": line, "settings": arguments, "versions": versions(), **found.facts}
    folder = _written(out, found, facts)
    print(f"\n{found.told}Written to {folder}{os.sep}: open report.html")
    return folder


def versions() -> dict[str, str]:
    """What a run was made with."""
    return {
        "keras_struct": keras_struct.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _written(out: Path, found: Run, facts: dict[str, Any]) -> Path:
    """Write everything beside, then put it in place: a folder that exists is complete."""
    temporary = out / f".{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        found.model.save(temporary / "model.keras")
        text = json.dumps(facts, indent=1, default=str)
        for name, content in {found.facts_name: text, **found.files(facts)}.items():
            _write(temporary / name, content)
        return _put_in_place(temporary, out / time.strftime("%Y%m%d-%H%M%S"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, content: Any) -> None:
    if isinstance(content, keras.Model):
        content.save(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _put_in_place(temporary: Path, wanted: Path) -> Path:
    """Rename to the first of `wanted`, `wanted-1`, ... that does not exist."""
    for number in range(1000):
        folder = wanted if number == 0 else wanted.with_name(f"{wanted.name}-{number}")
        if folder.exists():
            continue
        try:
            return temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # those: another run was faster
                raise
    raise FileExistsError(f"there are 1000 runs called {wanted.name} in {wanted.parent}: try again in a second")
