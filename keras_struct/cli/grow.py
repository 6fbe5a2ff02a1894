"""`keras-struct grow`: run the experiment, print a table, write a folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_struct
from keras_struct import datasets
from keras_struct.cli.experiment import Row, Settings, run, table
from keras_struct.cli.report import report
from keras_struct.visualization import plot_widths, png


def grow_command(options: Any, out: Path) -> Path:
    """Carry out the command; returns the folder that was written."""
    data = datasets.load(options.data, data_dir=options.data_dir, seed=options.seed)
    settings = Settings.from_options(options, data)
    say = (lambda line: None) if options.quiet else (lambda line: print(f"\n{line}", flush=True))
    rows = run(data, settings, verbose=0 if options.quiet else 1, say=say)
    folder = _write(out, data, settings, rows)
    print(f"\n{data.name}, {settings.epochs} epochs, seed {settings.seed}\n")
    print(table(rows))
    grown = rows[0].model
    print(f"\n{len(grown.structure_log)} structural changes. Written to {folder}{os.sep}: open report.html")
    return folder


def _write(out: Path, data: datasets.Dataset, settings: Settings, rows: list[Row]) -> Path:
    """Write everything beside, then put it in place: a folder that exists is complete."""
    name = time.strftime("%Y%m%d-%H%M%S")
    folder = next(f for i in range(1000) if not (f := out / (name if i == 0 else f"{name}-{i}")).exists())
    temporary = out / f".{folder.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    grown = rows[0].model
    grown.save(temporary / "model.keras")
    facts = summary(data, settings, rows)
    (temporary / "structure.json").write_text(json.dumps(facts, indent=1))
    (temporary / "widths.png").write_bytes(png(plot_widths(grown)))
    (temporary / "report.html").write_text(report(facts, grown), encoding="utf-8")
    temporary.rename(folder)
    return folder


def summary(data: datasets.Dataset, settings: Settings, rows: list[Row]) -> dict[str, Any]:
    """Everything that is worth knowing about a run, as JSON can hold it."""
    grown = rows[0].model
    return {
        "data": data.name,
        "samples": {"train": len(data.x_train), "test": len(data.x_test)},
        "settings": asdict(settings),
        "command": " ".join(["keras-struct", *sys.argv[1:]]),
        "versions": {
            "keras_struct": keras_struct.__version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "initial_widths": grown._structural.initial_widths,
        "final_widths": dict(grown.structure.axes),
        "networks": [{k: v for k, v in vars(row).items() if k != "model"} for row in rows],
        "events": grown.structure_log.records(),
    }
