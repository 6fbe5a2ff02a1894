"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_struct.report.figures import axes_or_new, labelled


def plot_curves(curves: Mapping[str, Sequence[float]], ylabel: str = "accuracy", ax: Any = None) -> Any:
    """Plot one value per epoch for several networks.

    Args:
        curves: For each network its values, one for each epoch.
        ylabel: What the values are.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure, which a notebook shows.
    """
    ax = axes_or_new(ax)
    for name, values in curves.items():
        ax.plot(range(1, len(values) + 1), values, marker="." if len(values) < 30 else None, label=name)
    return labelled(ax, "epoch", ylabel)


def plot_comparison(
    results: Mapping[str, Mapping[float, Sequence[float]]], xlabel: str, ylabel: str = "accuracy", ax: Any = None
) -> Any:
    """Plot means of repeated measurements over a size, with their standard deviations.

    Args:
        results: For each method, by size, one value for each repetition.
        xlabel: What the size is.
        ylabel: What the values are.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure, which a notebook shows.
    """
    ax = axes_or_new(ax)
    for name, values in results.items():
        sizes = sorted(values)
        means = [float(np.mean(values[size])) for size in sizes]
        spreads = [float(np.std(values[size], ddof=1)) if len(values[size]) > 1 else 0.0 for size in sizes]
        ax.errorbar(sizes, means, spreads, marker="o", ms=3, capsize=2, label=name)
    return labelled(ax, xlabel, ylabel)
