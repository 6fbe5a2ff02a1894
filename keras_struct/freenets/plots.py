"""Networks without layers: their graph, and how it evolves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.core.model.parts import parts_behind
from keras_struct.freenets.acyclic import levels_of
from keras_struct.freenets.compact_free_net import CompactFreeNet
from keras_struct.freenets.free_net import FreeNet
from keras_struct.report.figures import axes_or_new, labelled, new_figure

MOST_EDGES = 2000
"""How many edges are drawn; of more those with the largest weights."""


def plot_adjacency(model: Any, layer: str | None = None, ax: Any = None) -> Any:
    """Draw the adjacency matrix of a `FreeNet`: dark at (j, i) for an edge from neuron i to neuron j (Figure 3).

    Args:
        model: The layer, or a model with one.
        layer: Its name, if the model has several.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure, which a notebook shows.

    Raises:
        ValueError: If there is no such layer.
    """
    free = _free_net(model, layer)
    ax = axes_or_new(ax, (4.5, 4.5))
    ax.imshow(free.adjacency, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    ax.set(xlabel="from neuron", ylabel="to neuron", title=f"{free.edges:,} edges, depth {free.depth}")
    return ax.figure


def plot_graph(model: Any, layer: str | None = None, ax: Any = None) -> Any:
    """Draw neurons and edges of a `FreeNet`, in columns by the longest path that leads to a neuron.

    Args:
        model: The layer, or a model with one.
        layer: Its name, if the model has several.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure. Edges are the darker the larger their weight is, blue for positive and red for negative ones; of
        more than 2000 those with the largest weights are drawn.

    Raises:
        ValueError: If there is no such layer.
    """
    from matplotlib.collections import LineCollection

    free = _free_net(model, layer)
    ax = axes_or_new(ax)
    levels = levels_of(free.adjacency)
    places = _places(levels)
    later, earlier = np.nonzero(free.adjacency)
    weights = _edge_weights(free)
    strongest = np.argsort(np.abs(weights))[-MOST_EDGES:]
    largest = max(np.abs(weights).max(initial=0.0), 1e-12)
    colors = [
        (0.8, 0.1, 0.1, 0.1 + 0.8 * -w / largest) if w < 0 else (0.1, 0.2, 0.8, 0.1 + 0.8 * w / largest)
        for w in weights[strongest]
    ]
    lines = list(np.stack([places[earlier[strongest]], places[later[strongest]]], axis=1))
    ax.add_collection(LineCollection(lines, colors=colors, linewidths=0.8))
    ax.scatter(*places.T, s=40, color="black", zorder=2)
    if free.units <= 40:
        for number, (x, y) in enumerate(places):
            ax.annotate(str(number), (x, y), color="white", size=5, ha="center", va="center", zorder=3)
    shown = "" if len(weights) <= MOST_EDGES else f" (the largest {MOST_EDGES:,} drawn)"
    ax.set(xlabel="longest path to a neuron", title=f"{free.units} neurons, {free.edges:,} edges{shown}", yticks=[])
    ax.margins(0.05)
    return ax.figure


def plot_edges(history: Any, layer: str | None = None, ax: Any = None) -> Any:
    """Plot how many connections a strategy added and removed at each evaluation (Figure 6).

    Args:
        history: A model that was trained with `FreeEvolve` or `Synaptogenesis`, what its `fit` returned, or the
            `StructuralTraining` of a plain model.
        layer: Of which layer; all together by default.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ValueError: If no such strategy has looked yet.
    """
    state = _state(history)
    if layer is not None and layer not in state["shares"]:
        raise ValueError(
            f"Pass the name of one of the layers {sorted(state['shares'])} as `layer`. Received: {layer!r}"
        )
    rows = [row for row in state["history"] if layer in (None, row[1])]
    ax = axes_or_new(ax)
    steps = sorted({row[0] for row in rows})
    for place, (label, color) in enumerate((("added", "#1565c0"), ("removed", "#c62828")), start=2):
        counts = [sum(row[place] for row in rows if row[0] == step) for step in steps]
        ax.plot(steps, counts, marker=".", color=color, label=label)
    return labelled(ax, "training step", "connections", from_zero=True)


def plot_coactivation(history: Any, layer: str | None = None) -> Any:
    """Plot how shares of samples in which pairs act together were distributed at the first and at the last evaluation (Figure 7).

    Args:
        history: As `plot_edges`.
        layer: Name of the layer; needed if there are several.

    Returns:
        The Matplotlib figure: pairs that are silent together (NCIM, which removes edges) and active together (NCAM, which adds
        them).

    Raises:
        ValueError: If no such strategy has looked yet, or there is no such layer.
    """
    shares = _state(history)["shares"]
    name = next(iter(shares)) if layer is None and len(shares) == 1 else layer
    if name not in shares:
        raise ValueError(f"Pass the name of one of the layers {sorted(shares)} as `layer`. Received: layer={layer!r}")
    figure = new_figure(9, 3.2)
    titles = {"silent": "silent together (NCIM)", "active": "active together (NCAM)"}
    for ax, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for when in ("first", "last"):
            counts = np.array(shares[name][when][key], float)
            grid, density = _density(counts)
            ax.plot(grid, density, label=f"{when} look")
            ax.fill_between(grid, density, alpha=0.2)
        ax.set(xlabel="share of samples", title=title, xlim=(0, 1))
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylabel("density of pairs")
    figure.axes[1].legend(frameon=False)
    return figure


def _density(counts: np.ndarray, width: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density estimate of values in [0, 1] from a histogram; what would leave the interval is reflected."""
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    grid = np.linspace(0, 1, 201)
    distances = [grid[:, None] - mirrored for mirrored in (centres, -centres, 2 - centres)]
    kernels = sum(np.exp(-0.5 * (d / width) ** 2) for d in distances) / (width * np.sqrt(2 * np.pi))
    return grid, kernels @ counts / max(counts.sum(), 1.0)


