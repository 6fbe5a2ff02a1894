"""What `keras-struct equinas` writes: a drawing and a page."""

from __future__ import annotations

from html import escape
from typing import Any

from keras_struct.cli.report import image, report, table
from keras_struct.visualization import png


def search_files(facts: dict[str, Any], figure: Any) -> dict[str, str | bytes]:
    """Return the files of a search by name.

    Args:
        facts: What is written to `search.json`.
        figure: Drawing of the search.
    """
    picture = png(figure)
    return {"search.png": picture, "report.html": _report(facts, picture)}


def _report(facts: dict[str, Any], picture: bytes) -> str:
    body = [
        "<h2>What was found</h2>",
        _mixtures(facts["mixtures"][-1]) if "mixtures" in facts else _architectures(facts["architectures"][-1]),
        "<h2>On the way</h2>",
        image(picture, "Shares of the groups by epoch, or networks of all generations"),
    ]
    title = f"A network that found its symmetry: {facts['data']}"
    return report(title, f"Test accuracy {facts['accuracy']:.4f}.", body, facts)


def _mixtures(last: dict[str, dict[str, float]]) -> str:
    groups = list(next(iter(last.values())))
    rows = [[escape(name), *(f"{shares[group]:.3f}" for group in groups)] for name, shares in last.items()]
    return table(["layer", *groups], rows)


def _architectures(last: list[dict[str, Any]]) -> str:
    stayed = sorted((one for one in last if one["selected"]), key=lambda one: -one["accuracy"])
    rows = [(escape(" ".join(o["groups"])), f"{o['accuracy']:.4f}", f"{o['parameters']:,}") for o in stayed]
    return table(("groups of the layers", "validation accuracy", "parameters"), rows)
