"""A report in one HTML file, with nothing outside of it."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from keras_struct.visualization import plot_curves, plot_widths, png

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #c2410c; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead { margin-top: 0; opacity: .75; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.text { text-align: left; }
tr.grown td { font-weight: 600; background: var(--soft); } tr.grown td:first-child { border-left: 3px solid var(--accent); }
img { max-width: 100%; background: white; border-radius: 6px; }
details { margin-top: 1rem; } summary { cursor: pointer; }
footer { margin-top: 3rem; font-size: .85rem; opacity: .7; }
"""


def report(facts: dict[str, Any], model: Any) -> str:
    """Return the report on a run.

    Args:
        facts: What `structure.json` holds.
        model: The grown model.
    """
    curves = {row["network"]: row["curve"] for row in facts["networks"]}
    title = f"A network that sized itself: {facts['data']}"
    samples = facts["samples"]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{_sentence(facts)} {samples['train']:,} training and {samples['test']:,} test samples.</p>",
        "<h2>Compared with static networks of the same budget</h2>",
        f"<div class=scroll>{_networks(facts['networks'])}</div>",
        "<h2>Units over time</h2>",
        image(png(plot_widths(model)), "Units of each layer over training steps"),
        "<h2>Test accuracy</h2>",
        image(png(plot_curves(curves, "test accuracy")), "Test accuracy after each epoch"),
        _events(facts["events"]),
        "<h2>Settings</h2>",
        f"<div class=scroll>{pairs(facts['settings'] | {'command': facts['command']})}</div>",
        f"<footer>{escape(', '.join(f'{k} {v}' for k, v in facts['versions'].items()))}</footer>",
    ]
    return page(title, body)


def page(title: str, body: list[str]) -> str:
    """Return a whole HTML page."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"


def _sentence(facts: dict[str, Any]) -> str:
    start, end = facts["initial_widths"], facts["final_widths"]
    parts = [f"{escape(axis)} from {start[axis]} to {end[axis]} units" for axis in end]
    return f"{len(facts['events'])} changes: {', '.join(parts)}."


def _networks(rows: list[dict[str, Any]]) -> str:
    names = ("network", "hidden units", "test accuracy", "parameters", "FLOPs", "seconds")
    lines = []
    for i, row in enumerate(rows):
        cells = (
            escape(row["network"]),
            "-".join(map(str, row["widths"])),
            f"{row['accuracy']:.4f}",
            f"{row['parameters']:,}",
            f"{row['flops']:,}",
            f"{row['seconds']:.1f}",
        )
        lines.append(f"<tr{' class=grown' if i == 0 else ''}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{''.join(lines)}</table>"


def _events(events: list[dict[str, Any]]) -> str:
    head = "<tr><th>step</th><th>axis</th><th>units</th><th>parameters</th><th>change of outputs</th></tr>"
    lines = [
        f"<tr><td>{e['step']}</td><td class=text>{escape(e['axis'])}</td><td>{e['before']} → {e['after']}</td>"
        f"<td>{e['parameters']:,}</td><td>{'' if e['change'] is None else format(e['change'], '.1e')}</td></tr>"
        for e in events
    ]
    table = f"<div class=scroll><table>{head}{''.join(lines)}</table></div>"
    return f"<details><summary>All {len(events)} structural changes</summary>{table}</details>"


def pairs(values: dict[str, Any]) -> str:
    """Return a table of names and values."""
    lines = [f"<tr><td>{escape(str(k))}</td><td class=text>{escape(str(v))}</td></tr>" for k, v in values.items()]
    return f"<table>{''.join(lines)}</table>"


def image(picture: bytes, text: str) -> str:
    """Return a picture (a PNG file) as part of the page, with a text for those who do not see it."""
    data = base64.b64encode(picture).decode()
    return f"<img alt='{escape(text)}' src='data:image/png;base64,{data}'>"