def _state(history: Any) -> dict[str, Any]:
    """What a Hebbian strategy remembers."""
    parts = parts_behind(history)
    state = None if parts is None else parts.runner.policy_state
    if not isinstance(state, dict) or not {"history", "shares"} <= set(state) or not state["history"]:
        raise ValueError(
            "There is nothing to plot: expected a model in whose training FreeEvolve or Synaptogenesis has looked at least once, "
            f"the history that its fit returned, or its StructuralTraining. Received: {type(history).__name__}. Train beyond "
            "`warmup` steps first."
        )
    return state


def _free_net(model: Any, name: str | None) -> Any:
    if isinstance(model, FreeNet | CompactFreeNet):
        return model
    found = _inside(model)
    wanted = [layer for path, layer in found.items() if name in (None, path)]
    if len(wanted) != 1:
        hint = f"has {sorted(found)}; say which with `layer`" if found else "has none"
        raise ValueError(
            f"Expected a FreeNet, or a model with one. Received layer={name!r} and a {type(model).__name__}, which {hint}."
        )
    return wanted[0]


def _inside(model: Any, prefix: str = "") -> dict[str, Any]:
    """FreeNets of a model and of those inside it, by path."""
    found: dict[str, Any] = {}
    for layer in model.layers if isinstance(model, keras.Model) else ():
        path = f"{prefix}{layer.name}"
        found |= {path: layer} if isinstance(layer, FreeNet | CompactFreeNet) else _inside(layer, f"{path}/")
    return found


def _edge_weights(free: Any) -> np.ndarray:
    """Weights in the order of the entries of the adjacency matrix."""
    kernel = np.asarray(keras.ops.convert_to_numpy(free.kernel), np.float64)
    return kernel[free.adjacency] if kernel.ndim == 2 else kernel[np.argsort(free.edge_order)]


def _places(levels: np.ndarray) -> np.ndarray:
    """Columns by level, neurons of a level spread around the middle; columns wander, so that long edges can be told apart."""
    places = np.zeros((len(levels), 2))
    for level in range(levels.max() + 1):
        members = np.flatnonzero(levels == level)
        spread = np.arange(len(members)) - (len(members) - 1) / 2
        places[members] = np.stack([np.full(len(members), level), spread + 1.5 * np.sin(2.4 * level)], axis=1)
    return places
