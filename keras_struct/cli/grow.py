"""`keras-struct grow`: run the experiment, print a table, write a folder."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_struct
from keras_struct import datasets
from keras_struct.cli.experiment import Row, Settings, run, table
from keras_struct.cli.inputs import load_data
from keras_struct.cli.report import report
from keras_struct.models.parts import parts_of
from keras_struct.visualization import plot_widths, png


def grow_command(options: Any, out: Path, command: str = "") -> Path:
    """Carry out the command.

    Args:
        options: What the parser read.
        out: Folder in which a folder for this run is made.
        command: The command line, to be recorded.

    Returns:
        The folder that was written.
    """
    data = load_data(options, options.seed)
    settings = Settings.from_options(options, data)
    say = (lambda line: None) if options.quiet else (lambda line: print(f"\n{line}", flush=True))
    rows = run(data, settings, verbose=0 if options.quiet else 1, say=say)
    folder = _write(out, summary(data, settings, rows, command), rows[0].model)
    print(f"\n{data.name}, {settings.epochs} epochs, seed {settings.seed}\n")
    print(table(rows))
    print(f"\n{_changes(rows[0].model, settings)} Written to {folder}{os.sep}: open report.html")
    return folder


def _changes(grown: Any, settings: Settings) -> str:
    if grown.structure_log:
        return f"{len(grown.structure_log)} structural changes."
    return (
        f"Nothing grew: with --gamma {settings.gamma:g} the units stayed too dependent on each other. Try a smaller "
        "--gamma, a wider --hidden or more --epochs."
    )


def _write(out: Path, facts: dict[str, Any], grown: Any) -> Path:
    """Write everything beside, then put it in place: a folder that exists is complete."""
    temporary = out / f".{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        grown.save(temporary / "model.keras")
        (temporary / "structure.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        (temporary / "widths.png").write_bytes(png(plot_widths(grown)))
        (temporary / "report.html").write_text(report(facts, grown), encoding="utf-8")
        return put_in_place(temporary, out / time.strftime("%Y%m%d-%H%M%S"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, wanted: Path) -> Path:
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


def versions() -> dict[str, str]:
    """What a run was made with."""
    return {
        "keras_struct": keras_struct.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def summary(data: datasets.Dataset, settings: Settings, rows: list[Row], command: str) -> dict[str, Any]:
    """Everything that is worth knowing about a run, as JSON can hold it."""
    grown = rows[0].model
    return {
        "data": data.name,
        "samples": {"train": len(data.x_train), "test": len(data.x_test)},
        "settings": asdict(settings),
        "command": command,
        "versions": versions(),
        "initial_widths": parts_of(grown).editor.initial_widths,
        "final_widths": dict(grown.structure.axes),
        "networks": [{k: v for k, v in vars(row).items() if k != "model"} for row in rows],
        "events": grown.structure_log.records(),
    }
