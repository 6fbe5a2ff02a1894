"""`keras-struct grow`: run the experiment, print a table, write a folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from keras_struct import datasets
from keras_struct.cli.experiment import Row, Settings, run, table
from keras_struct.cli.grow_report import report
from keras_struct.cli.inputs import load_data
from keras_struct.cli.runs import Run
from keras_struct.core.model.parts import parts_of
from keras_struct.visualization import plot_widths, png


def grow_command(options: Any) -> Run:
    """Carry out the command.

    Args:
        options: What the parser read.
    """
    data = load_data(options, options.seed)
    settings = Settings.from_options(options, data)
    say = (lambda line: None) if options.quiet else (lambda line: print(f"\n{line}", flush=True))
    rows = run(data, settings, verbose=0 if options.quiet else 1, say=say)
    grown = rows[0].model
    head = f"{data.name}, {settings.epochs} epochs, seed {settings.seed}"
    return Run(
        grown,
        summary(data, settings, rows),
        "structure.json",
        lambda facts: {"widths.png": png(plot_widths(grown)), "report.html": report(facts, grown)},
        f"{head}\n\n{table(rows)}\n\n{_changes(grown, settings)} ",
    )


def _changes(grown: Any, settings: Settings) -> str:
    if grown.structure_log:
        return f"{len(grown.structure_log)} structural changes."
    return (
        f"Nothing grew: with --gamma {settings.gamma:g} the units stayed too dependent on each other. Try a smaller "
        "--gamma, a wider --hidden or more --epochs."
    )


def summary(data: datasets.Dataset, settings: Settings, rows: list[Row]) -> dict[str, Any]:
    """Everything that is worth knowing about a run, as JSON can hold it."""
    grown = rows[0].model
    return {
        "data": data.name,
        "samples": {"train": len(data.x_train), "test": len(data.x_test)},
        "settings": asdict(settings),
        "initial_widths": parts_of(grown).editor.initial_widths,
        "final_widths": dict(grown.structure.axes),
        "networks": [{k: v for k, v in vars(row).items() if k != "model"} for row in rows],
        "events": grown.structure_log.records(),
    }
