"""What searches for symmetry found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_struct.report.figures import new_figure

COLORS = {"C1": "#9e9e9e", "C2": "#90caf9", "C4": "#1565c0", "D1": "#ffcc80", "D2": "#ef6c00", "D4": "#b71c1c"}


def plot_mixtures(mixtures: Sequence[Mapping[str, Mapping[str, float]]]) -> Any:
    """Plot the share of each group in each layer from epoch to epoch.

    Args:
        mixtures: `EquiNASD.mixtures`, or one of them.

    Returns:
        The Matplotlib figure, a panel for each layer.

    Raises:
        ValueError: If there is nothing to plot.
    """
    if isinstance(mixtures, Mapping):
        mixtures = [mixtures]
    if not mixtures:
        raise ValueError("There are no mixtures to plot: run the search first.")
    layers = list(mixtures[0])
    figure, panels = _panels(len(layers))
    for panel, layer in zip(panels, layers, strict=True):
        for group in mixtures[0][layer]:
            course = [found[layer][group] for found in mixtures]
            panel.plot(course, color=COLORS.get(group), label=group)
        panel.set(title=layer, xlabel="epoch", ylim=(0, None))
    panels[0].set_ylabel("share of the group")
    panels[-1].legend(frameon=False, fontsize=7)
    return figure


def plot_population(history: Sequence[Sequence[Mapping[str, Any]]]) -> Any:
    """Plot accuracy against parameters of all networks of an evolution, and the groups of those that stayed.

    Args:
        history: `EquiNASE.history`.

    Returns:
        The Matplotlib figure: networks, darker with each generation, and a row of groups for each one that stayed.

    Raises:
        ValueError: If there is nothing to plot.
    """
    if not history:
        raise ValueError("There are no networks to plot: run the search first.")
    figure, (left, right) = _panels(2, width=5.5)
    for generation, networks in enumerate(history):
        shade = 0.25 + 0.75 * (generation + 1) / len(history)
        for one in networks:
            left.plot(
                one["parameters"], one["accuracy"], "o" if one["selected"] else "x", color="#1565c0", alpha=shade, ms=4
            )
    left.set(xlabel="parameters", ylabel="validation accuracy", title="networks of all generations (o stayed)")
    last = sorted((one for one in history[-1] if one["selected"]), key=lambda one: one["parameters"])
    for row, one in enumerate(last):
        for place, group in enumerate(one["groups"]):
            right.add_patch(_square(place, row, COLORS[group]))
            right.text(place + 0.5, row + 0.5, group, ha="center", va="center", fontsize=7, color="white")
    right.set(
        xlim=(0, len(last[0]["groups"])), ylim=(0, len(last)), xlabel="layer", title="groups of those that stayed last"
    )
    right.set_yticks(np.arange(len(last)) + 0.5, [f"{one['accuracy']:.3f}" for one in last])
    return figure


def _square(x: float, y: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, facecolor=color, edgecolor="white")


def _panels(count: int, width: float = 2.2) -> tuple[Any, Any]:
    figure = new_figure(max(5.0, min(width * count, 16.0)), 3.2)
    return figure, np.atleast_1d(figure.subplots(1, count, squeeze=False)[0])
