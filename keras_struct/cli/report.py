"""A report in one HTML file, with nothing outside of it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

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


def report(title: str, lead: str, body: Iterable[str], facts: dict[str, Any]) -> str:
    """Return a report on a run as a whole HTML page, which ends with the settings and the versions.

    Args:
        title: What it is about, plain text.
        lead: What was found, HTML.
        body: What comes below, HTML.
        facts: What the command recorded: `settings`, `command` and `versions` are shown.
    """
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{escape(title)}</title>"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{lead}</p>",
        *body,
        "<h2>Settings</h2>",
        f"<div class=scroll>{_pairs(facts['settings'] | {'command': facts['command']})}</div>",
        f"<footer>{escape(', '.join(f'{k} {v}' for k, v in facts['versions'].items()))}</footer>",
    ]
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def table(
    columns: Iterable[str], rows: Iterable[Sequence[str]], marked: Iterable[int] = (), text: int | None = None
) -> str:
    """Return a table that can be moved sideways.

    Args:
        columns: Their names.
        rows: For each a cell of each column, HTML.
        marked: Numbers of rows to set off.
        text: Number of a column of text beside the first one; others hold numbers.
    """
    head, set_off, lines = "".join(f"<th>{name}</th>" for name in columns), set(marked), []
    for number, row in enumerate(rows):
        cells = "".join(f"<td{' class=text' if place == text else ''}>{cell}</td>" for place, cell in enumerate(row))
        lines.append(f"<tr{' class=grown' if number in set_off else ''}>{cells}</tr>")
    return f"<div class=scroll><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _pairs(values: dict[str, Any]) -> str:
    """A table of names and values."""
    lines = [f"<tr><td>{escape(str(k))}</td><td class=text>{escape(str(v))}</td></tr>" for k, v in values.items()]
    return f"<table>{''.join(lines)}</table>"


def image(picture: bytes, text: str) -> str:
    """Return a picture (a PNG file) as part of the page, with a text for those who do not see it."""
    data = base64.b64encode(picture).decode()
    return f"<img alt='{escape(text)}' src='data:image/png;base64,{data}'>"
