"""What `keras-struct freenet` writes: plots and a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from keras_struct.cli.report import image, report, table
from keras_struct.visualization import (
    plot_adjacency,
    plot_coactivation,
    plot_comparison,
    plot_curves,
    plot_edges,
    plot_graph,
    png,
)

_TEXTS = {
    "accuracy.png": ("Accuracy over the number of neurons", "Test accuracy of both kinds of networks by neurons"),
    "curves.png": ("Test accuracy while it trains", "Test accuracy after each epoch, mean over seeds"),
    "graph.png": ("The network that was found", "Neurons and edges"),
    "adjacency.png": ("Its edges", "Adjacency matrix"),
    "edges.png": ("Edges that came and went", "Number of edges added and removed at each evaluation"),
    "coactivation.png": ("Pairs that act together", "Distribution of shares of samples in which pairs act together"),
}


def freenet_files(facts: dict[str, Any], model: Any) -> dict[str, str | bytes]:
    """Return the pictures and the report of a run by name.

    Args:
        facts: What is written to `freenet.json`.
        model: The network that is drawn.
    """
    rows = facts["trials"]
    largest = max(row["neurons"] for row in rows)
    results: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        results[row["kind"]][row["neurons"]].append(row["curve"][-1])
    figures = {
        "accuracy.png": plot_comparison(results, "neurons", "test accuracy"),
        "curves.png": plot_curves(
            {f"{kind}, {largest} neurons": _mean_curve(rows, kind, largest) for kind in results}, "test accuracy"
        ),
        "graph.png": plot_graph(model),
        "adjacency.png": plot_adjacency(model),
    }
    figures |= {"edges.png": plot_edges(model), "coactivation.png": plot_coactivation(model)}
    pictures = {name: png(figure) for name, figure in figures.items()}
    return {**pictures, "report.html": _report(facts, pictures)}


def _mean_curve(rows: Sequence[dict[str, Any]], kind: str, neurons: int) -> list[float]:
    curves = [row["curve"] for row in rows if (row["kind"], row["neurons"]) == (kind, neurons)]
    return np.mean(curves, axis=0).tolist()


def _report(facts: dict[str, Any], pictures: dict[str, bytes]) -> str:
    added, removed = (sum(row[place] for row in facts["history"]) for place in (2, 3))
    lead = (
        f"The largest network lost {removed} edges and gained {added} in {len(facts['history'])} looks; its pictures are below. "
        "It is compared with one hidden layer that has as many parameters as it began with."
    )
    body = [_table(facts["trials"])]
    for name, picture in pictures.items():
        head, text = _TEXTS[name]
        body += [f"<h2>{head}</h2>", image(picture, text)]
    return report(f"A network without layers: {facts['data']}", lead, body, facts)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    ordered = sorted(rows, key=lambda row: (row["neurons"], row["kind"], row["seed"]))
    cells = [
        (
            escape(row["kind"]),
            str(row["neurons"]),
            str(row["seed"]),
            f"{row['curve'][-1]:.4f}",
            f"{max(row['curve']):.4f}",
            f"{row['parameters']:,}",
            f"{row['edges']:,}" if "edges" in row else "",
            str(row.get("depth", "")),
        )
        for row in ordered
    ]
    columns = ("network", "neurons", "seed", "test accuracy", "best", "parameters", "edges", "longest path")
    return table(columns, cells, marked=[i for i, row in enumerate(ordered) if row["kind"] == "FreeEvolve"])
