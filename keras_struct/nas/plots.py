"""Pictures of cells and of the searches that found them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from keras_struct.nas.discretization import edges_of
from keras_struct.nas.genotypes import Genotype, RecurrentGenotype
from keras_struct.report.figures import axes_or_new, new_figure, png

COLORS = {
    "none": "#c9c9c9",
    "max_pool_3x3": "#e65100",
    "avg_pool_3x3": "#ffb74d",
    "skip_connect": "#616161",
    "sep_conv_3x3": "#1565c0",
    "sep_conv_5x5": "#42a5f5",
    "sep_conv_7x7": "#90caf9",
    "dil_conv_3x3": "#283593",
    "dil_conv_5x5": "#7986cb",
    "conv_7x1_1x7": "#00838f",
    "tanh": "#2e7d32",
    "relu": "#1565c0",
    "sigmoid": "#c62828",
    "identity": "#616161",
}
_SHORT = {
    "max_pool_3x3": "MAX3",
    "avg_pool_3x3": "AVE3",
    "skip_connect": "SKIP",
    "sep_conv_3x3": "SEP3",
    "sep_conv_5x5": "SEP5",
    "sep_conv_7x7": "SEP7",
    "dil_conv_3x3": "DIL3",
    "dil_conv_5x5": "DIL5",
    "conv_7x1_1x7": "7x1",
}
_FILLS = {"input": "#b4eeb4", "node": "#add8e6", "output": "#eee8aa"}


def cell_dot(genotype: Genotype | RecurrentGenotype, cell: str = "normal") -> str:
    """Return a cell in the DOT language of Graphviz.

    Args:
        genotype: What was found.
        cell: `"normal"`, `"reduce"` or `"recurrent"`.

    >>> print(cell_dot(Genotype([("skip_connect", 0), ("sep_conv_3x3", 1)], [2], [("none", 0), ("none", 1)], [2]))[:16])
    digraph normal {
    """
    names, edges, outputs = _drawing(genotype, cell)
    lines = [f"digraph {cell} {{", "  rankdir=LR;", '  node [shape=rect, style=filled, fontname="Times"];']
    for name in names:
        lines.append(f'  "{name}" [fillcolor="{_FILLS[_kind(name)]}"];')
    for operation, source, target in edges:
        label, color = _SHORT.get(operation, operation), COLORS.get(operation, "black")
        lines.append(f'  "{source}" -> "{target}" [label="{label}", color="{color}", fontname="Times"];')
    lines += [f'  "{name}" -> "{names[-1]}" [style=dashed];' for name in outputs]
    return "\n".join([*lines, "}"]) + "\n"


def _drawing(genotype: Any, cell: str) -> tuple[list[str], list[tuple[str, str, str]], list[str]]:
    """Names of all states in order, edges, and names of the states that are output."""
    if cell == "recurrent":
        genes, concat, inputs, kept, output = genotype.recurrent, genotype.concat, ["x_{t}", "h_{t-1}"], 1, "h_{t}"
        states = ["0", *(str(i + 1) for i in range(len(genes)))]
        names = [*inputs, *states, output]
        edges = [("", name, "0") for name in inputs]
    else:
        genes, concat = getattr(genotype, cell), getattr(genotype, f"{cell}_concat")
        inputs, kept, output = ["c_{k-2}", "c_{k-1}"], 2, "c_{k}"
        states = [*inputs, *(str(i) for i in range(len(genes) // 2))]
        names, edges = [*states, output], []
    first = len(states) - len(genes) // kept
    edges += [(operation, states[source], states[first + i // kept]) for i, (operation, source) in enumerate(genes)]
    return names, edges, [states[i] for i in concat]


def _kind(name: str) -> str:
    if name in ("c_{k}", "h_{t}"):
        return "output"
    return "input" if "_" in name else "node"


def plot_genotype(genotype: Genotype | RecurrentGenotype) -> Any:
    """Draw the cells of a genotype.

    Args:
        genotype: What was found.

    Returns:
        The Matplotlib figure, a panel for each cell; edges to the output are dashed.
    """
    cells = ["recurrent"] if isinstance(genotype, RecurrentGenotype) else ["normal", "reduce"]
    figure = new_figure(10, 4.6 * len(cells))
    panels = np.atleast_1d(figure.subplots(len(cells), 1))
    for panel, cell in zip(panels, cells, strict=True):
        _draw(panel, *_drawing(genotype, cell))
        panel.set_title({"normal": "normal cell", "reduce": "reduction cell"}.get(cell, "recurrent cell"))
    return figure


def _draw(panel: Any, names: list[str], edges: list[tuple[str, str, str]], outputs: list[str]) -> None:
    """States from left to right, inputs above each other, edges as arcs that do not run through states between."""
    inputs = [name for name in names if _kind(name) == "input"]
    others = [name for name in names if name not in inputs]
    places = {name: (0.0, 1.0 - 2.0 * i) for i, name in enumerate(inputs)}
    places |= {name: (1.0 + i, 0.35 * (-1) ** i) for i, name in enumerate(others[:-1])}
    places[others[-1]] = (len(others) + 0.2, 0.0)
    seen: dict[tuple[str, str], int] = {}
    lowest, highest = -1.4, 1.4
    for operation, source, target in [*edges, *(("out", name, others[-1]) for name in outputs)]:
        again = seen[source, target] = seen.get((source, target), -1) + 1
        start, end = np.array(places[source]), np.array(places[target])
        scale = (-1 if start[1] >= end[1] else 1) * (1.0 if end[0] - start[0] > 1.2 else 0.4)
        passed = [place for name, place in places.items() if name not in (source, target)]
        bend = _bend(start, end, 0.22 * scale, passed) + 0.2 * scale * again
        control = _control(start, end, bend)
        lowest, highest = min(lowest, control[1] / 2 - 0.3), max(highest, control[1] / 2 + 0.3)
        dashed = operation == "out"
        color = "#9e9e9e" if dashed else COLORS.get(operation, "black")
        style = {
            "arrowstyle": "-|>",
            "color": color,
            "linestyle": "--" if dashed else "-",
            "lw": 1.0 if dashed else 1.8,
        }
        arc = {"connectionstyle": f"arc3,rad={bend}", "shrinkA": 16, "shrinkB": 16}
        panel.annotate("", end, start, arrowprops={**style, **arc})
        if not dashed and operation:
            x, y = _arc(start, end, bend, 0.42)
            label = _SHORT.get(operation, operation)
            panel.text(x, y, label, color=color, fontsize=8, ha="center", va="center", bbox=_LABEL)
    for name, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "fc": _FILLS[_kind(name)], "ec": "#555555"}
        panel.text(x, y, f"${name}$", ha="center", va="center", bbox=box, family="serif")
    panel.set(xlim=(-0.5, len(others) + 0.7), ylim=(lowest, highest), aspect="equal")
    panel.axis("off")


def _bend(start: np.ndarray, end: np.ndarray, least: float, others: list[Any]) -> float:
    """How much an arc is bent, as Matplotlib counts: so much, or as much more as it takes to pass other states."""
    for bend in least * (1 + 0.3 * np.arange(20)):
        points = _arc(start, end, bend, np.linspace(0, 1, 50)[:, None])
        if all(np.linalg.norm(points - other, axis=1).min() > 0.3 for other in others):
            return float(bend)
    return least


def _control(start: np.ndarray, end: np.ndarray, bend: float) -> np.ndarray:
    return (start + end) / 2 + bend * np.array([end[1] - start[1], start[0] - end[0]])


def _arc(start: np.ndarray, end: np.ndarray, bend: float, share: Any) -> np.ndarray:
    """Where an arc is after a share of its way."""
    return (1 - share) ** 2 * start + 2 * share * (1 - share) * _control(start, end, bend) + share**2 * end


_LABEL = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85}


def save_genotype(genotype: Genotype | RecurrentGenotype, folder: str | Path) -> list[Path]:
    """Write the cells of a genotype as DOT files, and as a picture: by Graphviz where its `dot` is installed, else by Matplotlib.

    Args:
        genotype: What was found.
        folder: Where to.

    Returns:
        The files that were written.
    """
    place, found = Path(folder), []
    place.mkdir(parents=True, exist_ok=True)
    cells = ["recurrent"] if isinstance(genotype, RecurrentGenotype) else ["normal", "reduce"]
    dot = shutil.which("dot")
    for cell in cells:
        found.append(place / f"{cell}.dot")
        found[-1].write_text(cell_dot(genotype, cell), encoding="utf-8")
        if dot is not None:
            picture = place / f"{cell}.png"
            subprocess.run([dot, "-Tpng", "-o", str(picture), str(found[-1])], check=True, timeout=60)
            found.append(picture)
    if dot is None:
        found.append(place / "genotype.png")
        found[-1].write_bytes(png(plot_genotype(genotype)))
    return found


def plot_operations(record: Any, layer: str = "alpha_normal", none: bool = True) -> Any:
    """Plot the weights of the operations on each edge of a cell from epoch to epoch.

    Args:
        record: `Darts.record`.
        layer: Whose weights.
        none: Whether to show the operation `none`, whose weight is often the largest.

    Returns:
        The Matplotlib figure: a row for each node, a column for each state that it can read, a curve for each operation.

    Raises:
        ValueError: If there is nothing to plot, or no such layer.
    """
    if not record.weights or layer not in record.weights[0]:
        known = sorted(record.weights[0]) if record.weights else []
        raise ValueError(f"There are no weights of layer '{layer}' to plot: run the search first. Known are {known}.")
    held = record.layers[layer]
    course = np.stack([weights[layer] for weights in record.weights])
    rows = edges_of(held.nodes, held.inputs)
    columns = rows[-1].stop - rows[-1].start
    figure = new_figure(2.1 * columns + 1.4, 1.7 * len(rows) + 0.4)
    panels = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
    for node, part in enumerate(rows):
        for source in range(columns):
            panel = panels[node, source]
            if source >= part.stop - part.start:
                panel.axis("off")
                continue
            for column, name in enumerate(held.operations):
                if none or name != "none":
                    values = course[:, part.start + source, column]
                    panel.plot(values, color=COLORS.get(name), label=name, lw=1.3)
            panel.set_title(f"{_state(source, held.inputs)} → {node + (held.inputs == 1)}", fontsize=8)
            panel.tick_params(labelsize=7)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=7)
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel("weight", fontsize=8)
    return figure


def _state(source: int, inputs: int) -> str:
    """Convolutional cells read two others; the first state of a recurrent one is its node 0."""
    if inputs == 2 and source < 2:
        return ("$c_{k-2}$", "$c_{k-1}$")[source]
    return str(source - inputs if inputs > 1 else source)


def plot_schedule(record: Any, ax: Any = None) -> Any:
    """Plot what a schedule compared, and when the architecture moved.

    Args:
        record: `Darts.record` of a search with `FimtSchedule`.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If the search had no such schedule, or has not run.
    """
    if not record.schedule.get("F"):
        raise ValueError("There is no schedule to plot: run a search with FimtSchedule first.")
    panel = axes_or_new(ax, (8, 3.2))
    steps = np.arange(1, 1 + len(record.schedule["F"]))
    panel.plot(steps, record.schedule["F"], color="#1565c0", lw=1.2, label="trace of the Fisher information, averaged")
    panel.plot(steps, record.schedule["threshold"], color="#e65100", lw=1.0, label="threshold")
    moved = np.flatnonzero(np.diff([0, *record.architecture_steps]) > 0)
    lowest = min(min(record.schedule["F"]), min(record.schedule["threshold"]))
    panel.plot(steps[moved], np.full(len(moved), lowest), "|", color="#2e7d32", ms=9, label="the architecture moves")
    panel.set(yscale="log", xlabel="step of the weights")
    panel.legend(frameon=False, fontsize=8)
    return panel.figure


def plot_collapse(records: Any) -> Any:
    """Plot how many of the chosen operations are skip connections, and how undecided the weights are, from epoch to epoch.

    Args:
        records: `Darts.record`, or several of them by name.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If there is nothing to plot.
    """
    named = records if isinstance(records, dict) else {"": records}
    if not named or not all(record.skips for record in named.values()):
        raise ValueError("There is nothing to plot: run the search first.")
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    for name, record in named.items():
        left.plot(record.skips, label=name or None)
        right.plot(record.entropy, label=name or None)
    total = sum(len(genes) for genes in next(iter(named.values())).genes[0].values())
    left.set(xlabel="epoch", ylabel=f"skip connections among {total} genes", ylim=(-0.2, None))
    right.set(xlabel="epoch", ylabel="mean entropy of an edge (nats)", ylim=(0, None))
    if any(named):
        left.legend(frameon=False, fontsize=8)
    return figure
