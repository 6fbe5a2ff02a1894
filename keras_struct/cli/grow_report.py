"""What `keras-struct grow` writes: a page."""

from __future__ import annotations

from html import escape
from typing import Any

from keras_struct.cli import report as pages
from keras_struct.visualization import plot_curves, plot_widths, png


def report(facts: dict[str, Any], model: Any) -> str:
    """Return the report on a run.

    Args:
        facts: What `structure.json` holds.
        model: The grown model.
    """
    curves = {row["network"]: row["curve"] for row in facts["networks"]}
    samples = facts["samples"]
    lead = f"{_sentence(facts)} {samples['train']:,} training and {samples['test']:,} test samples."
    body = [
        "<h2>Compared with static networks of the same budget</h2>",
        _networks(facts["networks"]),
        "<h2>Units over time</h2>",
        pages.image(png(plot_widths(model)), "Units of each layer over training steps"),
        "<h2>Test accuracy</h2>",
        pages.image(png(plot_curves(curves, "test accuracy")), "Test accuracy after each epoch"),
        _events(facts["events"]),
    ]
    return pages.report(f"A network that sized itself: {facts['data']}", lead, body, facts)


def _sentence(facts: dict[str, Any]) -> str:
    start, end = facts["initial_widths"], facts["final_widths"]
    parts = [f"{escape(axis)} from {start[axis]} to {end[axis]} units" for axis in end]
    return f"{len(facts['events'])} changes: {', '.join(parts)}."


def _networks(rows: list[dict[str, Any]]) -> str:
    cells = [
        (
            escape(row["network"]),
            "-".join(map(str, row["widths"])),
            f"{row['accuracy']:.4f}",
            f"{row['parameters']:,}",
            f"{row['flops']:,}",
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    columns = ("network", "hidden units", "test accuracy", "parameters", "FLOPs", "seconds")
    return pages.table(columns, cells, marked=[0])


def _events(events: list[dict[str, Any]]) -> str:
    cells = [
        (
            str(e["step"]),
            escape(e["axis"]),
            f"{e['before']} → {e['after']}",
            f"{e['parameters']:,}",
            "" if e["change"] is None else format(e["change"], ".1e"),
        )
        for e in events
    ]
    table = pages.table(("step", "axis", "units", "parameters", "change of outputs"), cells, text=1)
    return f"<details><summary>All {len(events)} structural changes</summary>{table}</details>"
